/**
 * A linear layer of a block, y [..., N] = x [..., K] · Wᵀ with W [N, K] and no bias: its weight, its quantizers, and the
 * quantized weight that belongs to the weights as they are now. How it multiplies is its kind's (kind.ts).
 */
import { int4Levels, int8Levels } from "../../ops/activation-quant/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Parameter, Runtime, Tensor } from "../../tensor/index.ts";
import type { Estimator } from "../estimators/index.ts";
import type { ParameterFactory } from "../layer.ts";
import type {
  ActivationQuantizer,
  LearnedParameter,
  ModelScale,
  QuantizedWeight,
  TernaryWeight,
  WeightQuantizer,
} from "../quantizers/index.ts";

/** A linear layer as data; model/plan.ts makes one for each layer of a config. */
export interface LinearSpec {
  /** As in a Hugging Face checkpoint, e.g. `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  /** K */
  readonly inputs: number;
  /** N */
  readonly outputs: number;
  /** null: float weights. */
  readonly weights: { readonly quantizer: WeightQuantizer; readonly settings: unknown } | null;
  /** null: the input is read in float32. */
  readonly activations: ActivationQuantizer | null;
  /** The backward rule of ternary weights. */
  readonly estimator: { readonly estimator: Estimator; readonly settings: unknown };
  /** The scale rule of absmean. */
  readonly scale: ModelScale;
  /** Quantize the weights again after this many updates; 1: in every step, as the paper does. */
  readonly requantizeEvery: number;
  /** Standard deviation of the initial weights. */
  readonly initStd: number;
}

/** Whether a layer's weights are -1, 0 and 1 with one scale. */
export const hasTernaryWeights = ({ weights }: Pick<LinearSpec, "weights">): boolean =>
  weights?.quantizer.form === "ternary";

/** Whether a layer is BitLinear as b1.58 has it: ternary weights times int8 activations, an exact integer product. */
export const isBitLinear = (spec: Pick<LinearSpec, "weights" | "activations">): boolean =>
  hasTernaryWeights(spec) && spec.activations?.codes === "int8";

/** The largest code of a layer's input where its product is of integers: ternary weights times codes; null: of floats. */
export function integerLevels(spec: Pick<LinearSpec, "weights" | "activations">): number | null {
  const codes = spec.activations?.codes;
  return codes && hasTernaryWeights(spec) ? (codes === "int4" ? int4Levels : int8Levels) : null;
}

/** A learned parameter of a quantizer, and what it is. */
export interface Learned {
  readonly parameter: Parameter;
  readonly is: LearnedParameter;
}

/** What a layer's quantizers learn, by their names. */
export function learnedOf(spec: Pick<LinearSpec, "weights" | "activations" | "outputs" | "inputs">): {
  weights: readonly LearnedParameter[];
  activations: readonly LearnedParameter[];
} {
  const { weights, activations } = spec;
  return {
    weights: weights?.quantizer.parameters?.(weights.settings, spec) ?? [],
    activations: activations?.parameters?.(spec) ?? [],
  };
}

/** How a layer is quantized for a step of training (progressive quantization). */
export interface LayerQuantization {
  /** As `LinearLayer.lambda`. */
  readonly lambda: number;
  /** Stands for the quantizer of ternary weights; absent: the quantizer itself. Other layers are without one. */
  readonly standIn?: WeightStandIn;
}

/** What a layer with ternary weights multiplies by instead, such as a soft form of them. */
export interface WeightStandIn {
  /** The weights [N, K] at the layer's lambda, with a gradient to its float weights. */
  weights(runtime: Runtime, layer: LinearLayer): Tensor;
}

export class LinearLayer {
  readonly weight: Parameter;
  /** What its weights' quantizer learns. */
  readonly learned: readonly Learned[];
  /** What its input's quantizer learns. */
  readonly inputLearned: readonly Learned[];
  /**
   * How far the layer is quantized: 1, wholly; below, it multiplies x + lambda · (Q(x) - x), of its input and its weights
   * (progressive quantization). Training moves it; what is measured, written and saved is the layer at 1.
   */
  lambda = 1;
  /** The share of the run that is done, 0 to 1, for estimators that change during it: training sets it for a step. */
  progress = 1;
  /** What stands for the weights' quantizer in a step of training; null: nothing does. */
  standIn: WeightStandIn | null = null;
  private kept: QuantizedWeight | null = null;
  private keptVersions: readonly number[] = [];

  constructor(
    factory: ParameterFactory,
    readonly spec: LinearSpec,
  ) {
    const { name, inputs, outputs, initStd } = spec;
    const role = hasTernaryWeights(spec) ? "ternary" : "linear";
    this.weight = factory.create(`${name}.weight`, role, [outputs, inputs], { std: initStd });
    const make = (is: LearnedParameter): Learned => ({
      is,
      parameter: factory.createFrom(this.weight, `${name}.${is.name}`, "quantizer", is.shape, (w) => is.initial(w)),
    });
    const { weights, activations } = learnedOf(spec);
    this.learned = weights.map(make);
    this.inputLearned = activations.map(make);
  }

  get name(): string {
    return this.spec.name;
  }

  /**
   * Sets how the layer is quantized; null: wholly.
   *
   * @throws UsageError for a stand-in where the quantizer learns: its parameters would have no gradient
   */
  setQuantization(quantization: LayerQuantization | null): void {
    if (quantization?.standIn && hasTernaryWeights(this.spec) && this.learned.length > 0)
      throw new UsageError(
        `${this.name}: its weight quantizer "${this.spec.weights!.quantizer.name}" learns parameters, which weights of another form give no gradient; quantize it progressively by a ramp such as linear, or choose a quantizer without parameters`,
      );
    this.lambda = quantization?.lambda ?? 1;
    this.standIn = (hasTernaryWeights(this.spec) && quantization?.standIn) || null;
  }

  /** The quantized weights that belong to the weights as they are now, kept until those change; null: it has no quantizer. */
  quantizedWeight(runtime: Runtime): QuantizedWeight | null {
    const { weights, requantizeEvery, scale } = this.spec;
    if (!weights) return null;
    const learned = this.learned.map(({ parameter }) => parameter);
    const versions = [this.weight, ...learned].map(({ version }) => version);
    if (this.kept && versions.every((version, i) => version - this.keptVersions[i] < requantizeEvery)) return this.kept;
    this.forgetQuantized();
    const tensors = learned.map(({ tensor }) => tensor);
    this.kept = weights.quantizer.quantize(runtime, this.weight.tensor, weights.settings, scale, tensors);
    this.keptVersions = versions;
    return this.kept;
  }

  /** The codes and the scale of a layer with ternary weights. */
  quantized(runtime: Runtime): TernaryWeight {
    const weight = this.quantizedWeight(runtime);
    if (!weight || !("codes" in weight)) throw new Error(`${this.name}: has no ternary weights`);
    return weight;
  }

  /**
   * Where the gradient at the quantized weights goes: the weights, behind their estimator and, where the quantizer has a rule
   * of its own, behind that, which gives its learned parameters theirs.
   */
  gradientPlace(runtime: Runtime): Tensor {
    const { estimator, settings } = this.spec.estimator;
    const { weights } = this.spec;
    let place = this.weight.tensor;
    if (estimator.op) {
      const { codes, scale } = this.quantized(runtime);
      const own = { ...(settings as object), progress: this.progress };
      place = runtime.apply(estimator.op, [place, codes, scale], own);
    }
    if (!weights?.quantizer.gradient) return place;
    const quantized = this.quantizedWeight(runtime)!;
    const made = "codes" in quantized ? [quantized.codes, quantized.scale] : [quantized.values];
    const learned = this.learned.map(({ parameter }) => parameter.tensor);
    const own = { ...(weights.settings as object), lambda: this.lambda };
    return runtime.apply(weights.quantizer.gradient, [place, ...made, ...learned], own);
  }

  /**
   * Gives learned parameters the values that they begin with, by the weights as they are now.
   *
   * @param which by name; default: all
   */
  async initializeLearned(runtime: Runtime, which: (name: string) => boolean = () => true): Promise<void> {
    const chosen = [...this.learned, ...this.inputLearned].filter(({ parameter }) => which(parameter.name));
    if (chosen.length === 0) return;
    const weights = await runtime.readFloats(this.weight.tensor);
    for (const { parameter, is } of chosen) {
      runtime.backend.upload(parameter.tensor.buffer, is.initial(weights));
      parameter.changed();
    }
    this.forgetQuantized();
  }

  /** Drops the quantized weights: they are made again from the weights when next needed. */
  forgetQuantized(): void {
    for (const tensor of Object.values(this.kept ?? {}) as Tensor[]) tensor.dispose();
    this.kept = null;
  }
}
