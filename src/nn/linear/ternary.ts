/**
 * Ternary weights times activation codes, an exact integer product (ops/bit-linear): BitLinear (arXiv:2402.17764) with int8
 * codes, and the same with codes of four bits.
 */
import { activationEps, activationQuant, int8Levels } from "../../ops/activation-quant/index.ts";
import { bitLinear } from "../../ops/bit-linear/index.ts";
import { gatedNormQuant } from "../../ops/gated-norm-quant/index.ts";
import { normQuant } from "../../ops/norm-quant/index.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";
import type { LinearInput } from "./input.ts";
import type { LinearKind } from "./kind.ts";
import { integerLevels, type LinearLayer } from "./layer.ts";

/** The input as codes [..., K], and the scale and the sum of each row: for int8, norm and gate are fused with it. */
function codesOf(runtime: Runtime, input: LinearInput, levels: number): Tensor[] {
  const { x, norm } = input;
  if (!norm || levels !== int8Levels)
    return runtime.applyAll(activationQuant, [input.floats(runtime)], { eps: activationEps, levels });
  const { gain, eps } = norm;
  if ("gate" in x) return runtime.applyAll(gatedNormQuant, [x.gate, x.up, gain], { kind: x.kind, eps });
  return runtime.applyAll(normQuant, [x, gain], { eps });
}

/** The products of layers that read the same codes. */
function products(runtime: Runtime, codes: Tensor[], layers: readonly LinearLayer[], residual?: Tensor): Tensor[] {
  const quantized = layers.map((layer) => layer.quantized(runtime));
  return runtime.applyAll(
    bitLinear,
    [
      ...codes,
      ...layers.map((layer) => layer.gradientPlace(runtime)),
      ...quantized.map((weight) => weight.codes),
      ...quantized.map((weight) => weight.scale),
      ...(residual ? [residual] : []),
    ],
    { residual: residual !== undefined },
  );
}

export const ternary: LinearKind = {
  name: "ternary",
  takes: ({ spec, lambda, standIn }) => lambda === 1 && !standIn && integerLevels(spec) !== null,
  apply(runtime, input, layers, residual) {
    const outputs = new Map<LinearLayer, Tensor>();
    // Layers of one input may round it to different codes.
    for (const levels of new Set(layers.map(({ spec }) => integerLevels(spec)!))) {
      const own = layers.filter(({ spec }) => integerLevels(spec) === levels);
      const made = products(runtime, codesOf(runtime, input, levels), own, residual);
      for (const [i, output] of made.entries()) outputs.set(own[i], output);
    }
    return layers.map((layer) => outputs.get(layer)!);
  },
};
