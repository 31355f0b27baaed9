/** What a run reads, of whatever it is made (corpus.ts: one text; mixed-corpus.ts: a mixture), and checks that both share. */
import { type FeedSpec, openSplit, readManifest } from "../data/index.ts";
import { UsageError } from "../platform/errors.ts";
import { exists, joinPath } from "../platform/files.ts";
import { nextTurn } from "../platform/turn.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { RunConfig } from "./config-schema.ts";
import type { TextOptions } from "./encode-text.ts";
import { lossMarker, type Validation } from "./validation.ts";

export interface TrainingData {
  tokenizer: Tokenizer;
  /** What batches are made of: openFeed and prefetchFeed of data/ take it. */
  feed: FeedSpec;
  about: { identity: string; tokens: number; documents: number };
  validation: Validation | null;
  /** The shards were there before: reading ahead pays. */
  prepared: boolean;
  close(): void;
}

export interface CorpusOptions extends TextOptions {
  /** Stands over the config's: the tokenizer of the checkpoint that a run goes on or begins from. */
  tokenizer?: Tokenizer;
}

/** What is the same for every kind of feed. */
export function feedSettings({ train, data }: RunConfig, tokenizer: Tokenizer) {
  const { batch, sequence, seed } = train;
  const marker = lossMarker({ data }, tokenizer);
  return { batch, sequence, seed, documentStarts: data.maskDocuments, lossAfter: marker ? Array.from(marker) : null };
}

/** Where the tokenizer lies that a dataset brings; null where it brings none. */
export const tokenizerOfDataset = (folder: string): string | null =>
  exists(joinPath(folder, "tokenizer.json")) ? folder : null;

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
