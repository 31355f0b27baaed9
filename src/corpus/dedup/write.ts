/**
 * The last stage that reads text: each source's documents once more, those that stay to `documents/`, a line for each
 * dropped one to `dropped/`. Also how another stage keeps the documents that a finished deduplication kept.
 */
import { DataError, FormatError } from "../../platform/errors.ts";
import { type AtomicFile, baseName, createAtomicFile, describePath, joinPath } from "../../platform/files.ts";
import { decodePiece, readPieces } from "../pieces.ts";
import type { Row } from "./engine.ts";
import { type DedupDocument, type DedupSource, documentNumber, placeOf, sourceOf } from "./sources.ts";

export type DropReason = "exact" | "near" | "contaminated";
export const dropReasons: readonly DropReason[] = ["exact", "near", "contaminated"];

/** One line of `dropped/`. Documents are counted from 1. */
export interface DroppedDocument {
  source: string;
  document: number;
  id?: string;
  reason: DropReason;
  /** Names the cluster: "SOURCE:DOCUMENT" of one of its members. Absent for contaminated ones. */
  cluster?: string;
  /** The one that stays: source and document. */
  kept?: { source: string; document: number };
  /** Jaccard similarity with the kept one, estimated or exact as the run verified; null: joined through others. */
  similarity?: number | null;
  /** Held-out text with which n-grams are shared, and how many. */
  heldOut?: { source: string; document: number; ngrams: number };
}

/** What one source came to. */
export interface SourceResult {
  name: string;
  documents: number;
  kept: number;
  dropped: Record<DropReason, number>;
  characters: number;
  keptCharacters: number;
  /** Beginnings of the documents that the report shows, by document number. */
  shown: Record<number, { id?: string; text: string }>;
}

export interface WriteStage {
  names: readonly string[];
  /** Rows of `decisions` of this source, ascending by doc. */
  decisions: AsyncIterator<Row>;
  /** Numbers of documents to show. */
  show: ReadonlySet<number>;
  /** Which held-out text has this number. */
  heldOutText(number: number): { source: string; document: number };
  /** Whether `documents/` is wanted. */
  documents: boolean;
  signal?: AbortSignal;
  onDocuments?: (documents: number) => void;
}

export const partName = (name: string, number: number): string => {
  const base = baseName(name)
    .replace(/(\.gz|\.zst)$/i, "")
    .replace(/\.[a-z]+$/i, "")
    .replace(/[^A-Za-z0-9._-]+/g, "_");
  return `${String(number).padStart(5, "0")}-${base || "source"}.jsonl`;
};

/** UTF-16 units of a document shown in a report. */
const shownUnits = 600;
const reportEvery = 4096;

/** Whole lines, gathered to a megabyte before they are written. */
function lineWriter(file: AtomicFile) {
  const utf8 = new TextEncoder();
  let lines: string[] = [];
  let units = 0;
  const flush = () => {
    if (lines.length > 0) file.append(utf8.encode(`${lines.join("\n")}\n`));
    lines = [];
    units = 0;
  };
  return {
    add(value: unknown) {
      const line = JSON.stringify(value);
      lines.push(line);
      units += line.length;
      if (units > 1 << 20) flush();
    },
    commit() {
      flush();
      file.commit();
    },
    abort: () => file.abort(),
  };
}

export async function writeSource(
  source: DedupSource,
  number: number,
  folder: string,
  stage: WriteStage,
): Promise<SourceResult> {
  const { names, decisions, show, signal } = stage;
  const part = partName(source.name, number);
  const dropped = lineWriter(createAtomicFile(joinPath(folder, "dropped", part)));
  const kept = stage.documents ? lineWriter(createAtomicFile(joinPath(folder, "documents", part))) : null;
  const result: SourceResult = {
    name: source.name,
    documents: 0,
    kept: 0,
    dropped: { exact: 0, near: 0, contaminated: 0 },
    characters: 0,
    keptCharacters: 0,
    shown: {},
  };
  const nameOf = (doc: number) => ({ source: names[sourceOf(doc)], document: placeOf(doc) + 1 });
  try {
    let next = await decisions.next();
    for await (const given of source.documents()) {
      const document: DedupDocument = typeof given === "string" ? { text: given } : given;
      const doc = documentNumber(number, result.documents++);
      result.characters += document.text.length;
      if (show.has(doc))
        result.shown[doc] = {
          ...named(document.id),
          text: cut(document.text),
        };
      if (!next.done && next.value.doc === doc) {
        const row = next.value;
        const reason = row.reason as DropReason;
        result.dropped[reason]++;
        dropped.add(droppedLine(row, document, nameOf, stage));
        next = await decisions.next();
      } else {
        result.kept++;
        result.keptCharacters += document.text.length;
        kept?.add(document);
      }
      if (result.documents % reportEvery === 0) {
        stage.onDocuments?.(reportEvery);
        signal?.throwIfAborted();
      }
    }
    if (!next.done)
      throw new DataError(
        `${source.name}: the decisions name document ${placeOf(Number(next.value.doc)) + 1}, but it has ${result.documents}; was it changed meanwhile?`,
      );
    stage.onDocuments?.(result.documents % reportEvery);
    dropped.commit();
    kept?.commit();
    return result;
  } catch (error) {
    dropped.abort();
    kept?.abort();
    throw error;
  }
}

function droppedLine(
  row: Row,
  { id }: DedupDocument,
  nameOf: (doc: number) => { source: string; document: number },
  { heldOutText }: WriteStage,
): DroppedDocument {
  const reason = row.reason as DropReason;
  const about = { ...nameOf(Number(row.doc)), ...named(id), reason };
  if (reason === "contaminated")
    return { ...about, heldOut: { ...heldOutText(Number(row.held)), ngrams: Number(row.overlap) } };
  const cluster = nameOf(Number(row.cluster));
  return {
    ...about,
    cluster: `${cluster.source}:${cluster.document}`,
    kept: nameOf(Number(row.kept)),
    similarity: row.similarity === null ? null : Number(row.similarity),
  };
}

const named = (id: string | null | undefined): { id?: string } => (typeof id === "string" ? { id } : {});

/** The beginning of a text, not through the middle of a character. */
export const cut = (text: string): string =>
  text.length <= shownUnits ? text : `${text.slice(0, shownUnits).replace(/[\ud800-\udbff]$/, "")} ...`;

/** The lines of one file of `dropped/`. */
export async function* readDroppedFile(path: string): AsyncGenerator<DroppedDocument> {
  if (describePath(path).sizeBytes === 0) return;
  const pieces = readPieces(path, {
    delimiter: Uint8Array.of(10),
    noun: "line",
    maxPieceBytes: 1 << 24,
    hint: "was it written by a deduplication?",
  });
  for await (const group of pieces)
    for (const piece of group) {
      const where = `line ${piece.index + 1}`;
      const line = decodePiece(piece, path, where);
      if (line === "") continue;
      try {
        yield JSON.parse(line) as DroppedDocument;
      } catch (cause) {
        throw new FormatError(`${path}: ${where}: is not JSON; deduplicate again`, { cause });
      }
    }
}

/**
 * The documents of a source, in the order in which they were deduplicated, without those that were dropped: how a stage
 * of a pipeline goes on after deduplication without writing the texts a second time.
 *
 * @param onDrop  hears of each document that is left out, and why
 */
export async function* withoutDropped<T>(
  documents: AsyncIterable<T> | Iterable<T>,
  dropped: AsyncIterable<DroppedDocument> | Iterable<DroppedDocument>,
  onDrop?: (document: T, why: DroppedDocument) => void,
): AsyncGenerator<T> {
  const drops = Symbol.asyncIterator in dropped ? dropped[Symbol.asyncIterator]() : dropped[Symbol.iterator]();
  let next = await drops.next();
  let place = 0;
  for await (const document of documents) {
    place++;
    if (!next.done && next.value.document === place) {
      onDrop?.(document, next.value);
      next = await drops.next();
    } else yield document;
  }
  if (!next.done)
    throw new DataError(
      `document ${next.value.document} was dropped, but there are ${place}; are these the same documents?`,
    );
}
