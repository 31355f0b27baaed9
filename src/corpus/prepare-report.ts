/**
 * The account of a preparation, kept beside the dataset as `report.json`: what was read, what was bad, and what each stage
 * dropped, with samples. A dataset without one was prepared by an earlier version.
 */
import { FormatError } from "../platform/errors.ts";
import { exists, joinPath, readWhole, writeAtomically } from "../platform/files.ts";
import type { DedupReport } from "./dedup/report.ts";
import type { StageReport } from "./pipeline.ts";
import type { SourceReport } from "./records.ts";
import type { Shard } from "../data/shards.ts";

export const prepareReportName = "report.json";

export interface PrepareReport {
  sources: SourceReport;
  stages: StageReport[];
  /** What deduplication found, with pairs; of several machines' shares the counts are summed. */
  dedup?: DedupReport;
}

const version = 1;

export function writePrepareReport(folder: string, report: PrepareReport): void {
  writeAtomically(joinPath(folder, prepareReportName), `${JSON.stringify({ version, ...report }, null, 2)}\n`);
}

/** The account in a dataset's folder; null where there is none. FormatError for one that is damaged. */
export function readPrepareReport(folder: string): PrepareReport | null {
  const path = joinPath(folder, prepareReportName);
  if (!exists(path)) return null;
  try {
    const value = JSON.parse(new TextDecoder().decode(readWhole(path, 2 ** 28))) as PrepareReport & { version: number };
    if (value.version !== version || !Array.isArray(value.stages) || typeof value.sources?.documents !== "number")
      throw new Error(`version ${value.version}, expected ${version}`);
    const { version: _, ...report } = value;
    return report;
  } catch (cause) {
    throw new FormatError(
      `${path}: is not the account of a dataset (${(cause as Error).message}); prepare the data again`,
      {
        cause,
      },
    );
  }
}

/** Documents by length in tokens, end-of-text not counted: bin i holds 2^i to 2^(i+1) - 1 (bin 0 also the empty ones). */
export interface LengthHistogram {
  bins: number[];
  shortest: number;
  longest: number;
  mean: number;
}

/** Read off the shards' own indexes, so it is true of every dataset. */
export function histogramOfLengths(shards: readonly Shard[]): LengthHistogram {
  const bins: number[] = [];
  let [shortest, longest, total, documents] = [Number.POSITIVE_INFINITY, 0, 0, 0];
  for (const shard of shards)
    for (const withEnd of shard.documentLengths()) {
      const length = withEnd - 1;
      const bin = length < 1 ? 0 : Math.floor(Math.log2(length));
      while (bins.length <= bin) bins.push(0);
      bins[bin]++;
      shortest = Math.min(shortest, length);
      longest = Math.max(longest, length);
      total += length;
      documents++;
    }
  return documents === 0
    ? { bins, shortest: 0, longest: 0, mean: 0 }
    : { bins, shortest, longest, mean: total / documents };
}
