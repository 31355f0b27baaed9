/**
 * A prepared dataset: a folder with `dataset.json` and token shards. This file describes and opens it; corpus/ makes
 * it. The manifest is written last and the folder takes its name only when complete, so a folder with a manifest is whole.
 */
import { z } from "zod";
import { showText } from "../platform/show.ts";
import { DataError, FormatError } from "../platform/errors.ts";
import { issueWords } from "../platform/issue.ts";
import { exists, joinPath, readWhole, recoverFolder } from "../platform/files.ts";
import { streamOfShards } from "./shard-stream.ts";
import { openShard, type Shard } from "./shards.ts";
import type { TokenStream } from "./token-stream.ts";

export const datasetVersion = 1;
export const manifestName = "dataset.json";

export type SplitName = "train" | "valid";

const count = z.number().int().nonnegative();
const splitSchema = z.strictObject({
  tokens: count,
  documents: count,
  /** UTF-8 bytes of the documents' text, end-of-text tokens not counted. */
  textBytes: count,
  shards: z.array(
    z.strictObject({
      file: z.string().regex(/^(train|valid)-\d{5}\.bin$/),
      tokens: count,
      documents: count,
      textBytes: count,
      contentHash: z.string(),
    }),
  ),
  /** What packing into sequences came to; absent where documents are as they are. */
  packing: z
    .strictObject({
      /** Whole sequences of T. */
      sequences: count,
      /** Tokens that fill sequences up. */
      padding: count,
      /** Documents whose tokens lie in several sequences, and those of them that are longer than one. */
      cut: count,
      overLength: count,
    })
    .optional(),
});
const manifestSchema = z.strictObject({
  format: z.literal("bitnet-dataset"),
  version: z.literal(datasetVersion),
  /** SHA-256 over what decides the content: source hashes, tokenizer hash, options. The cache's name for it. */
  key: z.string(),
  tokenizer: z.strictObject({ hash: z.string(), vocabSize: count, endOfText: count }),
  sources: z.array(
    z.strictObject({
      /** Path or address. */
      name: z.string(),
      split: z.enum(["train", "valid", "both"]),
      /** Format, then SHA-256 or the hub's checksum. */
      hash: z.string(),
      /** The source that the file belongs to. */
      source: z.string().optional(),
      licence: z.string().nullable().optional(),
      sizeBytes: count.nullable().optional(),
      /** Documents read of it. */
      documents: count.optional(),
    }),
  ),
  options: z.record(z.string(), z.union([z.string(), z.number(), z.null()])),
  splits: z.strictObject({ train: splitSchema, valid: splitSchema.optional() }),
  // What follows is absent where version 0.1 prepared a training run's own text.
  /** What became of the documents; the numbers add up, and report.json has more. */
  counts: z
    .strictObject({
      read: count,
      /** Records that could not be read, and blank documents: not among those read. */
      bad: count,
      blank: count,
      /** By the filters: "stage: reason". */
      filtered: z.record(z.string(), count),
      /** Documents of which filters left only white space. */
      emptied: count,
      /** By deduplication: exact, near, contaminated. */
      duplicates: z.record(z.string(), count),
      /** Beyond the last shard that was wanted. */
      leftOver: count,
      train: count,
      valid: count,
    })
    .optional(),
  packing: z
    .strictObject({ kind: z.enum(["documents", "concatenate", "best-fit"]), sequence: count.nullable() })
    .optional(),
  /** Seed of the order of documents; null: that of the sources. */
  shuffle: z.number().nullable().optional(),
  /** All that was asked for. */
  settings: z.record(z.string(), z.unknown()).optional(),
  about: z.record(z.string(), z.string()).optional(),
  /** Other files of the folder (the tokenizer) and their SHA-256. */
  files: z.record(z.string(), z.string()).optional(),
});

export type SplitSummary = z.infer<typeof splitSchema>;
export type DatasetManifest = z.infer<typeof manifestSchema>;

/** Whether a folder holds a prepared dataset (its manifest may still turn out damaged). */
export function isDataset(folder: string): boolean {
  recoverFolder(folder);
  return exists(joinPath(folder, manifestName));
}

/** The manifest of a prepared dataset. DataError if there is none, FormatError if it is not what it should be. */
export function readManifest(folder: string): DatasetManifest {
  const path = joinPath(folder, manifestName);
  if (!isDataset(folder))
    throw new DataError(`${folder}: is not a prepared dataset (no ${manifestName}); make one with bitnet data prepare`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(readWhole(path, 1 << 26)));
  } catch (cause) {
    throw new FormatError(`${path}: is not JSON (${showText((cause as Error).message, 120)}); prepare the data again`, {
      cause,
    });
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(`${path}: ${issueWords(issue, "manifest")}; prepare the data again`);
  }
  return parsed.data;
}

/**
 * Opens the shards of one split, each checked against its own header and the manifest.
 *
 * @throws DataError if the dataset has no such split; FormatError or FileError for a shard that is damaged or missing
 */
export function openShards(folder: string, split: SplitName): Shard[] {
  const manifest = readManifest(folder);
  const summary = manifest.splits[split];
  if (!summary) throw new DataError(`${folder}: was prepared without a ${split} split; prepare it again with one`);
  const shards: Shard[] = [];
  try {
    for (const entry of summary.shards) {
      const shard = openShard(joinPath(folder, entry.file));
      shards.push(shard);
      const { header } = shard;
      if (header.contentHash !== entry.contentHash || header.tokenizerHash !== manifest.tokenizer.hash)
        throw new FormatError(`${shard.path}: is not the shard that ${manifestName} describes; prepare the data again`);
    }
    return shards;
  } catch (error) {
    for (const shard of shards) shard.close();
    throw error;
  }
}

/** One split of a prepared dataset as a stream of tokens. The caller closes it. */
export const openTokens = (folder: string, split: SplitName = "train"): TokenStream =>
  streamOfShards(openShards(folder, split));
