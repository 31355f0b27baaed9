/**
 * The stages that read text: signatures of all documents, and shingles of those in candidate pairs. Documents go to
 * worker threads in blocks; each block comes back as the bytes of one Parquet file. Blocks are cut by the documents alone,
 * so the number of threads changes nothing, and those that are there from a killed run are not computed again.
 */
import { DataError } from "../../platform/errors.ts";
import { exists, joinPath, writeAtomically } from "../../platform/files.ts";
import { createWorkerPool, type WorkerPool } from "../../platform/workers.ts";
import { createSourceReport, type SourceReport } from "../records.ts";
import type { HeldOutIndex } from "./contamination.ts";
import type { ResolvedDedup } from "./options.ts";
import { parquetBytes } from "./parquet.ts";
import { type Block, createHandler, type SignatureSetup } from "./signature-worker.ts";
import { type DedupSource, numberedDocuments } from "./sources.ts";
import type { WorkFolder } from "./work-folder.ts";

/** A block is closed at either: some megabytes of text and of signatures. */
const blockDocuments = 8192;
const blockCharacters = 1 << 23;

export interface SourceCounts {
  documents: number;
  characters: number;
  blocks: number;
  /** What could not be read, of a source that counts it. */
  read?: SourceReport;
}

export type SignaturePool = WorkerPool<Block, ArrayBuffer>;

export function createSignaturePool(
  options: ResolvedDedup,
  heldOut: HeldOutIndex | null,
  threads: number,
): SignaturePool {
  const url = new URL(`./signature-worker${import.meta.url.slice(-3)}`, import.meta.url).href; // .ts or .js, as this file
  const setup: SignatureSetup = { options, heldOut };
  return createWorkerPool({ url, createHandler }, setup, { threads });
}

export interface TextStage {
  kind: Block["kind"];
  work: WorkFolder;
  pool: SignaturePool;
  options: ResolvedDedup;
  signal?: AbortSignal;
  /** Hears after every block. */
  onBlock?: (documents: number) => void;
}

const five = (n: number): string => String(n).padStart(5, "0");
export const markerName = (kind: string, source: number): string => `${kind}-${five(source)}`;

/** A table without rows, so that there is one even where no document is asked for. */
export function writeEmptyShingles(work: WorkFolder): void {
  const path = joinPath(work.folder("shingles"), "none.parquet");
  if (exists(path)) return;
  const columns = [
    { name: "doc", data: new BigInt64Array(0) },
    { name: "shingle", data: new Int32Array(0) },
  ];
  writeAtomically(path, new Uint8Array(parquetBytes(columns)));
}

/**
 * Runs a stage over one source, unless it is done.
 *
 * @param wanted  places in ascending order; absent: all
 */
export async function runTextStage(
  source: DedupSource,
  number: number,
  { kind, work, pool, options, signal, onBlock }: TextStage,
  wanted?: AsyncIterator<number>,
): Promise<SourceCounts> {
  const marker = markerName(kind, number);
  const done = work.marker<SourceCounts>(marker);
  if (done) return done;
  const folder = work.folder(kind);
  const wantsScore = kind === "signatures" && options.keep === "score";
  const counts: SourceCounts = { documents: 0, characters: 0, blocks: 0 };
  const read = createSourceReport();
  const underway: Promise<void>[] = [];
  let block: Block = { kind, source: number, places: [], texts: [], scores: [] };
  let characters = 0;

  const send = async () => {
    if (block.texts.length === 0) return;
    const path = joinPath(folder, `f${five(number)}-b${five(counts.blocks++)}.parquet`);
    const sent = block;
    block = { kind, source: number, places: [], texts: [], scores: [] };
    characters = 0;
    signal?.throwIfAborted();
    const finish = () => onBlock?.(sent.texts.length);
    if (exists(path)) {
      finish();
      return;
    }
    const written = pool.run(sent, { signal }).then((bytes) => {
      writeAtomically(path, new Uint8Array(bytes));
      finish();
    });
    written.catch(() => {}); // awaited below
    underway.push(written);
    if (underway.length > Math.max(1, pool.threads)) await underway.shift();
  };

  let next = wanted ? await wanted.next() : undefined;
  if (!next?.done)
    for await (const { place, document } of numberedDocuments(source, wantsScore, read)) {
      if (next) {
        if (next.done) break;
        if (place !== next.value) continue;
        next = await wanted!.next();
      }
      block.places.push(place);
      block.texts.push(document.text);
      if (wantsScore) block.scores.push(document.score!);
      counts.documents++;
      counts.characters += document.text.length;
      characters += document.text.length;
      if (block.texts.length >= blockDocuments || characters >= blockCharacters) await send();
    }
  if (next && !next.done)
    throw new DataError(`${source.name}: has no document ${next.value + 1} any more; was it changed meanwhile?`);
  await send();
  for (const written of underway) await written;
  if (read.files > 0) counts.read = read;
  work.mark(marker, counts);
  return counts;
}
