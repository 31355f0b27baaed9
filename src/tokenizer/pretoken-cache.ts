/**
 * Remembers the tokens of pre-tokens: text repeats its words, so that most of encoding is looking them up here.
 * Bounded: when full it forgets everything and starts again, which changes no result.
 */
import type { IdBuffer } from "./id-buffer.ts";
import { grown, OWN, SpanTable } from "./span-table.ts";
import type { Utf8Buffer } from "./utf8-buffer.ts";

/** Longer pre-tokens are seldom met twice. In bytes. */
const MAX_LENGTH = 128;
/** At most 8 MiB of slots, and for words of the usual length 3 MiB of keys and tokens. */
const MAX_ENTRIES = 1 << 17;

/** Appends the tokens of a stretch of text. */
export type ComputeTokens = (text: Utf8Buffer, start: number, end: number, out: IdBuffer) => void;

export class PretokenCache {
  private readonly spans = new SpanTable();
  /** The tokens of all, end to end; a slot's own numbers are where they begin and how many they are. */
  private ids = new Int32Array(1 << 14);
  private idCount = 0;
  private readonly compute: ComputeTokens;

  constructor(compute: ComputeTokens) {
    this.compute = compute;
  }

  /** Appends the tokens of text[start, end), which must be whole: its tokens depend on nothing around it. */
  encode(text: Utf8Buffer, start: number, end: number, out: IdBuffer): void {
    const { spans } = this;
    const at = end - start > MAX_LENGTH ? -1 : spans.find(text, start, end);
    if (at < 0) {
      this.encodeNew(text, start, end, out);
      return;
    }
    const { ids } = this;
    const from = spans.slots[at + OWN];
    const count = spans.slots[at + OWN + 1];
    if (out.length + count > out.ids.length) out.reserve(count);
    const target = out.ids;
    const to = out.length;
    for (let i = 0; i < count; i++) target[to + i] = ids[from + i];
    out.length = to + count;
  }

  private encodeNew(text: Utf8Buffer, start: number, end: number, out: IdBuffer): void {
    const { spans } = this;
    const before = out.length;
    this.compute(text, start, end, out);
    if (end - start > MAX_LENGTH) return;
    if (spans.size === MAX_ENTRIES) {
      spans.clear();
      this.idCount = 0;
    }
    const at = spans.add(text, start, end);
    const count = out.length - before;
    if (this.idCount + count > this.ids.length) this.ids = grown(this.ids, this.idCount + count);
    this.ids.set(out.ids.subarray(before, out.length), this.idCount);
    spans.slots[at + OWN] = this.idCount;
    spans.slots[at + OWN + 1] = count;
    this.idCount += count;
  }
}
