/** Counts the distinct pre-tokens of a stream of documents. Memory grows with their number, not with the text. */
import { partEnd } from "./parts.ts";
import { scanGpt2 } from "./pretokenize.ts";
import { grown, SpanTable } from "./span-table.ts";
import { SLACK_BEFORE, Utf8Buffer } from "./utf8-buffer.ts";

export interface PretokenCounts {
  /** The pre-tokens, numbered in order of first meeting. */
  spans: SpanTable;
  /** How often each occurs. */
  counts: Float64Array;
  documents: number;
  /** UTF-16 units read. */
  characters: number;
}

/** Report about this often, in units of text. */
const REPORT_EVERY = 1 << 20;
/** Units written as bytes at once. */
const PART_UNITS = 1 << 18;

/**
 * @param specialTokens  where one is written in a text, the text is cut, and it is not counted
 * @param onProgress     called about once for every million characters; may throw to stop
 */
export async function countPretokens(
  documents: AsyncIterable<string> | Iterable<string>,
  specialTokens: readonly string[],
  onProgress: (characters: number, documents: number) => void,
): Promise<PretokenCounts> {
  const spans = new SpanTable();
  const found: PretokenCounts = { spans, counts: new Float64Array(1024), documents: 0, characters: 0 };
  const names = [...specialTokens].sort((a, b) => b.length - a.length);
  const buffer = new Utf8Buffer();
  const pattern = new RegExp(names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "g");
  let reported = 0;
  for await (const text of documents) {
    let start = 0;
    if (names.length > 0) {
      for (const match of text.matchAll(pattern)) {
        countSection(text.slice(start, match.index), buffer, found);
        start = match.index + match[0].length;
      }
    }
    countSection(start === 0 ? text : text.slice(start), buffer, found);
    found.documents++;
    found.characters += text.length;
    if (found.characters - reported >= REPORT_EVERY) {
      reported = found.characters;
      onProgress(found.characters, found.documents);
    }
  }
  onProgress(found.characters, found.documents);
  found.counts = found.counts.subarray(0, spans.size);
  return found;
}

function countSection(text: string, buffer: Utf8Buffer, found: PretokenCounts): void {
  const { spans } = found;
  for (let from = 0; from < text.length; ) {
    const to = partEnd(text, from, PART_UNITS);
    const end = buffer.write(from === 0 && to === text.length ? text : text.slice(from, to));
    for (let start = SLACK_BEFORE; start < end; ) {
      const stop = scanGpt2(buffer.bytes, start, end);
      let at = spans.find(buffer, start, stop);
      if (at < 0) at = spans.add(buffer, start, stop);
      const number = spans.numberAt(at);
      if (number >= found.counts.length) found.counts = grown(found.counts, number + 1);
      found.counts[number]++;
      start = stop;
    }
    from = to;
  }
}
