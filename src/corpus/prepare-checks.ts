/**
 * What both fronts of a preparation (prepare.ts for a run's own text, prepare-shards.ts for corpora) ask of their options, look for before they
 * begin, and say of text that leaves nothing.
 */
import { DataError, UsageError } from "../platform/errors.ts";
import { type DatasetManifest, isDataset, openShards, readManifest } from "../data/dataset.ts";
import type { StageReport } from "./pipeline.ts";
import type { DocumentEncoder } from "./document-encoder.ts";
import type { SourceReport } from "./records.ts";

/** @throws UsageError for an end-of-text token that is none */
export function checkEncoder({ endOfText, vocabSize }: DocumentEncoder): { endOfText: number } {
  if (!(Number.isInteger(endOfText) && endOfText! >= 0 && endOfText! < vocabSize))
    throw new UsageError(
      `the tokenizer's end-of-text token is ${endOfText}; expected an id from 0 to ${vocabSize - 1} (documents need one between them)`,
    );
  return { endOfText: endOfText! };
}

export interface CommonOptions {
  outDir?: string;
  cacheDir?: string;
  validFraction?: number;
  /** Whether there are validation files of their own. */
  hasValidFiles: boolean;
  sources: number;
}

/** @param caller  the function's name, for a program that calls it wrongly */
export function checkCommon(caller: string, options: CommonOptions): void {
  const { validFraction } = options;
  if ((options.outDir === undefined) === (options.cacheDir === undefined))
    throw new UsageError(`${caller}: name either outDir or cacheDir`);
  if (options.sources === 0) throw new UsageError("name at least one text file or folder");
  if (validFraction !== undefined && !(validFraction > 0 && validFraction < 1))
    throw new UsageError(
      `the validation fraction is ${validFraction}; expected a number between 0 and 1, such as 0.01`,
    );
  if (validFraction !== undefined && options.hasValidFiles)
    throw new UsageError("name either a validation fraction or validation files, not both");
}

/** @throws UsageError naming what is no whole number above 0 */
export function checkWhole(name: string, value: number | undefined): void {
  if (value !== undefined && !(Number.isSafeInteger(value) && value > 0))
    throw new UsageError(`${name} is ${value}; expected a whole number above 0`);
}

/** The manifest in a folder if it is whole and of this content; a damaged one counts as absent. */
export function findPrepared(folder: string, key: string): DatasetManifest | undefined {
  if (!isDataset(folder)) return undefined;
  try {
    const manifest = readManifest(folder);
    if (manifest.key !== key) return undefined;
    for (const split of ["train", "valid"] as const)
      if (manifest.splits[split]) for (const shard of openShards(folder, split)) shard.close();
    return manifest;
  } catch {
    return undefined;
  }
}

/** No document is left: whose fault that is. */
export function nothingLeft(
  names: readonly string[],
  { bad, badRecords }: Pick<SourceReport, "bad" | "badRecords">,
  stages: readonly StageReport[],
): DataError {
  const shown = names.slice(0, 5).join(", ") + (names.length > 5 ? `, and ${names.length - 5} more` : "");
  const drops = stages.flatMap(({ name, dropped }) =>
    Object.entries(dropped).map(([reason, { documents }]) => `${name}: ${documents} ${reason}`),
  );
  if (drops.length > 0)
    return new DataError(
      `${shown}: the filters leave no document (${drops.join(", ")}); loosen them, or look at what they drop with bitnet data filter`,
    );
  const [first] = badRecords;
  const why = first
    ? ` (${bad} bad ${bad === 1 ? "record was" : "records were"} passed over, the first: ${first.file}: ${first.reason})`
    : "";
  return new DataError(`${shown}: hold no document; expected text${why}`);
}

/** @throws DataError where training, or the validation that was asked for, is left without a document */
export function checkSides(
  train: { documents: number },
  valid: { documents: number },
  { validFraction = 0, wantsValid }: { validFraction?: number; wantsValid: boolean },
): void {
  if (train.documents > 0 && (valid.documents > 0 || !wantsValid)) return;
  const empty = train.documents === 0 ? "training" : "validation";
  const share = validFraction > 0 ? ` with a validation fraction of ${validFraction}` : "";
  throw new DataError(
    `of ${train.documents + valid.documents} documents none is left for ${empty}${share}; give more documents, check the separator, or name a validation file of its own`,
  );
}
