/**
 * Quantization simulated in floats: a float product of x + lambda · (Qx(x) - x) and W + lambda · (Qw(W) - W), with
 * straight-through gradients. It is how a layer is quantized by degrees (lambda below 1; "Fine-tuning LLMs to 1.58bit",
 * Hugging Face 2024), and how layers compute whose quantizers have no integer product (mixed precision).
 */
import { rampValues, rampWeights } from "../../ops/quant-ramp/index.ts";
import { straightThrough } from "../../ops/straight-through/index.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";
import { floatProducts } from "./float.ts";
import type { LinearKind } from "./kind.ts";
import type { LinearLayer } from "./layer.ts";

function weightOf(runtime: Runtime, layer: LinearLayer): Tensor {
  const { lambda, standIn } = layer;
  if (standIn) return standIn.weights(runtime, layer);
  const quantized = layer.quantizedWeight(runtime);
  if (!quantized) return layer.weight.tensor;
  const place = layer.gradientPlace(runtime);
  if ("codes" in quantized) return runtime.apply(rampWeights, [place, quantized.codes, quantized.scale], { lambda });
  if (lambda === 1) return runtime.apply(straightThrough, [place, quantized.values], {});
  return runtime.apply(rampValues, [place, quantized.values], { lambda });
}

export const simulated: LinearKind = {
  name: "simulated",
  takes: () => true,
  apply(runtime, input, layers, residual) {
    // Layers of one input may round it differently, or by different degrees.
    const inputs = new Map<string, Tensor>();
    const inputOf = ({ spec: { activations }, lambda, inputLearned }: LinearLayer): Tensor => {
      if (!activations) return input.floats(runtime);
      if (inputLearned.length > 0) {
        const learned = inputLearned.map(({ parameter }) => parameter.tensor);
        return runtime.apply(activations.op, [input.floats(runtime), ...learned], { lambda });
      }
      const key = `${activations.name} ${JSON.stringify(activations.settings)} ${lambda}`;
      const x = inputs.get(key) ?? runtime.apply(activations.op, [input.floats(runtime)], { lambda });
      inputs.set(key, x);
      return x;
    };
    return layers.map((layer) => floatProducts(runtime, inputOf(layer), [weightOf(runtime, layer)], residual)[0]);
  },
};
