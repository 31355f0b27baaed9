/** Documents through stages, for `bitnet data filter` and for looking at what a filter does: no tokens, no shards. */
import { type PipelineOptions, runPipeline, type Stage, type StageReport } from "./pipeline.ts";
import { createSourceReport, type SourceReport, type TextDocument } from "./records.ts";
import { readTextDocuments, type SourceOptions } from "./sources.ts";

export interface FilterOptions extends Omit<SourceOptions, "report">, PipelineOptions {
  sources: readonly string[];
  stages: readonly Stage[];
  /** Takes each document that is left; awaited. */
  onDocument?: (document: TextDocument) => void | Promise<void>;
  /** Read no more than so many documents. */
  limit?: number;
  signal?: AbortSignal;
}

export interface FilterReport {
  sources: SourceReport;
  stages: StageReport[];
  /** What is left. */
  documents: number;
  characters: number;
  /** By length in characters: bin i holds 2^i to 2^(i+1) - 1. */
  lengths: number[];
}

/**
 * Reads, filters, hands over.
 *
 * @throws DataError of the sources (see readTextDocuments); the signal's reason when aborted
 */
export async function filterDocuments(options: FilterOptions): Promise<FilterReport> {
  const { limit = Number.POSITIVE_INFINITY, signal, onDocument } = options;
  const sources = createSourceReport();
  async function* limited() {
    if (limit <= 0) return;
    let count = 0;
    for await (const document of readTextDocuments(options.sources, { ...options, report: sources })) {
      signal?.throwIfAborted();
      yield document;
      if (++count >= limit) return;
    }
  }
  const run = runPipeline(limited(), options.stages, options);
  const left = { documents: 0, characters: 0, lengths: [] as number[] };
  for await (const document of run.documents) {
    left.documents++;
    left.characters += document.text.length;
    const bin = Math.floor(Math.log2(Math.max(1, document.text.length)));
    while (left.lengths.length <= bin) left.lengths.push(0);
    left.lengths[bin]++;
    await onDocument?.(document);
  }
  return { sources, stages: run.report(), ...left };
}

/** A document as a line of JSON: what is known of it, and nothing else. */
export function documentLine(
  { text, id, language, score, source }: TextDocument,
  more: Record<string, unknown> = {},
): string {
  const row: Record<string, unknown> = { id, language, score, source, ...more };
  for (const key of Object.keys(row)) if (row[key] === null || row[key] === undefined) delete row[key];
  return `${JSON.stringify({ text, ...row })}\n`;
}
