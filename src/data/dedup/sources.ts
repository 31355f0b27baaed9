/**
 * Documents to deduplicate, from files or from elsewhere. Sources are ordered by name, and a document is its source's
 * number and its place in it, so the order in which sources are given changes nothing.
 */
import { DataError, UsageError } from "../../platform/errors.ts";
import { sha256OfFile } from "../../platform/files.ts";
import { expandSources, formatOfName, readDocuments, type SourceOptions } from "../sources.ts";

export interface DedupDocument {
  text: string;
  /** Its own name, shown in reports. */
  id?: string | null;
  /** Wanted by the keep rule "score": the higher stays. */
  score?: number | null;
}

/** Documents in a fixed order: `documents` gives the same ones each time, and `identity` changes whenever they do. */
export interface DedupSource {
  readonly name: string;
  readonly identity: string;
  documents(): AsyncIterable<string | DedupDocument> | Iterable<string | DedupDocument>;
}

/** A document's number: its source's 2^32, and its place from 0. Whole in a double up to 2^21 sources. */
const placesInSource = 2 ** 32;
const maxSources = 2 ** 20;

export const documentNumber = (source: number, place: number): number => source * placesInSource + place;
export const sourceOf = (document: number): number => Math.floor(document / placesInSource);
export const placeOf = (document: number): number => document % placesInSource;

/** Text files and folders as sources, read as `bitnet data prepare` reads them. */
export async function fileSources(
  paths: readonly string[],
  options: SourceOptions = {},
  onFile?: (done: number, total: number) => void,
): Promise<DedupSource[]> {
  const files = expandSources(paths, options.format);
  return files.map((path, i) => {
    const { separator = null, field = null } = options;
    const how = JSON.stringify([options.format ?? formatOfName(path), separator, field]);
    const identity = `${sha256OfFile(path)} ${how}`;
    onFile?.(i + 1, files.length);
    return { name: path, identity, documents: () => readDocuments(path, options) };
  });
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
): AsyncGenerator<{ place: number; document: DedupDocument }> {
  let place = 0;
  for await (const given of source.documents()) {
    const document = typeof given === "string" ? { text: given } : given;
    if (wantsScore && !Number.isFinite(document.score))
      throw new DataError(
        `${source.name}: document ${place + 1} has no score (${document.score}); expected a finite number, or keep by "first" or "longest"`,
      );
    if (place >= placesInSource) throw new DataError(`${source.name}: holds over 2^32 documents; split it`);
    yield { place: place++, document };
  }
}
