/**
 * What a preparation is asked for and what its stages share: options, their defaults filled in, progress. No work is done
 * here; prepare-run.ts, prepare-stages.ts, prepare-tokenizer.ts and prepare-finish.ts do it.
 */
import type { Share } from "../data/share.ts";
import type { DatasetManifest } from "../data/dataset.ts";
import type { DedupOptions } from "./dedup/options.ts";
import type { DedupSource } from "./dedup/sources.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import type { BlockFilter } from "./filter-chunks.ts";
import type { Packing } from "./packing/write-shards.ts";
import type { Stage } from "./pipeline.ts";
import type { InputFile, PrepareInput } from "./prepare-inputs.ts";
import type { PrepareWork } from "./prepare-work.ts";

export interface TokenizerSource {
  /** Changes whenever the tokenizer would: its file's hash, or how it is trained. */
  readonly identity: string;
  /** Whether it is made from the text. */
  readonly trains: boolean;
  /** UTF-8 bytes of text that training takes, spread over all of it (default: all). */
  readonly sampleBytes?: number;
  /**
   * Opens the tokenizer, or makes it from the documents. Files that it writes into `folder` are kept, there when it is
   * opened again, and go into the dataset.
   */
  open(folder: string, documents: () => AsyncIterable<string>): Promise<DocumentEncoder & { close?(): Promise<void> }>;
}

/**
 * In order. `text` is there where duplicates are looked for or a tokenizer is trained; those from `signatures` to `drops`
 * are deduplication's, of which `candidates` and `clusters` are SQL that another engine can run (`bitnet data dedup
 * --print-plan`).
 */
export const prepareStages = [
  "text",
  "signatures",
  "candidates",
  "shingles",
  "clusters",
  "drops",
  "tokenizer",
  "encode",
  "shards",
  "finish",
] as const;
export type PrepareStage = (typeof prepareStages)[number];

export interface PrepareShardsProgress {
  /** "hash", then stages. */
  stage: string;
  /** Bytes, documents or shards, as the stage counts them. */
  done: number;
  /** 0: not known. */
  total: number;
  note: string;
}

export interface PrepareShardsOptions {
  inputs: readonly PrepareInput[];
  tokenizer: DocumentEncoder | TokenizerSource;
  /** The dataset's folder. One that holds another dataset is replaced once the new one is complete. */
  outDir?: string;
  /** Or: a folder of datasets, where it gets the name of its content. */
  cacheDir?: string;
  /** Of the unfinished run; default: the result's name with .work. */
  workDir?: string;
  /** Leave the work folder there when all is done. */
  keepWork?: boolean;
  /** Throw away an unfinished run of other sources or settings. */
  restart?: boolean;
  /** Filters that all inputs' documents go through, behind their own. */
  stages?: readonly Stage[];
  /** Drop duplicates among training text (default: no). */
  dedup?: DedupOptions | null;
  /** Evaluation text: documents that share n-grams with it are dropped. Needs `dedup`. */
  heldOut?: readonly PrepareInput[];
  /** Share of the documents held out for validation, by a hash of their text (default 0). */
  validFraction?: number;
  /** Seed of the order of documents; null (default): the order of sources. */
  shuffle?: number | null;
  /** Default: documents as they are. */
  packing?: Packing;
  /** Tokens of a shard (default 100,000,000), rounded down to whole sequences. */
  shardTokens?: number;
  /** Or: so many shards of training text, as large as that makes them. */
  shardCount?: number;
  /** Write no more shards of training text than this; what is left over is counted. */
  maxShards?: number;
  /** What else the manifest says: the recipe's name, say. */
  about?: Record<string, string>;
  /** Threads for deduplication. Default: one for each processor, at most 8. */
  threads?: number;
  /** Bound of deduplication's memory (default "1GB"). */
  memory?: string;
  /** Run this stage alone, on what those before it left in the work folder. */
  stage?: PrepareStage;
  /** One machine's share of the stages that read text, encode or write shards. All see the same work folder. */
  share?: Share;
  /** UTF-16 units of text in a block, the unit of work that is done anew after a kill. */
  blockCharacters?: number;
  /** Tokens put in order at once; see document-order.ts. */
  bucketTokens?: number;
  onProgress?: (progress: PrepareShardsProgress) => void;
  /** Told, for people, that the lock of a process that is gone was taken over. */
  onNote?: (text: string) => void;
  /** Aborting throws the signal's reason; what is finished stays, for the next run. */
  signal?: AbortSignal;
}

/** With defaults, and what follows from them. */
export interface ResolvedPrepare
  extends Required<Pick<PrepareShardsOptions, "inputs" | "stages" | "validFraction" | "packing" | "shardTokens">>,
    Pick<
      PrepareShardsOptions,
      "shardCount" | "maxShards" | "threads" | "memory" | "share" | "bucketTokens" | "signal"
    > {
  key: string;
  /** Where shards end: every S tokens, or at the first document end past S. */
  cut: "every" | "past";
  /** What the manifest says under `options`; null: the validation fraction and the tokens of a shard. */
  recorded: DatasetManifest["options"] | null;
  dedup: DedupOptions | null;
  heldOut(): Promise<DedupSource[]>;
  shuffle: number | null;
  blockCharacters: number;
  /** Documents are kept as text before they are encoded. */
  keepsText: boolean;
  settings: Record<string, unknown>;
  about: Record<string, string>;
}

export const defaultShardTokens = 100_000_000;

/** What all stages share. */
export interface StageContext {
  given: ResolvedPrepare;
  files: readonly InputFile[];
  work: PrepareWork;
  filter: BlockFilter;
  /** Whether this machine does the part. */
  mine(number: number): boolean;
  /** Hears of each block that is encoded. */
  encoded?(counts: { documents: number; tokens: number }): void;
  /** Tells progress, and ends here if the work was asked to end. */
  say(stage: string, done: number, total: number, note: string): void;
}
