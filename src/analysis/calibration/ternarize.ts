/**
 * A full-precision model made ternary without training (post-training), and the scale of each ternary matrix that fits its
 * float weights best:
 *
 *   s = sum w t / sum t²      the least sum (w - s t)² for the trits t that the quantizer chose
 */
import { matrixOf } from "../../exchange/matrix.ts";
import {
  checkLatent,
  type ModelConfig,
  requantize,
  shortName,
  type Transformer,
  withQuantization,
} from "../../model/index.ts";
import { weightQuantizers } from "../../nn/index.ts";
import { UsageError } from "../../platform/errors.ts";
import { masterWeightsOf } from "../../quant/ternary.ts";

/**
 * The model with every layer's weights ternary and its inputs absmax8, as they are, without sub-norms; layers that its config
 * overrides keep what it says. The caller's to dispose of.
 *
 * @param weights a ternary quantizer
 * @throws UsageError where the model is ternary already, or the quantizer is none
 */
export async function ternarize(model: Transformer, weights: string): Promise<Transformer> {
  if (weightQuantizers.get(weights).form !== "ternary")
    throw new UsageError(
      `"${weights}" is no ternary quantizer; those are: ${weightQuantizers.names.filter((name) => weightQuantizers.get(name).form === "ternary").join(", ")}`,
    );
  if (model.plan.anyTernary)
    throw new UsageError("the model is ternary already; post-training ternarization is for full-precision models");
  const { quantization, ...config } = model.config;
  const overrides = quantization?.overrides;
  const chosen = { ...(weights === "absmean" ? {} : { weights }), ...(overrides ? { overrides } : {}) };
  const made: ModelConfig = { ...config, variant: "bitnet", subNorms: false };
  return requantize(model, Object.keys(chosen).length > 0 ? { ...made, quantization: chosen } : made);
}

export interface MatrixScale {
  /** Full name. */
  layer: string;
  /** As the model multiplies. */
  scale: number;
  leastSquares: number;
  /** Signal to noise of the weights with each, 10 log10(sum w² / sum (w - s t)²); null where nothing is lost. */
  sqnrDb: number | null;
  leastSquaresSqnrDb: number | null;
}

/** @throws UnsupportedError for a layer whose float weights are not there */
export async function leastSquaresScales(model: Transformer): Promise<MatrixScale[]> {
  const scales: MatrixScale[] = [];
  for (const layer of model.ternaryLayers) {
    await checkLatent(layer, model);
    const weights = await model.runtime.readFloats(layer.weight.tensor);
    const matrix = await matrixOf(model, layer.weight);
    if (matrix instanceof Float32Array) continue;
    const { codes, scale } = matrix;
    let [wt, tt, ww] = [0, 0, 0];
    for (const [i, w] of weights.entries()) {
      const t = codes[i] - 1;
      wt += w * t;
      tt += t * t;
      ww += w * w;
    }
    const leastSquares = tt > 0 ? Math.fround(wt / tt) : scale;
    const sqnr = (s: number) => {
      const noise = ww - 2 * s * wt + s * s * tt;
      return noise > 1e-12 * ww ? 10 * Math.log10(ww / noise) : null;
    };
    scales.push({
      layer: layer.name,
      scale,
      leastSquares,
      sqnrDb: sqnr(scale),
      leastSquaresSqnrDb: sqnr(leastSquares),
    });
  }
  return scales;
}

/**
 * The model with these scales and its trits: absmean makes them again from its weights, by the rule s = max(mean|W|, eps).
 * Its float weights are no longer those that it came from. The caller's to dispose of.
 */
export async function withScales(model: Transformer, scales: readonly MatrixScale[]): Promise<Transformer> {
  const others = model.ternaryLayers.filter(({ spec }) => {
    const quantizer = spec.weights!.quantizer;
    return !(quantizer.form === "ternary" && quantizer.isAbsmean);
  });
  const overrides = others.map(({ name }) => ({ layers: shortName(name), weights: "absmean", estimator: "auto" }));
  const config = overrides.length > 0 ? withQuantization(model.config, { overrides }) : model.config;
  const made = await requantize(model, { ...config, weightScale: "clamp", weightEps: 1e-5 });
  try {
    for (const { layer: name, leastSquares } of scales) {
      const layer = made.byWeight.get(`${name}.weight`)!;
      const matrix = await matrixOf(model, model.byWeight.get(layer.weight.name)!.weight);
      if (matrix instanceof Float32Array) continue;
      made.runtime.backend.upload(
        layer.weight.tensor.buffer,
        masterWeightsOf({ codes: matrix.codes, scale: Math.max(leastSquares, 1e-5) }),
      );
      layer.weight.changed();
    }
    return made;
  } catch (error) {
    made.dispose();
    throw error;
  }
}
