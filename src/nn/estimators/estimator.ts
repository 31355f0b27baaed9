/**
 * What an estimator is: the backward rule of the quantizer of ternary weights, which has no gradient of its own. Products
 * give the gradient at the quantized weights; the estimator makes of it the latent weights' gradient.
 *
 * A new estimator is one file here and one line in index.ts. Called by ../linear/layer.ts.
 */
import type { z } from "zod";
import type { Op } from "../../ops/op.ts";

export interface Estimator<Settings = unknown> {
  /** As in the config: `model.quantization.estimator`. */
  readonly name: string;
  /** Settings that a config may give beside the name, with their defaults; absent: it has none. */
  readonly schema?: z.ZodType<Settings>;
  /**
   * inputs: w [N, K], its codes u8 [N, K] and their scale [1]; output: w itself, an alias. Its backward turns the gradient
   * at the quantized weights into w's. Beside the settings its params have `progress`, the share of the run that is done, 0
   * to 1, for estimators that change during it. null: the gradient is passed on as it is, without an op.
   */
  readonly op: Op<Settings & { progress: number }> | null;
}
