/**
 * What a quantizer is: the forward rule of a layer's weights or of its input. The backward rule of weights is an estimator
 * (../estimators/); how a layer multiplies with what a quantizer makes is a kind of layer (../linear/).
 *
 * A new quantizer is one file here and one line in index.ts. Called by ../linear/ and model/plan.ts.
 */
import type { z } from "zod";
import type { Op } from "../../ops/op.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";

/** Ternary weights: codes u8 [N, K] (q + 1, so 0, 1 or 2) and their scale [1], so that w ≈ scale · q. */
export interface TernaryWeight {
  readonly codes: Tensor;
  readonly scale: Tensor;
}

/** Weights of any other grid, as the float32 numbers [N, K] that they stand for. */
export interface WeightValues {
  readonly values: Tensor;
}

export type QuantizedWeight = TernaryWeight | WeightValues;

/** A matrix's size, [N, K]. */
export interface MatrixShape {
  readonly outputs: number;
  readonly inputs: number;
}

/**
 * A parameter that a quantizer learns beside the weights, such as a scale. It is one of the model's parameters, of role
 * "quantizer": trained without weight decay, saved, frozen by pattern, counted.
 */
export interface LearnedParameter {
  /** Behind the layer's name: `weight_scale` is `model.layers.0.self_attn.q_proj.weight_scale`. */
  readonly name: string;
  readonly shape: readonly number[];
  /**
   * Its values for a layer that begins with these weights [N, K]: drawn ones, or those of a model that a run starts from and
   * that has no such parameter. As many as the shape says.
   */
  initial(weights: Float32Array): Float32Array;
}

interface WeightQuantizerBase<Settings> {
  /** As in the config: `model.quantization.weights`. */
  readonly name: string;
  /** Settings that a config may give beside the name, with their defaults; absent: it has none. */
  readonly schema?: z.ZodType<Settings>;
  /** Why a matrix [N, K] cannot be quantized this way, and what to do; null if it can. */
  refuses?(shape: MatrixShape): string | null;
  /** What it learns, in the order in which `quantize` and `gradient` get it; absent: nothing. */
  parameters?(settings: Settings, shape: MatrixShape): readonly LearnedParameter[];
  /**
   * The gradient rule of a quantizer that has one of its own, behind that of the estimator; required where it learns parameters.
   *
   * inputs: w [N, K], what `quantize` made of it (codes and scale, or values), then the learned parameters; output: w itself, an
   * alias. Its backward gets the gradient at the quantized weights, and gives w's and that of each learned parameter. Below
   * lambda 1 the layer multiplies w + lambda · (Q(w) - w).
   */
  readonly gradient?: Op<Settings & { lambda: number }>;
}

/** The scale rule of absmean and its epsilon, which belong to the model as a whole (`model.weightScale`, `model.weightEps`). */
export interface ModelScale {
  readonly rule: "add" | "clamp";
  readonly eps: number;
}

/** A quantizer to -1, 0 and 1 with one scale for the matrix: exact integer products, and every ternary format. */
export interface TernaryQuantizer<Settings = unknown> extends WeightQuantizerBase<Settings> {
  readonly form: "ternary";
  /**
   * Whether codes and scale are absmean's, by the model's scale rule. Formats that quantize again when they are read (Hugging
   * Face, compact) hold such layers alone; others they refuse by name. GGUF and ONNX hold the codes and scale of any.
   */
  readonly isAbsmean?: boolean;
  /**
   * @param w       [N, K] float32, not changed. The result is the caller's to dispose of; no gradient
   * @param learned its parameters, as they are now
   */
  quantize(
    runtime: Runtime,
    w: Tensor,
    settings: Settings,
    model: ModelScale,
    learned: readonly Tensor[],
  ): TernaryWeight;
}

/** A quantizer to any other grid: float products with the values that its codes stand for. */
export interface ValueQuantizer<Settings = unknown> extends WeightQuantizerBase<Settings> {
  readonly form: "values";
  /**
   * The type of GGUF that holds the values exactly, where there is one. Files hold the values, which are quantized again when
   * read: quantizing them must give the same values.
   */
  readonly ggufType?: "Q8_0" | "Q4_0" | "F16" | "BF16" | "F32";
  /** As a ternary quantizer's. */
  quantize(
    runtime: Runtime,
    w: Tensor,
    settings: Settings,
    model: ModelScale,
    learned: readonly Tensor[],
  ): WeightValues;
}

// biome-ignore lint/suspicious/noExplicitAny: a list holds quantizers of all settings; the schema checks them.
export type WeightQuantizer = TernaryQuantizer<any> | ValueQuantizer<any>;

/** The quantizer of a layer's input, with a straight-through gradient. */
export interface ActivationQuantizer {
  /** As in the config: `model.quantization.activations`. */
  readonly name: string;
  /**
   * int8, int4: rows of codes (in int8) with one scale each, which the integer product of ternary layers reads; null: floats
   * only.
   */
  readonly codes: "int8" | "int4" | null;
  /** Settings that a config gives beside the name; absent: it has none. */
  readonly schema?: z.ZodType;
  /** The same with settings that the schema has parsed; there where there is a schema. */
  configure?(settings: unknown): ActivationQuantizer;
  /** Those that it was configured with. A format that keeps a quantizer by its name alone cannot hold them. */
  readonly settings?: unknown;
  /**
   * Whether the kernels of its op have a C++ side, so that the packed engine can record them. Absent: no; models with it run
   * on the float engine.
   */
  readonly packed?: boolean;
  /** What it learns for a layer, in the order in which its op gets it; absent: nothing. */
  parameters?(shape: MatrixShape): readonly LearnedParameter[];
  /**
   * inputs: x [..., K], then the learned parameters; output: x + lambda · (Q(x) - x) in float32, at lambda 1 exactly Q(x).
   */
  readonly op: Op<{ lambda: number }>;
}
