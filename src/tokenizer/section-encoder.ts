/** What encodes text between added tokens (byte-level-encoder.ts, code-point-encoder.ts), and what it throws at encoder.ts. */
import type { IdBuffer } from "./id-buffer.ts";
import type { Utf8Buffer } from "./utf8-buffer.ts";

/** Encodes text without added tokens. */
export interface SectionEncoder {
  /**
   * Appends the tokens of text[start, end), which is valid UTF-8 and not empty. May write over text.bytes[start - 1].
   *
   * @param continues  this goes on with a text cut before (parts.ts); it does not begin one
   * @throws UnknownCharacter
   */
  encode(text: Utf8Buffer, start: number, end: number, out: IdBuffer, continues: boolean): void;
}

/** A character that the vocabulary has not, and cannot spell; encode of Encoder makes an error of it. */
export class UnknownCharacter {
  constructor(
    /** In the buffer. */
    readonly at: number,
    readonly codePoint: number,
  ) {}
}
