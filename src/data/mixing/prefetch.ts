/**
 * A feed that is read ahead by a worker thread, so that a training step finds its batch ready. The queue is bounded: a
 * batch is asked for only when one is taken. The position is that of the batches taken, so what was read ahead and never
 * used is read again after a resume. An error of the worker comes out of the `next` whose batch it was to be.
 */
import { UsageError } from "../../platform/errors.ts";
import { createWorkerPool } from "../../platform/workers.ts";
import type { Batch } from "../batches.ts";
import { type BatchFeed, type DataPosition, type FeedSpec, openFeed } from "./feed.ts";
import { createHandler, type FedBatch, type FeedJob } from "./feed-worker.ts";

/**
 * Opens a feed whose batches a worker thread makes, `ahead` of them at most, and starts it.
 *
 * @param ahead batches to read ahead, from 1
 * @throws as openFeed, which checks in this thread what the worker will read
 */
export function prefetchFeed(spec: FeedSpec, ahead: number): BatchFeed & { close(): Promise<void> } {
  if (!(Number.isInteger(ahead) && ahead >= 1))
    throw new UsageError(`${ahead} batches are to be read ahead; expected a whole number from 1`);
  // For the sizes, and to judge positions: it reads no batch.
  const here = openFeed(spec);
  const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
  const url = new URL(`./feed-worker.${extension}`, import.meta.url).href;
  const pool = createWorkerPool<FeedSpec, FeedJob, FedBatch | null>({ url, createHandler }, spec, { threads: 1 });
  let queue: Promise<FedBatch | null>[] = [];
  let position = here.state();
  let use = here.use?.() ?? null;

  const post = (job: FeedJob) => {
    const done = pool.run(job);
    // Seen when its turn comes; meanwhile it is not unhandled.
    done.catch(() => {});
    return done;
  };
  const fill = () => {
    while (queue.length < ahead) queue.push(post({ kind: "next" }));
  };
  fill();

  return {
    batch: here.batch,
    sequence: here.sequence,
    batchesPerEpoch: here.batchesPerEpoch,
    tokensPerEpoch: here.tokensPerEpoch,
    async next(): Promise<Batch> {
      const first = queue.shift()!;
      // Asked for before waiting, so that the worker goes on while this batch is used.
      fill();
      const fed = (await first)!;
      position = fed.position;
      use = fed.use;
      return fed.batch;
    },
    ready: () =>
      queue[0].then(
        () => {},
        () => {},
      ),
    state: () => position,
    restore(saved: DataPosition) {
      here.restore(saved);
      position = here.state();
      use = here.use?.() ?? null;
      queue = [];
      void post({ kind: "restore", position: saved });
      fill();
    },
    ...(here.use ? { use: () => use! } : {}),
    async close() {
      queue = [];
      await here.close?.();
      await pool.close();
    },
  };
}
