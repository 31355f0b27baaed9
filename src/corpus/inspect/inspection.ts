/**
 * What `bitnet data inspect` finds out, as plain JSON: of files of text (inspect-sources.ts), of a prepared dataset
 * (inspect-dataset.ts), of a deduplication. report/ draws it as a page, cli/ as lines.
 */
import { exists, joinPath, readWhole } from "../../platform/files.ts";
import { isDataset } from "../../data/dataset.ts";
import { type DedupReport, readDedupReport, reportName } from "../dedup/report.ts";
import type { StageReport } from "../pipeline.ts";
import type { SourceReport } from "../records.ts";
import type { InspectedLengths } from "./lengths.ts";

/** One split of a dataset, or one source: what its records say (`--source-field`), or else its file. */
export interface InspectedGroup {
  name: string;
  documents: number;
  /** Documents that filters and deduplication leave; what follows is of these. */
  kept: number;
  /** UTF-16 code units; null where only tokens are there. */
  characters: number | null;
  /** In UTF-8. Null where texts were not read. */
  bytes: number | null;
  /** Without those of end-of-text. Null without a tokenizer. */
  tokens: number | null;
}

export interface Inspection {
  kind: "sources" | "dataset" | "deduplication";
  /** Paths, or the folder. */
  of: string[];
  groupedBy: "source" | "split";
  groups: InspectedGroup[];
  /** By what is counted: "characters" and "tokens" of sources, the splits of a dataset; none of a deduplication. */
  lengths: Record<string, InspectedLengths>;
  tokenizer: { vocabSize: number; hash: string } | null;
  /** What reading came to; null where it is not known. */
  reading: SourceReport | null;
  /** Filters, and what each dropped, with samples. */
  stages: StageReport[];
  /** Of the same documents, before filters; null where they were not looked for. */
  duplicates: DedupReport | null;
}

/** Tokens a byte of text; null where either is not known, or there is no text. */
export const tokensPerByte = ({ tokens, bytes }: Pick<InspectedGroup, "tokens" | "bytes">): number | null =>
  tokens === null || bytes === null || bytes === 0 ? null : tokens / bytes;

/** What a path is that can be inspected without reading text: by what lies in it. */
export function kindOfFolder(path: string): "dataset" | "deduplication" | null {
  if (isDataset(path)) return "dataset";
  const report = joinPath(path, reportName);
  if (!exists(report)) return null;
  // Other programs write a report.json too; ours begins so.
  const head = new TextDecoder().decode(readWhole(report, 2 ** 30).subarray(0, 200));
  return /^\{\s*"format":\s*"bitnet-dedup"/.test(head) ? "deduplication" : null;
}

/** A finished deduplication. @throws FormatError if the folder holds none */
export function inspectDeduplication(folder: string): Inspection {
  const report = readDedupReport(folder);
  return {
    kind: "deduplication",
    of: [folder],
    groupedBy: "source",
    groups: report.sources.map(({ name, documents, kept }) => ({
      ...{ name, documents, kept },
      ...{ characters: null, bytes: null, tokens: null },
    })),
    lengths: {},
    tokenizer: null,
    reading: report.read,
    stages: [],
    duplicates: report,
  };
}
