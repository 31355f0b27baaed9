/**
 * A tokenizer's encoding by itself, made of plain tables that can be handed to a thread: finds added tokens in a text, has
 * what lies between them encoded (byte-level-encoder.ts, code-point-encoder.ts), puts around it what belongs there. Works
 * on UTF-8, and on parts of a text. Called by bpe-tokenizer.ts in this thread and by encode-worker.ts in others.
 */
import { DataError } from "../platform/errors.ts";
import { ByteLevelEncoder, type ByteLevelTables } from "./byte-level-encoder.ts";
import { CodePointEncoder, type CodePointTables } from "./code-point-encoder.ts";
import { isSpace, isWord } from "./general/unicode.ts";
import type { IdBuffer } from "./id-buffer.ts";
import { type SectionEncoder, UnknownCharacter } from "./section-encoder.ts";
import type { EncodeOptions } from "./tokenizer.ts";
import { codePointAt, type Utf8Buffer, widthOf } from "./utf8-buffer.ts";

export interface EncoderTables {
  /** For errors. */
  name: string;
  vocabSize: number;
  section: ByteLevelTables | CodePointTables;
  /** Tokens found in the text as it is, before it is encoded: first those of the file that are not "normalized". */
  added: AddedTables[][];
  /** What addSpecialTokens puts around a text. */
  prefix: number[];
  suffix: number[];
}

export interface AddedTables {
  name: string;
  id: number;
  /** Taken as text where parseSpecialTokens is false. */
  special: boolean;
  /** Only where no letter, digit or underscore touches it. */
  singleWord: boolean;
  /** White space before and behind it belongs to it. */
  lstrip: boolean;
  rstrip: boolean;
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
  private readonly added: AddedTokens[];

  constructor(tables: EncoderTables) {
    this.tables = tables;
    const { section, added } = tables;
    this.section = section.kind === "byte-level" ? new ByteLevelEncoder(section) : new CodePointEncoder(section);
    this.added = added.filter((group) => group.length > 0).map((group) => new AddedTokens(group));
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
    const continues = part.unitsBefore > 0;
    if (addSpecialTokens && !continues) for (const id of prefix) out.push(id);
    try {
      this.encodeBetween(0, text, start, end, out, parseSpecialTokens, continues);
    } catch (error) {
      if (!(error instanceof UnknownCharacter)) throw error;
      throw this.refusal(error, text.bytes.subarray(start, end), error.at - start, part.unitsBefore);
    }
    if (addSpecialTokens && part.isLast) for (const id of suffix) out.push(id);
  }

  /** Finds the tokens of a group and of those behind it in text[start, end), and has what lies between encoded. */
  private encodeBetween(
    group: number,
    text: Utf8Buffer,
    start: number,
    end: number,
    out: IdBuffer,
    parseSpecial: boolean,
    continues: boolean,
  ): void {
    if (start >= end) return;
    if (group === this.added.length) {
      this.section.encode(text, start, end, out, continues);
      return;
    }
    const added = this.added[group];
    const { bytes } = text;
    const candidates = added.firstByteIn(bytes, start, end);
    let from = start;
    for (let at = candidates(start); at >= 0; ) {
      const token = added.tokenAt(bytes, at, end);
      if (token === null) {
        at = candidates(at + 1);
        continue;
      }
      const behind = at + token.bytes.length;
      if ((parseSpecial || !token.special) && (!token.singleWord || standsAlone(bytes, start, at, behind, end))) {
        // White space that the token before has taken in is not taken twice.
        const first = token.lstrip ? spacesBefore(bytes, from, Math.max(at, from)) : at;
        const last = token.rstrip ? spacesBehind(bytes, behind, end) : behind;
        this.encodeBetween(group + 1, text, from, first, out, parseSpecial, continues);
        if (first < last) out.push(token.id);
        continues = false;
        from = last;
      }
      at = candidates(behind);
    }
    this.encodeBetween(group + 1, text, from, end, out, parseSpecial, continues);
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

interface AddedBytes extends AddedTables {
  bytes: Uint8Array;
}

/** Where the character before `at` begins. */
function characterBefore(bytes: Uint8Array, at: number): number {
  do at--;
  while ((bytes[at] & 0xc0) === 0x80);
  return at;
}

function standsAlone(bytes: Uint8Array, start: number, at: number, behind: number, end: number): boolean {
  if (at > start && isWord(codePointAt(bytes, characterBefore(bytes, at)))) return false;
  return behind >= end || !isWord(codePointAt(bytes, behind));
}

function spacesBefore(bytes: Uint8Array, start: number, at: number): number {
  while (at > start) {
    const before = characterBefore(bytes, at);
    if (!isSpace(codePointAt(bytes, before))) break;
    at = before;
  }
  return at;
}

function spacesBehind(bytes: Uint8Array, at: number, end: number): number {
  while (at < end && isSpace(codePointAt(bytes, at))) at += widthOf(bytes[at]);
  return at;
}

/** Finds added tokens in UTF-8: the leftmost, and of those that begin at one place the longest. */
class AddedTokens {
  /** By the first two bytes (the first alone, for a token of one byte): the longest first. */
  private readonly byHead = new Map<number, AddedBytes[]>();
  private readonly firstBytes = new Uint8Array(256);
  /** The first byte of all of them, or -1 where they differ. */
  private readonly onlyFirst: number;

  constructor(tokens: readonly AddedTables[]) {
    const utf8 = new TextEncoder();
    const added = tokens.map((token) => ({ ...token, bytes: utf8.encode(token.name) }));
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
