/**
 * All documents of a split in one order, out of core. Runs are sorted by key already; keys are spread evenly over [0, 1), so
 * a bucket, all documents of one range of keys, is a slice of each run: it is gathered, sorted and handed on, and memory
 * holds one. Without shuffling a bucket is a run, in the order of runs.
 *
 * Where each bucket begins in the stream of tokens is known from the runs' indexes alone, so writing can begin anywhere:
 * after a kill, or on another machine.
 */
import { openRun, type RunIndex } from "./encoded-run.ts";

export interface OrderedDocument {
  /** With end-of-text. */
  tokens: Uint16Array | Uint32Array;
  /** Of its first token in the stream of all documents. */
  start: number;
  textBytes: number;
  score: number;
}

export interface DocumentOrder {
  /** Tokens of all documents, each with end-of-text. */
  readonly tokens: number;
  readonly documents: number;
  /** Tokens of each document, in order, without reading them. Only where documents are not shuffled. */
  lengths(): Generator<number>;
  /** Documents whose tokens reach past `position`, in order, from the one that holds it on. */
  from(position: number): Generator<OrderedDocument>;
}

export interface OrderOptions {
  /** False: runs as they come, documents by key within them. */
  shuffled: boolean;
  /** Of a bucket, about (default 2^24 tokens: 32 or 64 MiB). */
  bucketTokens?: number;
}

/** At most so many buckets, so that the table of where they begin in each run stays small: 12 MiB for a thousand runs. */
const maxBuckets = 1024;

/** Documents [first[b], first[b + 1]) of a run are in bucket b; their tokens begin at token[b]. */
interface Slices {
  path: string;
  first: Uint32Array;
  token: Float64Array;
}

/**
 * @param runs  paths in order: documents of one key are taken in the order of their runs
 * @throws FormatError for a run that is damaged
 */
export function orderDocuments(runs: readonly string[], options: OrderOptions): DocumentOrder {
  const { shuffled, bucketTokens = 2 ** 24 } = options;
  let tokens = 0;
  let documents = 0;
  const sizes = runs.map((path) => {
    const run = openRun(path);
    run.close();
    tokens += run.tokens;
    documents += run.documents;
    return run;
  });
  const count = shuffled ? Math.max(1, Math.min(maxBuckets, Math.ceil(tokens / bucketTokens))) : runs.length;
  const slices = runs.map((path, r): Slices => {
    if (shuffled) return sliceRun(path, count);
    // Bucket b is run b whole.
    const first = Uint32Array.from({ length: count + 1 }, (_, b) => (b <= r ? 0 : sizes[r].documents));
    const token = Float64Array.from({ length: count + 1 }, (_, b) => (b <= r ? 0 : sizes[r].tokens));
    return { path, first, token };
  });
  const begins = new Float64Array(count + 1);
  for (let b = 0; b < count; b++)
    begins[b + 1] = begins[b] + slices.reduce((sum, { token }) => sum + token[b + 1] - token[b], 0);
  /** The last that was gathered: the next shard begins where this one ended. */
  let held: { bucket: number; documents: OrderedDocument[] } | undefined;
  const gather = (bucket: number): OrderedDocument[] => {
    if (held?.bucket !== bucket) held = { bucket, documents: gatherBucket(slices, bucket, begins[bucket]) };
    return held.documents;
  };
  return {
    tokens,
    documents,
    *lengths() {
      if (shuffled) throw new Error("the lengths of shuffled documents were asked for in order");
      for (const path of runs) {
        const run = openRun(path);
        const { lengths } = run.index(0, run.documents);
        run.close();
        yield* lengths;
      }
    },
    *from(position) {
      let bucket = 0;
      while (bucket < count && begins[bucket + 1] <= position) bucket++;
      for (; bucket < count; bucket++)
        for (const document of gather(bucket)) if (document.start + document.tokens.length > position) yield document;
    },
  };
}

/** Where the ranges [b / count, (b + 1) / count) of keys begin in a run. */
function sliceRun(path: string, count: number): Slices {
  const run = openRun(path);
  try {
    const { keys, lengths } = run.index(0, run.documents);
    const first = new Uint32Array(count + 1);
    const token = new Float64Array(count + 1);
    let document = 0;
    let at = 0;
    for (let b = 1; b <= count; b++) {
      while (document < keys.length && (b === count || keys[document] * count < b)) at += lengths[document++];
      first[b] = document;
      token[b] = at;
    }
    return { path, first, token };
  } finally {
    run.close();
  }
}

function gatherBucket(slices: readonly Slices[], bucket: number, start: number): OrderedDocument[] {
  const parts: { index: RunIndex; tokens: Uint16Array | Uint32Array }[] = [];
  const entries: { key: number; part: number; i: number; at: number }[] = [];
  for (const { path, first, token } of slices) {
    if (first[bucket] === first[bucket + 1]) continue;
    const run = openRun(path);
    try {
      const index = run.index(first[bucket], first[bucket + 1]);
      const part = parts.push({ index, tokens: run.read(token[bucket], token[bucket + 1]) }) - 1;
      let at = 0;
      for (const [i, length] of index.lengths.entries()) {
        entries.push({ key: index.keys[i], part, i, at });
        at += length;
      }
    } finally {
      run.close();
    }
  }
  entries.sort((a, b) => a.key - b.key || a.part - b.part || a.i - b.i);
  let position = start;
  return entries.map(({ part, i, at }) => {
    const { index, tokens } = parts[part];
    const document = {
      tokens: tokens.subarray(at, at + index.lengths[i]),
      start: position,
      textBytes: index.textBytes[i],
      score: index.scores[i],
    };
    position += index.lengths[i];
    return document;
  });
}
