/**
 * The encoding of BPE over characters: LLaMA-2's, and character-level tokenizers. Text is cut wherever no merge can reach
 * across (character-pairs.ts), the pieces are looked up in a cache, and only a new one is merged. Made of tables alone, which
 * threads share. Called by encoder.ts.
 */
import { CharacterPairs, type PairTables } from "./character-pairs.ts";
import { type SectionEncoder, UnknownCharacter } from "./section-encoder.ts";
import type { IdBuffer } from "./id-buffer.ts";
import { MergeTable, type MergeTables } from "./merge-table.ts";
import { PretokenCache } from "./pretoken-cache.ts";
import { codePointAt, SLACK_BEFORE, Utf8Buffer, widthOf } from "./utf8-buffer.ts";

export interface CodePointTables {
  kind: "code-points";
  /**
   * "kept" as they are; or "marked": written as SPACE_MARK, with one more put before the text; or "squeezed": marked,
   * after several were made one, and those at both ends removed (SentencePiece's remove_extra_whitespaces).
   */
  spaces: "kept" | "marked" | "squeezed";
  /** The token of each code point of the basic plane, or -1; where spaces are marked, a space's is the mark's. */
  idOfUnit: Int32Array;
  idOfAstral: ReadonlyMap<number, number>;
  /** A character without a token is spelled in these; or else is unknownId (one for several, if fused); or refused. */
  idOfByte: Int32Array | null;
  unknownId: number | null;
  fuseUnknown: boolean;
  merges: MergeTables;
  /** Where spaces are marked, a space stands for the mark. */
  pairs: PairTables;
}

const SPACE = 0x20;
/** U+2581, SentencePiece's mark, in UTF-8: three bytes. */
const MARK = 0x2581;
const MARK_BYTES = [0xe2, 0x96, 0x81] as const;

export class CodePointEncoder implements SectionEncoder {
  private readonly tables: CodePointTables;
  private readonly merges: MergeTable;
  private readonly pairs: CharacterPairs;
  private readonly marked: boolean;
  /** Unknown characters next to each other become one token, so they must stay together. */
  private readonly joinsUnknown: boolean;
  private readonly cache = new PretokenCache((text, start, end, out) => this.encodePiece(text, start, end, out));
  private readonly squeezed = new Utf8Buffer();
  private scratch = new Int32Array(256);

  constructor(tables: CodePointTables) {
    this.tables = tables;
    this.merges = new MergeTable(tables.merges);
    this.pairs = new CharacterPairs(tables.pairs);
    this.marked = tables.spaces !== "kept";
    this.joinsUnknown = tables.fuseUnknown && tables.unknownId !== null && tables.idOfByte === null;
  }

  encode(text: Utf8Buffer, start: number, end: number, out: IdBuffer, continues: boolean): void {
    if (this.tables.spaces === "squeezed") {
      end = this.squeeze(text.bytes, start, end, continues);
      text = this.squeezed;
      start = SLACK_BEFORE;
      if (start === end) return;
    }
    const { bytes } = text;
    // The mark before a text, written over what was encoded already, or over the slack before the first.
    if (this.marked && !continues) bytes[--start] = SPACE;
    while (start < end) {
      const stop = this.pieceEnd(bytes, start, end);
      this.cache.encode(text, start, stop, out);
      start = stop;
    }
  }

  /** Where the piece that begins at `start` ends: before the first character that no merge joins to the one before it. */
  private pieceEnd(bytes: Uint8Array, start: number, end: number): number {
    const { ascii } = this.pairs;
    let before = this.symbolAt(bytes, start);
    let i = start + widthOf(bytes[start]);
    while (i < end) {
      const byte = bytes[i];
      if ((byte | before) < 0x80) {
        if (ascii[(before << 7) | byte] === 0 && !(this.joinsUnknown && this.joinUnknown(before, byte))) return i;
        before = byte;
        i++;
      } else {
        const symbol = this.symbolAt(bytes, i);
        if (!this.pairs.has(before, symbol) && !(this.joinsUnknown && this.joinUnknown(before, symbol))) return i;
        before = symbol;
        i += widthOf(byte);
      }
    }
    return end;
  }

  private symbolAt(bytes: Uint8Array, at: number): number {
    const codePoint = codePointAt(bytes, at);
    return this.marked && codePoint === MARK ? SPACE : codePoint;
  }

  private joinUnknown(first: number, second: number): boolean {
    return this.idOf(first) < 0 && this.idOf(second) < 0;
  }

  private idOf(codePoint: number): number {
    const { idOfUnit, idOfAstral } = this.tables;
    return codePoint > 0xffff ? (idOfAstral.get(codePoint) ?? -1) : idOfUnit[codePoint];
  }

  private encodePiece({ bytes }: Utf8Buffer, start: number, end: number, out: IdBuffer): void {
    if (end - start > this.scratch.length) this.scratch = new Int32Array((end - start) * 2);
    const { scratch, tables } = this;
    const { idOfByte, unknownId } = tables;
    let count = 0;
    for (let i = start; i < end; i += widthOf(bytes[i])) {
      const codePoint = codePointAt(bytes, i);
      const id = this.idOf(codePoint);
      if (id < 0 && idOfByte === null && unknownId === null) throw new UnknownCharacter(i, codePoint);
      scratch[count++] = id < 0 ? -1 - codePoint : id;
    }
    if (this.merges.size > 0) count = this.merges.apply(scratch, count);
    out.reserve(count * 4);
    for (let i = 0; i < count; i++) {
      const id = scratch[i];
      if (id >= 0) out.ids[out.length++] = id;
      else if (idOfByte) for (const byte of utf8Of(-1 - id)) out.ids[out.length++] = idOfByte[byte];
      else if (i === 0 || scratch[i - 1] >= 0 || !tables.fuseUnknown) out.ids[out.length++] = unknownId!;
    }
  }

  /** Writes the text with its extra spaces removed; returns where it ends. */
  private squeeze(bytes: Uint8Array, start: number, end: number, continues: boolean): number {
    while (!continues && start < end && bytes[start] === SPACE) start++;
    for (;;) {
      if (end > start && bytes[end - 1] === SPACE) end--;
      else if (end - start >= 3 && MARK_BYTES.every((byte, i) => bytes[end - 3 + i] === byte)) end -= 3;
      else break;
    }
    const { squeezed } = this;
    squeezed.reserve(SLACK_BEFORE + end - start);
    let at = SLACK_BEFORE;
    for (let i = start; i < end; i++)
      if (bytes[i] !== SPACE || i === start || bytes[i - 1] !== SPACE) squeezed.bytes[at++] = bytes[i];
    return at;
  }
}

const utf8 = new TextEncoder();
const utf8Of = (codePoint: number): Uint8Array => utf8.encode(String.fromCodePoint(codePoint));
