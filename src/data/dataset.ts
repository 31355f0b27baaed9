/**
 * A prepared dataset: a folder with `dataset.json` and token shards. This file describes and opens it; prepare.ts makes
 * it. The manifest is written last and the folder takes its name only when complete, so a folder with a manifest is whole.
 */
import { z } from "zod";
import { DataError, FormatError } from "../platform/errors.ts";
import { exists, joinPath, readWhole } from "../platform/files.ts";
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
});
const manifestSchema = z.strictObject({
  format: z.literal("bitnet-dataset"),
  version: z.literal(datasetVersion),
  /** SHA-256 over what decides the content: source hashes, tokenizer hash, options. The cache's name for it. */
  key: z.string(),
  tokenizer: z.strictObject({ hash: z.string(), vocabSize: count, endOfText: count }),
  sources: z.array(z.strictObject({ name: z.string(), split: z.enum(["train", "valid", "both"]), hash: z.string() })),
  options: z.record(z.string(), z.union([z.string(), z.number(), z.null()])),
  splits: z.strictObject({ train: splitSchema, valid: splitSchema.optional() }),
});

export type SplitSummary = z.infer<typeof splitSchema>;
export type DatasetManifest = z.infer<typeof manifestSchema>;

/** Whether a folder holds a prepared dataset (its manifest may still turn out damaged). */
export const isDataset = (folder: string): boolean => exists(joinPath(folder, manifestName));

/** The manifest of a prepared dataset. DataError if there is none, FormatError if it is not what it should be. */
export function readManifest(folder: string): DatasetManifest {
  const path = joinPath(folder, manifestName);
  if (!exists(path))
    throw new DataError(`${folder}: is not a prepared dataset (no ${manifestName}); make one with bitnet data prepare`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(readWhole(path, 1 << 26)));
  } catch (cause) {
    throw new FormatError(`${path}: is not JSON (${(cause as Error).message}); prepare the data again`, { cause });
  }
  const parsed = manifestSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(`${path}: ${issue.path.join(".") || "manifest"}: ${issue.message}; prepare the data again`);
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
