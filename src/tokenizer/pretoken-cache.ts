/**
 * Remembers the tokens of pre-tokens: text repeats its words, so that most of encoding is looking them up here.
 * Bounded: when full it forgets everything and starts again, which changes no result.
 */
import { SpanTable } from "./span-table.ts";
import type { IdBuffer } from "./tokenizer.ts";

/** Longer pre-tokens are seldom met twice. */
const MAX_UNITS = 64;
const MAX_ENTRIES = 1 << 17;

export class PretokenCache {
  private readonly spans = new SpanTable();
  private readonly ends = new Int32Array(MAX_ENTRIES + 1); // tokens of entry i: ids[ends[i], ends[i + 1])
  private ids = new Int32Array(1 << 14);

  /**
   * Appends the tokens of text[start, end), found here or given by `compute`, which appends them itself. The pre-token
   * must be whole: its tokens depend on nothing around it.
   */
  encode(
    text: string,
    start: number,
    end: number,
    out: IdBuffer,
    compute: (text: string, start: number, end: number, out: IdBuffer) => void,
  ): void {
    if (end - start > MAX_UNITS) {
      compute(text, start, end, out);
      return;
    }
    const { spans, ends } = this;
    const hash = SpanTable.hash(text, start, end);
    const entry = spans.find(text, start, end, hash);
    if (entry >= 0) {
      const from = ends[entry];
      const count = ends[entry + 1] - from;
      if (out.length + count > out.ids.length) out.reserve(count);
      const target = out.ids;
      const at = out.length;
      for (let i = 0; i < count; i++) target[at + i] = this.ids[from + i];
      out.length = at + count;
      return;
    }
    const before = out.length;
    compute(text, start, end, out);
    if (spans.size === MAX_ENTRIES) spans.clear();
    const added = spans.add(text, start, end, hash);
    const from = added === 0 ? 0 : ends[added];
    const to = from + out.length - before;
    if (to > this.ids.length) {
      const larger = new Int32Array(Math.max(to, this.ids.length * 2));
      larger.set(this.ids);
      this.ids = larger;
    }
    this.ids.set(out.ids.subarray(before, out.length), from);
    ends[added] = from;
    ends[added + 1] = to;
  }
}
