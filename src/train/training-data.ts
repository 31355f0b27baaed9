/** What a run reads, of whatever it is made (corpus.ts: one text; mixed-corpus.ts: a mixture), and checks that both share. */
import { type FeedSpec, openSplit, readManifest } from "../data/index.ts";
import type { LossMarker } from "../data/loss-mask.ts";
import { UsageError } from "../platform/errors.ts";
import { exists, joinPath } from "../platform/files.ts";
import { nextTurn } from "../platform/turn.ts";
import { loadTokenizer, type Tokenizer } from "../tokenizer/index.ts";
import type { RunConfig } from "./config-schema.ts";
import { checkVocabulary, type TextOptions } from "./encode-text.ts";
import type { Validation } from "./validation.ts";

export interface TrainingData {
  tokenizer: Tokenizer;
  /** What batches are made of: openFeed and prefetchFeed of data/ take it. */
  feed: FeedSpec;
  about: { identity: string; tokens: number; documents: number };
  validation: Validation | null;
  /** The shards were there before: reading ahead pays. */
  prepared: boolean;
  /**
   * The same text for another run that is open at the same time: with the batch, sequence, seed and evaluation of its config,
   * whose `data` and `tokenizer` sections are the same (opened-runs.ts checks that). Closing it closes nothing.
   */
  forRun(config: RunConfig): TrainingData;
  close(): void;
}

export interface CorpusOptions extends TextOptions {
  /** Stands over the config's: the tokenizer of the checkpoint that a run goes on or begins from. */
  tokenizer?: Tokenizer;
}

/** What is the same for every kind of feed. @param marker of data.lossAfter (validation.ts) */
export function feedSettings({ train, data }: RunConfig, marker: LossMarker | undefined) {
  const { batch, sequence, seed } = train;
  return { batch, sequence, seed, documentStarts: data.maskDocuments, lossAfter: marker ?? null };
}

/**
 * The run's tokenizer: the caller's, or what the config names, or that of the first dataset, or one made of the text; its
 * vocabulary the model's.
 *
 * @param dataset the first prepared dataset; null where there is text alone
 * @param make    loads the config's, or trains one
 * @param from    stands in front of the error: whose dataset it is
 * @throws UsageError for a dataset that brings no tokenizer where none is named, or a vocabulary that is not the model's
 */
export async function tokenizerOfRun(
  config: RunConfig,
  { dataset, make, from = "" }: { dataset: string | null; make: () => Promise<Tokenizer>; from?: string },
  options: CorpusOptions,
): Promise<Tokenizer> {
  const brings = dataset !== null && exists(joinPath(dataset, "tokenizer.json"));
  const named = options.tokenizer !== undefined || config.tokenizer.file !== null;
  if (dataset !== null && !brings && !named)
    throw new UsageError(
      `${from}${dataset} is a prepared dataset; name the tokenizer that it was encoded with (--tokenizer)`,
    );
  const tokenizer = options.tokenizer ?? (brings && !named ? loadTokenizer(dataset) : await make());
  // That of a model that is there may leave rows of its vocabulary unused, as published models often do.
  if (!options.tokenizer || tokenizer.vocabSize > config.model.vocabSize) checkVocabulary(config, tokenizer);
  return tokenizer;
}

/** @throws UsageError for a dataset that was encoded with another tokenizer */
export function checkDataset(folder: string, tokenizer: Tokenizer): void {
  if (readManifest(folder).tokenizer.hash !== tokenizer.hash)
    throw new UsageError(
      `${folder}: was encoded with another tokenizer than ${tokenizer.name}; prepare it with this one, or train on the text itself`,
    );
}

/** Reads all of the datasets against their checksums. @throws FormatError naming the shard that has changed */
export async function verifyDatasets(folders: readonly string[], { onNote, signal }: TextOptions): Promise<void> {
  for (const folder of folders)
    for (const split of ["train", "valid"] as const) {
      if (!readManifest(folder).splits[split]) continue;
      const opened = openSplit(folder, split);
      try {
        onNote?.(`comparing ${opened.shards.length} ${split} shards of ${folder} with their checksums`);
        for (const { shard } of opened.shards) {
          shard.verify();
          // A signal is heard between two shards.
          await nextTurn();
          signal?.throwIfAborted();
        }
      } finally {
        opened.close();
      }
    }
}
