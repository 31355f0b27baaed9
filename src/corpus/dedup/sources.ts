/**
 * Documents to deduplicate, from files or from elsewhere. Sources are ordered by name, and a document is its source's
 * number and its place in it, so the order in which sources are given changes nothing.
 */
import { DataError, UsageError } from "../../platform/errors.ts";
import type { SourceReport, TextDocument } from "../records.ts";
import { identityOf, locateSources } from "../source-files.ts";
import { readSourceFile, type SourceOptions } from "../sources.ts";

export interface DedupDocument {
  text: string;
  /** Its own name, shown in reports. */
  id?: string | null;
  /** Wanted by the keep rule "score": the higher stays. */
  score?: number | null;
  language?: string | null;
  source?: string | null;
}

/** Documents in a fixed order: `documents` gives the same ones each time, and `identity` changes whenever they do. */
export interface DedupSource {
  readonly name: string;
  readonly identity: string;
  /** @param report  filled, where the source counts what it could not read */
  documents(report?: SourceReport): AsyncIterable<string | DedupDocument> | Iterable<string | DedupDocument>;
}

/** A document's number: its source's 2^32, and its place from 0. Whole in a double up to 2^21 sources. */
const placesInSource = 2 ** 32;
const maxSources = 2 ** 20;

export const documentNumber = (source: number, place: number): number => source * placesInSource + place;
export const sourceOf = (document: number): number => Math.floor(document / placesInSource);
export const placeOf = (document: number): number => document % placesInSource;

/**
 * Files, folders, globs, addresses and data sets of the hub as sources, read as `bitnet data prepare` reads them. What is
 * far away and has no checksum is downloaded here.
 *
 * @throws as locateSources
 */
export async function fileSources(
  paths: readonly string[],
  options: Omit<SourceOptions, "report"> = {},
  onFile?: (done: number, total: number) => void,
): Promise<DedupSource[]> {
  const files = await locateSources(paths, { ...options.remote, format: options.format });
  const { separator = null, field = null, fields = null, maxDocumentBytes = null, onBadRecord = "fail" } = options;
  const sources: DedupSource[] = [];
  for (const file of files) {
    const how = JSON.stringify([file.format, separator, field, fields, maxDocumentBytes, onBadRecord]);
    const identity = `${await identityOf(file)} ${how}`;
    options.remote?.signal?.throwIfAborted();
    sources.push({
      name: file.name,
      identity,
      documents: (report) => withoutNulls(readSourceFile(file, { ...options, report })),
    });
    onFile?.(sources.length, files.length);
  }
  return sources;
}

/** What is known of a document, and nothing else, as `documents/` will have it. */
async function* withoutNulls(documents: AsyncIterable<TextDocument>): AsyncGenerator<DedupDocument> {
  for await (const { text, id, language, score, source } of documents) {
    const document: DedupDocument = { text };
    if (id !== null) document.id = id;
    if (language !== null) document.language = language;
    if (score !== null) document.score = score;
    if (source !== null) document.source = source;
    yield document;
  }
}

/** Sorted by name. @throws UsageError for none, too many, or two of one name */
export function orderSources(sources: readonly DedupSource[]): DedupSource[] {
  if (sources.length === 0) throw new UsageError("name at least one source of documents");
  if (sources.length > maxSources)
    throw new UsageError(
      `${sources.length} sources; at most ${maxSources} are taken at once: put several into one file`,
    );
  const sorted = [...sources].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  for (let i = 1; i < sorted.length; i++)
    if (sorted[i].name === sorted[i - 1].name)
      throw new UsageError(`${sorted[i].name} is given twice; name each source once`);
  return sorted;
}

/** A source's documents as objects. @throws DataError for one without a score, where scores are wanted */
export async function* numberedDocuments(
  source: DedupSource,
  wantsScore: boolean,
  report?: SourceReport,
): AsyncGenerator<{ place: number; document: DedupDocument }> {
  let place = 0;
  for await (const given of source.documents(report)) {
    const document = typeof given === "string" ? { text: given } : given;
    if (wantsScore && !Number.isFinite(document.score))
      throw new DataError(
        `${source.name}: document ${place + 1} has no score (${document.score}); expected a finite number (is the field that holds it named?), or keep by "first" or "longest"`,
      );
    if (place >= placesInSource) throw new DataError(`${source.name}: holds over 2^32 documents; split it`);
    yield { place: place++, document };
  }
}
