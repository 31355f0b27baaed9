/** A prepared dataset as an inspection: its manifest, its shards' indexes, and the account of its preparation. */
import { openShards, readManifest, type SplitName } from "../../data/dataset.ts";
import { histogramOfLengths, readPrepareReport } from "../prepare-report.ts";
import type { InspectedGroup, Inspection } from "./inspection.ts";
import type { InspectedLengths } from "./lengths.ts";

/** @throws DataError or FormatError for a folder that is no dataset, or a damaged one */
export function inspectDataset(folder: string): Inspection {
  const { splits, tokenizer } = readManifest(folder);
  const account = readPrepareReport(folder);
  const groups: InspectedGroup[] = [];
  const lengths: Record<string, InspectedLengths> = {};
  for (const name of ["train", "valid"] satisfies SplitName[]) {
    const split = splits[name];
    if (!split) continue;
    const { documents, tokens, textBytes: bytes, packing } = split;
    groups.push({
      ...{ name, documents, kept: documents, characters: null, bytes },
      // End-of-text tokens, and those that fill sequences up, stand for no byte.
      tokens: tokens - documents - (packing?.padding ?? 0),
    });
    const shards = openShards(folder, name);
    try {
      lengths[name] = { unit: "tokens", ...histogramOfLengths(shards) };
    } finally {
      for (const shard of shards) shard.close();
    }
  }
  return {
    kind: "dataset",
    of: [folder],
    groupedBy: "split",
    groups,
    lengths,
    tokenizer: { vocabSize: tokenizer.vocabSize, hash: tokenizer.hash },
    reading: account?.sources ?? null,
    stages: account?.stages ?? [],
    duplicates: account?.dedup ?? null,
  };
}
