/** The loss of each target of one batch, read back and checked: what every evaluation here is summed from. */
import type { TokenBatch, Transformer } from "../model/index.ts";
import { DataError } from "../platform/errors.ts";
import { nextTurn } from "../platform/turn.ts";

/** What evaluations need of a model. */
export type ScoringModel = Pick<Transformer, "config" | "runtime" | "loss">;

/** Targets with this value are not scored (cross-entropy's convention). */
export const unscored = -100;

export interface Progress {
  /** Targets scored so far. */
  tokens: number;
  /** All there will be; undefined where it is not known. */
  totalTokens: number | undefined;
}

/**
 * -ln p of each target in nats, [B · T]; 0 where the target is -100. Everything it makes on the device is freed.
 *
 * @param targets [B, T]
 * @throws DataError where a loss is not finite
 */
export async function scoreBatch(model: ScoringModel, batch: TokenBatch, targets: Int32Array): Promise<Float32Array> {
  const { runtime } = model;
  await nextTurn();
  const tokenLoss = runtime.scope(() => model.loss(batch, targets).tokenLoss);
  let losses: Float32Array;
  try {
    losses = await runtime.readFloats(tokenLoss);
  } finally {
    tokenLoss.dispose();
  }
  for (let i = 0; i < losses.length; i++)
    if (!Number.isFinite(losses[i]))
      throw new DataError(
        `the loss of token ${targets[i]} (place ${i % batch.length} of its sequence) is ${losses[i]}; the model's weights are damaged or its training diverged, use an earlier checkpoint`,
      );
  return losses;
}
