/** Mean loss of a model over validation batches: what the trainer watches. The full evaluation is in eval/. */
import type { SequentialBatches } from "../data/index.ts";
import { nextTurn } from "../platform/turn.ts";
import type { Runtime } from "../tensor/index.ts";
import { summarizeTargets } from "./targets.ts";
import type { ModelBatch, TrainableModel } from "./trainable-model.ts";

export interface ValidationData {
  readonly batch: number;
  readonly sequence: number;
  /** The same each time. */
  readonly batches: SequentialBatches;
  /** UTF-8 bytes of the text behind the targets; null where they are not known. */
  readonly textBytes: number | null;
}

export interface ValidationResult {
  /** Nats per token. */
  loss: number;
  /** Targets counted. */
  tokens: number;
  /** nats of all targets / (ln 2 · bytes); null where the bytes are not known. */
  bitsPerByte: number | null;
}

/** Forward only; changes nothing. */
export async function measureLoss(
  runtime: Runtime,
  model: TrainableModel,
  data: ValidationData,
): Promise<ValidationResult> {
  let nats = 0;
  let tokens = 0;
  for (const { tokens_BT, targets_BT, documentStart_BT } of data.batches) {
    const { count } = summarizeTargets(targets_BT);
    if (count === 0) continue;
    const batch = { tokens: tokens_BT, batch: data.batch, length: data.sequence, documentStart: documentStart_BT };
    nats += (await meanLoss(runtime, model, batch, targets_BT)) * count;
    tokens += count;
    await nextTurn();
  }
  const bitsPerByte = data.textBytes ? nats / (Math.LN2 * data.textBytes) : null;
  return { loss: nats / tokens, tokens, bitsPerByte };
}

/** Nats per counted target of one batch. */
async function meanLoss(
  runtime: Runtime,
  model: TrainableModel,
  batch: ModelBatch,
  targets: Int32Array,
): Promise<number> {
  const loss = runtime.scope(() => model.loss(batch, targets).loss);
  try {
    return (await runtime.readFloats(loss))[0];
  } finally {
    loss.dispose();
  }
}
