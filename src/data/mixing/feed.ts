/**
 * Batches for training from prepared folders, as one thing whatever they are made of: one text (batches.ts) or a mixture
 * (mixture.ts). Described by plain data, so that a worker thread can open the same (prefetch.ts).
 */
import type { LossMarker } from "../loss-mask.ts";
import { createBatches, type Batch, type BatchPosition } from "../batches.ts";
import { openShards, readManifest, type SplitName } from "../dataset.ts";
import { FormatError } from "../../platform/errors.ts";
import { openSplit, type PreparedSplit } from "../prepared-split.ts";
import { type SequenceReader, sequencesOf } from "../sequences.ts";
import type { Share } from "../share.ts";
import { streamOfShards } from "../shard-stream.ts";
import { sliceOfStream, type TokenStream } from "../token-stream.ts";
import { joinSequences } from "./join.ts";
import { createMixture, type Mixture, type MixturePosition, type MixtureSource, type SourceUse } from "./mixture.ts";
import { openScores } from "./scores.ts";
import { type CurriculumSpec, easiestFirst, pacingOf } from "./spec.ts";

/** Where a feed stands, of whatever kind. */
export type DataPosition = BatchPosition | MixturePosition;

/** What the trainer takes its batches from. createBatches and createMixture give such a thing too. */
export interface BatchFeed {
  /** B */
  readonly batch: number;
  /** T */
  readonly sequence: number;
  readonly batchesPerEpoch: number;
  readonly tokensPerEpoch: number;
  next(): Batch | Promise<Batch>;
  /** Resolves when the first batch is there, where another thread makes it. What fails then fails in `next`. */
  ready?(): Promise<void>;
  /** Where it stands behind the last batch that `next` gave: what was read ahead does not count. */
  state(): DataPosition;
  /** DataError for a position of other data or settings. */
  restore(position: DataPosition): void;
  /** What each source of a mixture has given; absent for one text. */
  use?(): SourceUse[];
  close?(): void | Promise<void>;
}

interface FeedSettings {
  batch: number;
  sequence: number;
  seed: number;
  documentStarts: boolean;
  lossAfter: LossMarker | null;
}

/** Prepared folders one behind another, or the tokens [from, to) of them. */
export interface TextFeedSpec extends FeedSettings {
  kind: "text";
  folders: readonly string[];
  split: SplitName;
  range: readonly [number, number] | null;
}

export interface PreparedSource {
  name: string;
  weight: number;
  folders: readonly string[];
  /** Follows the mixture's curriculum, where there is one. */
  curriculum: boolean;
}

export interface MixtureFeedSpec extends FeedSettings {
  kind: "mixture";
  sources: readonly PreparedSource[];
  split: SplitName;
  curriculum: CurriculumSpec | null;
  /** This process's part of each step (default: all of it). */
  share?: Share;
  /** @deprecated The names of `share`'s index and count before. */
  rank?: number;
  world?: number;
}

export type FeedSpec = TextFeedSpec | MixtureFeedSpec;

/** The stream of prepared folders. @throws as openShards; FormatError for folders of different tokenizers */
export function openStream({ folders, split, range }: Pick<TextFeedSpec, "folders" | "split" | "range">): TokenStream {
  const shards = folders.flatMap((folder) => openShards(folder, split));
  const all = streamOfShards(shards);
  if (range === null) return all;
  return Object.assign(sliceOfStream(all, range[0], range[1]), { close: () => all.close() });
}

/**
 * What a feed's batches are cut from, each source's sequences by number (`Batch.sequence_B`), in the order of `source_B`; one
 * text is the only source. The caller closes it.
 */
export function openSources(spec: FeedSpec): { sources: FeedSource[]; close(): void } {
  const open: { close(): void }[] = [];
  const close = () => {
    for (const one of open) one.close();
  };
  try {
    if (spec.kind === "text") {
      const tokens = openStream(spec);
      open.push(tokens);
      const { endOfText } = tokens;
      return { sources: [{ name: null, sequences: sequencesOf(tokens, spec.sequence), endOfText }], close };
    }
    const sources = spec.sources.map((source) => {
      const made = openSource(source, spec);
      open.push(made);
      return { name: made.name, sequences: made.sequences, endOfText: made.endOfText };
    });
    return { sources, close };
  } catch (error) {
    close();
    throw error;
  }
}

export interface FeedSource {
  /** Of a mixture's source. */
  name: string | null;
  sequences: SequenceReader;
  endOfText: number;
}

/**
 * Opens a feed in this thread.
 *
 * @throws what opening folders and making batches throw: DataError, FormatError, FileError, UsageError
 */
export function openFeed(spec: FeedSpec): BatchFeed {
  if (spec.kind === "mixture") return openMixture(spec) as Mixture & BatchFeed;
  const tokens = openStream(spec);
  try {
    const { lossAfter, ...settings } = spec;
    const batches = createBatches({ ...settings, tokens, ...(lossAfter ? { lossAfter } : {}) });
    return {
      ...batches,
      restore: (position) => batches.restore(position as BatchPosition),
      close: () => tokens.close(),
    };
  } catch (error) {
    tokens.close();
    throw error;
  }
}

/** Opens the sources of a mixture, and their scores where there is a curriculum. */
export function openMixture(spec: MixtureFeedSpec): Mixture {
  const { sources, curriculum, lossAfter, ...settings } = spec;
  const open: { close(): void }[] = [];
  try {
    const opened = sources.map((source) => {
      const made = openSource(source, spec);
      open.push(made);
      return made;
    });
    checkTokenizers(sources);
    return createMixture({
      ...settings,
      sources: opened,
      ...(curriculum ? { curriculum: pacingOf(curriculum) } : {}),
      ...(lossAfter ? { lossAfter } : {}),
    });
  } catch (error) {
    for (const source of open) source.close();
    throw error;
  }
}

/** A source of prepared folders, opened. The caller closes it. */
export function openSource(
  { name, weight, folders, curriculum: follows }: PreparedSource,
  { split, sequence, curriculum }: Pick<MixtureFeedSpec, "split" | "sequence" | "curriculum">,
): MixtureSource & { close(): void; tokens: number } {
  const splits: PreparedSplit[] = [];
  const close = () => {
    for (const opened of splits) opened.close();
  };
  try {
    const parts = folders.map((folder) =>
      told(`source "${name}", ${folder}`, () => {
        const opened = openSplit(folder, split);
        splits.push(opened);
        return opened.sequences(sequence);
      }),
    );
    const sequences = joinSequences(parts);
    const [{ endOfText, vocabSize }] = splits.map(({ tokens }) => tokens);
    const tokens = splits.reduce((sum, opened) => sum + opened.tokens.tokenCount, 0);
    const source = { name, weight, sequences, endOfText, vocabSize, tokens, close };
    if (!curriculum || !follows) return source;
    if (folders.length > 1)
      throw new FormatError(
        `source "${name}": a curriculum orders the sequences of one prepared folder, this source has ${folders.length}; make a source of each, or say "curriculum: false" for it`,
      );
    const scores = openScores({ folder: folders[0], split, sequence, name: curriculum.by }, sequences);
    return { ...source, order: scores.order(easiestFirst(curriculum)) };
  } catch (error) {
    close();
    throw error;
  }
}

/** Errors of a folder, with the source that it belongs to in front where the message does not name the folder. */
function told<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Error && !error.message.includes(where.split(", ")[1]))
      error.message = `${where}: ${error.message}`;
    throw error;
  }
}

function checkTokenizers(sources: readonly PreparedSource[]): void {
  const first = { name: sources[0].name, folder: sources[0].folders[0] };
  const { hash } = readManifest(first.folder).tokenizer;
  for (const { name, folders } of sources)
    for (const folder of folders)
      if (readManifest(folder).tokenizer.hash !== hash)
        throw new FormatError(
          `source "${name}", ${folder}: was prepared with another tokenizer than source "${first.name}", ${first.folder}; prepare both with one`,
        );
}
