/** What the worker thread of prefetch.ts runs: opens the feed once, then gives batch after batch. */
import type { JobHandler } from "../../platform/workers.ts";
import type { Batch } from "../batches.ts";
import { type DataPosition, type FeedSpec, openFeed } from "./feed.ts";
import type { MixtureBatch, SourceUse } from "./mixture.ts";

export type FeedJob = { kind: "next" } | { kind: "restore"; position: DataPosition };

/** A batch, and where the feed stands behind it. */
export interface FedBatch {
  batch: Batch;
  position: DataPosition;
  use: SourceUse[] | null;
}

export function createHandler(spec: FeedSpec): JobHandler<FeedJob, FedBatch | null> {
  const feed = openFeed(spec);
  return async (job) => {
    if (job.kind === "restore") {
      feed.restore(job.position);
      return { result: null };
    }
    const batch = await feed.next();
    const { tokens_BT, targets_BT, documentStart_BT, sequence_B } = batch;
    const arrays = [tokens_BT, targets_BT, documentStart_BT, sequence_B, (batch as MixtureBatch).source_B];
    const transfer = arrays.flatMap((array) => (array ? [array.buffer as ArrayBuffer] : []));
    return { result: { batch, position: feed.state(), use: feed.use?.() ?? null }, transfer };
  };
}
