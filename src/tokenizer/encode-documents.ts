/**
 * Encoding many texts over worker threads, with the same ids as `encode`, in the order given. For data/ (to token
 * shards) and the CLI.
 */
import { UsageError } from "../platform/errors.ts";
import { processorCount } from "../platform/machine.ts";
import { createWorkerPool } from "../platform/workers.ts";
import { BpeTokenizer } from "./bpe-tokenizer.ts";
import { type EncodedGroup, type EncodeSetup, handlerOf, handlerOfTokenizer } from "./encode-worker.ts";
import { Encoder } from "./encoder.ts";
import { shared } from "./shared-tables.ts";
import { TextGroups } from "./text-groups.ts";
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
  /** The tokens of each text. Several calls may be under way; each is split over the threads, long texts too. */
  encodeMany(texts: readonly string[]): Promise<Int32Array[]>;
  /** The same, with the bytes that each text has in UTF-8: they are counted on the way. */
  encodeGroup(texts: readonly string[]): Promise<EncodedTexts>;
  /** Stops the threads. */
  close(): Promise<void>;
}

export interface EncodedTexts {
  ids: Int32Array[];
  textBytes: number[];
}

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
  const bpe = tokenizer instanceof BpeTokenizer ? tokenizer : null;
  const setup: EncodeSetup = {
    of: bpe
      ? { tables: threads > 0 ? shared(bpe.tables) : bpe.tables }
      : { json: tokenizer.toJson(), name: tokenizer.name },
    options: encodeOptions,
  };
  const url = new URL(`./encode-worker${import.meta.url.slice(-3)}`, import.meta.url).href; // .ts or .js, as this file
  const createHandler = () =>
    bpe ? handlerOf(new Encoder(bpe.tables), encodeOptions) : handlerOfTokenizer(tokenizer, encodeOptions);
  const pool = createWorkerPool({ url, createHandler }, setup, { threads });
  const encodeGroup = async (texts: readonly string[]): Promise<EncodedTexts> => {
    const jobs: Promise<EncodedGroup>[] = [];
    const groups = new TextGroups(bpe?.cuts ?? false, (group) => {
      const job = pool.run(group, { signal, transfer: [group.bytes.buffer] });
      job.catch(() => {}); // awaited below with the others; meanwhile a failure is not unhandled
      jobs.push(job);
    });
    for (const text of texts) groups.add(text);
    groups.finish();
    return { ids: groups.join(await Promise.all(jobs)), textBytes: groups.textBytes };
  };
  return {
    vocabSize: tokenizer.vocabSize,
    endOfText,
    hash: tokenizer.hash,
    threads,
    encode: (text) => tokenizer.encode(text, encodeOptions),
    encodeMany: async (texts) => (await encodeGroup(texts)).ids,
    encodeGroup,
    close: () => pool.close(),
  };
}

/** Text read before it is handed over, for each thread, in UTF-16 units. */
const UNITS_AT_ONCE = 1 << 19;
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
  const groupUnits = UNITS_AT_ONCE * Math.max(1, encoder.threads);
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
  // What is encoded already is not given out either once the reader has stopped.
  function* handOver(encoded: Int32Array[]) {
    for (const ids of encoded) {
      options.signal?.throwIfAborted();
      yield ids;
    }
  }
  try {
    for await (const text of documents) {
      group.push(text);
      units += text.length;
      if (units < groupUnits) continue;
      send();
      if (underway.length >= GROUPS_IN_FLIGHT) yield* handOver(await underway.shift()!);
    }
    if (group.length > 0) send();
    while (underway.length > 0) yield* handOver(await underway.shift()!);
  } finally {
    await encoder.close();
  }
}
