/** BitLinear (arXiv:2402.17764): int8 activations times ternary weights, an exact integer product (ops/bit-linear). */
import { activationEps, activationQuant } from "../../ops/activation-quant/index.ts";
import { bitLinear } from "../../ops/bit-linear/index.ts";
import { gatedNormQuant } from "../../ops/gated-norm-quant/index.ts";
import { normQuant } from "../../ops/norm-quant/index.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";
import type { LinearInput } from "./input.ts";
import type { LinearKind } from "./kind.ts";
import { isBitLinear } from "./layer.ts";

/** The input as int8 codes [..., K], and the scale and the sum of each row: norm and gate are fused with it. */
function codesOf(runtime: Runtime, input: LinearInput): Tensor[] {
  const { x, norm } = input;
  if (!norm) return runtime.applyAll(activationQuant, [input.floats(runtime)], { eps: activationEps });
  const { gain, eps } = norm;
  if ("gate" in x) return runtime.applyAll(gatedNormQuant, [x.gate, x.up, gain], { kind: x.kind, eps });
  return runtime.applyAll(normQuant, [x, gain], { eps });
}

export const ternary: LinearKind = {
  name: "ternary",
  takes: ({ spec, lambda, standIn }) => lambda === 1 && !standIn && isBitLinear(spec),
  apply(runtime, input, layers, residual) {
    const [codes, scale, sums] = codesOf(runtime, input);
    const quantized = layers.map((layer) => layer.quantized(runtime));
    return runtime.applyAll(
      bitLinear,
      [
        codes,
        scale,
        sums,
        ...layers.map((layer) => layer.gradientPlace(runtime)),
        ...quantized.map((weight) => weight.codes),
        ...quantized.map((weight) => weight.scale),
        ...(residual ? [residual] : []),
      ],
      { residual: residual !== undefined },
    );
  },
};
