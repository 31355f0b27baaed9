/**
 * A tokenizer's encoding by itself, made of plain tables that can be handed to a thread: finds added tokens in a text, has
 * what lies between them encoded (byte-level-encoder.ts, code-point-encoder.ts), puts around it what belongs there. Works
 * on UTF-8, and on parts of a text. Called by bpe-tokenizer.ts in this thread and by encode-worker.ts in others.
 */
import { DataError } from "../platform/errors.ts";
import { ByteLevelEncoder, type ByteLevelTables } from "./byte-level-encoder.ts";
import { CodePointEncoder, type CodePointTables } from "./code-point-encoder.ts";
import type { IdBuffer } from "./id-buffer.ts";
import { type SectionEncoder, UnknownCharacter } from "./section-encoder.ts";
import type { EncodeOptions } from "./tokenizer.ts";
import type { Utf8Buffer } from "./utf8-buffer.ts";

export interface EncoderTables {
  /** For errors. */
  name: string;
  vocabSize: number;
  section: ByteLevelTables | CodePointTables;
  added: { name: string; id: number }[];
  /** What addSpecialTokens puts around a text. */
  prefix: number[];
  suffix: number[];
}

/** Which part of a text is encoded. Default: all of it. */
export interface PartOfText {
  /** UTF-16 units of the text before this part. */
  unitsBefore: number;
  isLast: boolean;
}

const wholeText: PartOfText = { unitsBefore: 0, isLast: true };

export class Encoder {
  readonly tables: EncoderTables;
  private readonly section: SectionEncoder;
  private readonly added: AddedTokens | null;

  constructor(tables: EncoderTables) {
    this.tables = tables;
    const { section, added } = tables;
    this.section = section.kind === "byte-level" ? new ByteLevelEncoder(section) : new CodePointEncoder(section);
    this.added = added.length > 0 ? new AddedTokens(added) : null;
  }

  /**
   * Appends the tokens of text[start, end), UTF-8 that is valid; bytes before `end` may be overwritten.
   *
   * @throws DataError for a character that the vocabulary has not and cannot spell
   */
  encode(
    text: Utf8Buffer,
    start: number,
    end: number,
    out: IdBuffer,
    { addSpecialTokens = false, parseSpecialTokens = true }: EncodeOptions,
    part: PartOfText = wholeText,
  ): void {
    const { prefix, suffix } = this.tables;
    let continues = part.unitsBefore > 0;
    if (addSpecialTokens && !continues) for (const id of prefix) out.push(id);
    const began = start;
    try {
      if (parseSpecialTokens && this.added) {
        const { added } = this;
        const candidates = added.firstByteIn(text.bytes, start, end);
        for (let at = candidates(start); at >= 0; ) {
          const token = added.tokenAt(text.bytes, at, end);
          if (token === null) {
            at = candidates(at + 1);
            continue;
          }
          if (at > start) this.section.encode(text, start, at, out, continues);
          out.push(token.id);
          continues = false;
          start = at + token.bytes.length;
          at = candidates(start);
        }
      }
      if (start < end) this.section.encode(text, start, end, out, continues);
    } catch (error) {
      if (!(error instanceof UnknownCharacter)) throw error;
      throw this.refusal(error, text.bytes.subarray(began, end), error.at - began, part.unitsBefore);
    }
    if (addSpecialTokens && part.isLast) for (const id of suffix) out.push(id);
  }

  private refusal({ codePoint }: UnknownCharacter, bytes: Uint8Array, at: number, unitsBefore: number): DataError {
    const { name, vocabSize } = this.tables;
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const before = decoder.decode(bytes.subarray(0, at));
    // 40 bytes are 10 characters at least.
    const around = `${before.slice(-10)}${decoder.decode(bytes.subarray(at, at + 43)).slice(0, 10)}`;
    const hex = codePoint.toString(16).toUpperCase().padStart(4, "0");
    return new DataError(
      `tokenizer ${name}: ${JSON.stringify(String.fromCodePoint(codePoint))} (U+${hex}) at character ${unitsBefore + before.length} (in ${JSON.stringify(around)}) is not in the vocabulary of ${vocabSize}; train with text that holds it, or with bytes for unknown characters`,
    );
  }
}

interface AddedBytes {
  bytes: Uint8Array;
  id: number;
}

/** Finds added tokens in UTF-8: the leftmost, and of those that begin at one place the longest. */
class AddedTokens {
  /** By the first two bytes (the first alone, for a token of one byte): the longest first. */
  private readonly byHead = new Map<number, AddedBytes[]>();
  private readonly firstBytes = new Uint8Array(256);
  /** The first byte of all of them, or -1 where they differ. */
  private readonly onlyFirst: number;

  constructor(tokens: EncoderTables["added"]) {
    const utf8 = new TextEncoder();
    const added = tokens.map(({ name, id }) => ({ bytes: utf8.encode(name), id }));
    added.sort((a, b) => b.bytes.length - a.bytes.length);
    for (const token of added) {
      this.firstBytes[token.bytes[0]] = 1;
      const head = headOf(token.bytes, 0, token.bytes.length);
      this.byHead.set(head, [...(this.byHead.get(head) ?? []), token]);
    }
    const first = added[0].bytes[0];
    this.onlyFirst = added.every(({ bytes }) => bytes[0] === first) ? first : -1;
  }

  /** Of a stretch: the first place at or after `from` where a token may begin, or -1. */
  firstByteIn(bytes: Uint8Array, start: number, end: number): (from: number) => number {
    const { onlyFirst, firstBytes } = this;
    if (onlyFirst >= 0) {
      const stretch = bytes.subarray(start, end);
      return (from) => {
        const found = stretch.indexOf(onlyFirst, from - start);
        return found < 0 ? -1 : found + start;
      };
    }
    return (from) => {
      for (let at = from; at < end; at++) if (firstBytes[bytes[at]] !== 0) return at;
      return -1;
    };
  }

  tokenAt(bytes: Uint8Array, at: number, end: number): AddedBytes | null {
    const ofTwo = this.longestOf(this.byHead.get(headOf(bytes, at, end)), bytes, at, end);
    return ofTwo ?? this.longestOf(this.byHead.get(bytes[at]), bytes, at, end);
  }

  private longestOf(tokens: AddedBytes[] | undefined, bytes: Uint8Array, at: number, end: number): AddedBytes | null {
    next: for (const token of tokens ?? []) {
      if (at + token.bytes.length > end) continue;
      for (let i = 0; i < token.bytes.length; i++) if (bytes[at + i] !== token.bytes[i]) continue next;
      return token;
    }
    return null;
  }
}

/** Two bytes as a number above 255, or one as itself. */
const headOf = (bytes: Uint8Array, at: number, end: number): number =>
  at + 1 < end ? 256 + ((bytes[at] << 8) | bytes[at + 1]) : bytes[at];
