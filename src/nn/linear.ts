/**
 * The linear layers of a block: BitLinear (ternary weights, int8 activations; arXiv:2402.17764) and plain Linear, its
 * full-precision twin. Neither has a bias. Layers that read one input (q, k, v; gate, up) are applied together, so that
 * BitLinear quantises the input once.
 */
import { activationEps, activationQuant } from "../ops/activation-quant/index.ts";
import { add } from "../ops/add/index.ts";
import { bitLinear } from "../ops/bit-linear/index.ts";
import { matmul } from "../ops/matmul/index.ts";
import { rampActivations, rampWeights } from "../ops/quant-ramp/index.ts";
import { type WeightQuantParams, weightQuant } from "../ops/weight-quant/index.ts";
import type { Parameter, Runtime, Tensor } from "../tensor/index.ts";
import type { ParameterFactory } from "./layer.ts";

/**
 * How far quantisation is let in, one for all layers of a model: lambda 1, BitLinear as it is; below, layers multiply
 * x + lambda (quant(x) - x), of activations and of weights, in floats (ops/quant-ramp). Training moves it.
 */
export interface QuantRamp {
  lambda: number;
}

export interface LinearConfig {
  /** true: BitLinear; false: float weights. */
  ternary: boolean;
  /** Shared with the model's other layers. */
  ramp: QuantRamp;
  /** How the weights' scale is made, and its epsilon. */
  weightQuant: WeightQuantParams;
  /** Quantise the weights again after this many updates; 1: in every step, as the paper does. */
  requantizeEvery: number;
  /** Standard deviation of the initial weights. */
  initStd: number;
}

/** Weights as they multiply: codes u8 [N, K] (q + 1) and their scale [1]. */
export interface QuantizedWeight {
  readonly codes: Tensor;
  readonly scale: Tensor;
}

export class LinearLayer {
  readonly weight: Parameter;
  private quantizedWeight: QuantizedWeight | null = null;
  private quantizedVersion = 0;

  /** y [..., N] = x [..., K] · Wᵀ, with W [N, K]. */
  constructor(
    factory: ParameterFactory,
    name: string,
    inputs: number,
    outputs: number,
    readonly config: LinearConfig,
  ) {
    this.weight = factory.create(`${name}.weight`, config.ternary ? "ternary" : "linear", [outputs, inputs], {
      std: config.initStd,
    });
  }

  /** The ternary weights that belong to the weights as they are now; kept until the weights change. */
  quantized(runtime: Runtime): QuantizedWeight {
    const { version } = this.weight;
    if (this.quantizedWeight && version - this.quantizedVersion < this.config.requantizeEvery)
      return this.quantizedWeight;
    this.forgetQuantized();
    const [codes, scale] = runtime.detached(weightQuant, [this.weight.tensor], this.config.weightQuant);
    this.quantizedWeight = { codes, scale };
    this.quantizedVersion = version;
    return this.quantizedWeight;
  }

  /** Whether its input comes as int8 codes: ternary, and quantisation let in whole. */
  get readsCodes(): boolean {
    return this.config.ternary && this.config.ramp.lambda === 1;
  }

  /** The weights of a float product: as they are, or on their way to ternary ones. */
  floatWeight(runtime: Runtime): Tensor {
    const { ternary, ramp } = this.config;
    if (!ternary) return this.weight.tensor;
    const { codes, scale } = this.quantized(runtime);
    return runtime.apply(rampWeights, [this.weight.tensor, codes, scale], { lambda: ramp.lambda });
  }

  /** Drops the quantised weights: they are made again from the weights when next needed. */
  forgetQuantized(): void {
    this.quantizedWeight?.codes.dispose();
    this.quantizedWeight?.scale.dispose();
    this.quantizedWeight = null;
  }
}

/** What BitLinear layers read: int8 codes [..., K], and the scale and the sum of each row. */
export interface QuantizedInput {
  readonly codes: Tensor;
  readonly scale: Tensor;
  readonly sums: Tensor;
}

/** x as a layer reads it where no norm stands in front: x, on its way to int8, or its int8 codes. */
export function linearInput(runtime: Runtime, x: Tensor, layer: LinearLayer): Tensor | QuantizedInput {
  const { ternary, ramp } = layer.config;
  if (!ternary) return x;
  if (!layer.readsCodes) return runtime.apply(rampActivations, [x], { lambda: ramp.lambda });
  const [codes, scale, sums] = runtime.applyAll(activationQuant, [x], { eps: activationEps });
  return { codes, scale, sums };
}

/**
 * Applies layers of one kind to one input, which comes as they read it (`linearInput`, RmsNorm); outputs in the layers'
 * order. To the output of a single layer a residual may be added.
 */
export function applyLinear(
  runtime: Runtime,
  x: Tensor | QuantizedInput,
  layers: readonly LinearLayer[],
  residual?: Tensor,
): Tensor[] {
  if (!("codes" in x)) {
    const outputs = layers.map((layer) => runtime.apply(matmul, [x, layer.floatWeight(runtime)], {}));
    return residual ? [runtime.apply(add, [residual, outputs[0]], {})] : outputs;
  }
  const quantized = layers.map((layer) => layer.quantized(runtime));
  return runtime.applyAll(
    bitLinear,
    [
      x.codes,
      x.scale,
      x.sums,
      ...layers.map((layer) => layer.weight.tensor),
      ...quantized.map((q) => q.codes),
      ...quantized.map((q) => q.scale),
      ...(residual ? [residual] : []),
    ],
    { residual: residual !== undefined },
  );
}
