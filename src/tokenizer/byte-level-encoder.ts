/**
 * The encoding of byte-level BPE: pre-tokens are cut by a hand-written scanner and looked up in a cache; only a new one is
 * merged, over bytes. Made of tables alone, which threads share. Called by encoder.ts.
 */
import type { SectionEncoder } from "./section-encoder.ts";
import type { IdBuffer } from "./id-buffer.ts";
import { MergeTable, type MergeTables } from "./merge-table.ts";
import { PretokenCache } from "./pretoken-cache.ts";
import { type PatternName, type PretokenScanner, scanners } from "./pretokenize.ts";
import { OWN, SpanTable, type SpanTables } from "./span-table.ts";
import type { Utf8Buffer } from "./utf8-buffer.ts";

export interface ByteLevelTables {
  kind: "byte-level";
  pattern: PatternName;
  idOfByte: Int32Array;
  merges: MergeTables;
  /** A pre-token that is a token as a whole is taken as it is (tokenizer.json's ignore_merges); null: by merges alone. */
  whole: SpanTables | null;
}

export class ByteLevelEncoder implements SectionEncoder {
  private readonly scan: PretokenScanner;
  private readonly merges: MergeTable;
  private readonly idOfByte: Int32Array;
  private readonly whole: SpanTable | null;
  private readonly cache = new PretokenCache((text, start, end, out) => this.encodePretoken(text, start, end, out));
  private scratch = new Int32Array(256);

  constructor({ pattern, idOfByte, merges, whole }: ByteLevelTables) {
    this.scan = scanners[pattern];
    this.merges = new MergeTable(merges);
    this.idOfByte = idOfByte;
    this.whole = whole && SpanTable.of(whole);
  }

  encode(text: Utf8Buffer, start: number, end: number, out: IdBuffer): void {
    const { scan, cache } = this;
    const { bytes } = text;
    while (start < end) {
      const stop = scan(bytes, start, end);
      cache.encode(text, start, stop, out);
      start = stop;
    }
  }

  private encodePretoken(text: Utf8Buffer, start: number, end: number, out: IdBuffer): void {
    const { bytes } = text;
    const count = end - start;
    if (this.whole) {
      const at = this.whole.find(text, start, end);
      if (at >= 0) {
        out.push(this.whole.slots[at + OWN]);
        return;
      }
    }
    if (count > this.scratch.length) this.scratch = new Int32Array(count * 2);
    const { scratch, idOfByte } = this;
    for (let i = 0; i < count; i++) scratch[i] = idOfByte[bytes[start + i]];
    const length = this.merges.apply(scratch, count);
    out.reserve(length);
    for (let i = 0; i < length; i++) out.ids[out.length + i] = scratch[i];
    out.length += length;
  }
}
