/**
 * Encoding many texts over worker threads, with the same ids as `encode`, in the order given. For data/ (to token
 * shards) and the CLI.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { processorCount } from "../platform/machine.ts";
import { createWorkerPool } from "../platform/workers.ts";
import { type EncodedTexts, type EncodeSetup, handlerFor } from "./encode-worker.ts";
import type { EncodeOptions, Tokenizer } from "./tokenizer.ts";

export interface DocumentEncoderOptions extends EncodeOptions {
  /** Worker threads; 0 encodes in this thread. Default: one for each processor, at most 8 (the reader is the limit). */
  threads?: number;
  /** Aborting refuses the calls under way with the signal's reason, and stops the workers. */
  signal?: AbortSignal;
}

/** A tokenizer with threads. Has the shape that data/ asks for. */
export interface DocumentEncoder {
  readonly vocabSize: number;
  readonly endOfText: number;
  readonly hash: string;
  readonly threads: number;
  encode(text: string): Int32Array;
  /** The tokens of each text. Several calls may be under way; each is split over the threads. */
  encodeMany(texts: readonly string[]): Promise<Int32Array[]>;
  /** Stops the threads. */
  close(): Promise<void>;
}

/** Text handed to a worker at once, in UTF-16 units: some 5 ms of work, so that threads end together. */
const JOB_UNITS = 1 << 18;

/**
 * Starts the threads at the first call of encodeMany; they keep no process alive, but close() ends them at once.
 *
 * @throws UsageError when the tokenizer has no end-of-text token (documents need one between them)
 */
export function createDocumentEncoder(tokenizer: Tokenizer, options: DocumentEncoderOptions = {}): DocumentEncoder {
  const { threads = Math.min(8, processorCount()), signal, ...encodeOptions } = options;
  const { endOfText } = tokenizer;
  if (endOfText === null)
    throw new UsageError(
      `tokenizer ${tokenizer.name} has no end-of-text token, which documents need between them; name one of its tokens as endOfText`,
    );
  const setup: EncodeSetup = {
    json: tokenizer.toJson(),
    name: tokenizer.name,
    engine: tokenizer.engine,
    options: encodeOptions,
  };
  const url = new URL(`./encode-worker${import.meta.url.slice(-3)}`, import.meta.url).href; // .ts or .js, as this file
  const pool = createWorkerPool({ url, createHandler: () => handlerFor(tokenizer, encodeOptions) }, setup, { threads });
  return {
    vocabSize: tokenizer.vocabSize,
    endOfText,
    hash: tokenizer.hash,
    threads,
    encode: (text) => tokenizer.encode(text, encodeOptions),
    async encodeMany(texts) {
      const jobs: Promise<EncodedTexts>[] = [];
      for (let start = 0; start < texts.length; ) {
        let stop = start;
        for (let units = 0; stop < texts.length && units < JOB_UNITS; stop++) units += texts[stop].length;
        jobs.push(pool.run(texts.slice(start, stop), { signal }));
        start = stop;
      }
      const encoded: Int32Array[] = [];
      for (const { ids, ends } of await Promise.all(jobs))
        for (let i = 0; i < ends.length; i++) encoded.push(ids.subarray(i > 0 ? ends[i - 1] : 0, ends[i]));
      if (encoded.length !== texts.length) throw new DataError("a text was lost between threads");
      return encoded;
    },
    close: () => pool.close(),
  };
}

/** Calls of encodeMany under way at once, so that the threads have work while one result is read. */
const GROUPS_IN_FLIGHT = 3;

/**
 * The tokens of each document, in order. Reads ahead by a few million characters; ends its threads when done or left.
 *
 * @throws what the documents throw; DataError for a text that cannot be encoded; the signal's reason
 */
export async function* encodeDocuments(
  tokenizer: Tokenizer,
  documents: AsyncIterable<string> | Iterable<string>,
  options: DocumentEncoderOptions = {},
): AsyncGenerator<Int32Array> {
  const encoder = createDocumentEncoder(tokenizer, options);
  const groupUnits = JOB_UNITS * Math.max(1, encoder.threads);
  const underway: Promise<Int32Array[]>[] = [];
  let group: string[] = [];
  let units = 0;
  const send = () => {
    const encoded = encoder.encodeMany(group);
    encoded.catch(() => {}); // awaited later; meanwhile a failure is not unhandled
    underway.push(encoded);
    group = [];
    units = 0;
  };
  try {
    for await (const text of documents) {
      group.push(text);
      units += text.length;
      if (units < groupUnits) continue;
      send();
      if (underway.length >= GROUPS_IN_FLIGHT) yield* await underway.shift()!;
    }
    if (group.length > 0) send();
    while (underway.length > 0) yield* await underway.shift()!;
  } finally {
    await encoder.close();
  }
}
