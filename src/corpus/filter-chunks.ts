/**
 * Filters over a block of documents, in chunks: in this thread, or shared over worker threads (filter-worker.ts). A chunk's
 * outcome depends on nothing else, and chunks are put together in their order, so threads change nothing.
 */
import { processorCount } from "../platform/machine.ts";
import { createWorkerPool, type WorkerPool } from "../platform/workers.ts";
import { type FilteredDocuments, type FilterJob, filterDocumentsHere, filterWorker } from "./filter-worker.ts";
import { mergeStageReports, type Stage } from "./pipeline.ts";
import type { TextDocument } from "./records.ts";

/** UTF-16 units in a chunk: some tenths of a second. */
const defaultChunkCharacters = 2 ** 20;
/** Fewer chunks than these are not worth the start of threads. */
const leastChunks = 4;
export interface BlockFilter {
  /** @throws what a filter throws; the signal's reason */
  run(documents: readonly TextDocument[], stages: readonly Stage[], mostTextBytes: number): Promise<FilteredDocuments>;
  close(): Promise<void>;
}

/**
 * @param threads  worker threads, which are started when there is work for them (default: one for each processor, at most
 *   8); with fewer than two, or a stage that a thread cannot make anew, the work is done here
 */
export function createBlockFilter({
  threads = Math.min(8, processorCount()),
  chunkCharacters = defaultChunkCharacters,
  signal,
}: {
  threads?: number;
  chunkCharacters?: number;
  signal?: AbortSignal;
} = {}): BlockFilter {
  let pool: WorkerPool<FilterJob, FilteredDocuments> | undefined;
  return {
    async run(documents, stages, mostTextBytes) {
      const chunks = chunksOf(documents, chunkCharacters);
      const remakes = stages.flatMap(({ remake }) => remake ?? []);
      const shared =
        threads > 1 && chunks.length >= leastChunks && remakes.length === stages.length && stages.length > 0;
      if (shared) pool ??= createWorkerPool(filterWorker, null, { threads });
      const work = (chunk: TextDocument[]) =>
        shared
          ? pool!.run({ documents: chunk, remakes }, { signal })
          : filterDocumentsHere(chunk, stages, undefined, signal);
      const outcomes: FilteredDocuments[] = [];
      const underway: Promise<FilteredDocuments>[] = [];
      let left = mostTextBytes;
      let next = 0;
      try {
        for (const chunk of chunks) {
          for (; next < chunks.length && underway.length < (shared ? 2 * threads : 1); next++) {
            const outcome = work(chunks[next]);
            outcome.catch(() => {}); // awaited in its turn
            underway.push(outcome);
          }
          let outcome = await underway.shift()!;
          // The limit lies within this chunk: again, up to there.
          if (outcome.textBytes >= left) outcome = await filterDocumentsHere(chunk, stages, left, signal);
          outcomes.push(outcome);
          left -= outcome.textBytes;
          if (left <= 0) break;
        }
      } finally {
        await Promise.allSettled(underway);
      }
      return join(outcomes, stages);
    },
    async close() {
      await pool?.close();
    },
  };
}

function chunksOf(documents: readonly TextDocument[], chunkCharacters: number): TextDocument[][] {
  const chunks: TextDocument[][] = [];
  let chunk: TextDocument[] = [];
  let size = 0;
  for (const document of documents) {
    chunk.push(document);
    size += document.text.length;
    if (size < chunkCharacters) continue;
    chunks.push(chunk);
    [chunk, size] = [[], 0];
  }
  return chunk.length > 0 ? [...chunks, chunk] : chunks;
}

function join(outcomes: readonly FilteredDocuments[], stages: readonly Stage[]): FilteredDocuments {
  const sum = (of: (outcome: FilteredDocuments) => number) => outcomes.reduce((all, one) => all + of(one), 0);
  return {
    documents: outcomes.flatMap(({ documents }) => documents),
    // Place by place: a filter may be named twice.
    stages: stages.map((_, i) => mergeStageReports(outcomes.map((outcome) => [outcome.stages[i]]))[0]),
    read: sum(({ read }) => read),
    characters: sum(({ characters }) => characters),
    kept: sum(({ kept }) => kept),
    textBytes: sum(({ textBytes }) => textBytes),
    emptied: sum(({ emptied }) => emptied),
  };
}
