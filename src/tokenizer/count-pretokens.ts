/** Counts the distinct pre-tokens of a stream of documents. Memory grows with their number, not with the text. */
import { scanGpt2 } from "./pretokenize.ts";
import { SpanTable } from "./span-table.ts";

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
  const pattern = new RegExp(names.map((name) => name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&")).join("|"), "g");
  let reported = 0;
  for await (const text of documents) {
    let start = 0;
    if (names.length > 0) {
      for (const match of text.matchAll(pattern)) {
        countSection(text, start, match.index, found);
        start = match.index + match[0].length;
      }
    }
    countSection(text, start, text.length, found);
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

function countSection(text: string, start: number, end: number, found: PretokenCounts): void {
  const { spans } = found;
  while (start < end) {
    const stop = scanGpt2(text, start, end);
    const hash = SpanTable.hash(text, start, stop);
    let entry = spans.find(text, start, stop, hash);
    if (entry < 0) {
      entry = spans.add(text, start, stop, hash);
      if (entry >= found.counts.length) {
        const larger = new Float64Array(found.counts.length * 2);
        larger.set(found.counts);
        found.counts = larger;
      }
    }
    found.counts[entry]++;
    start = stop;
  }
}
