/**
 * What an op is: shapes checked, outputs made, kernels launched, and the gradient rule. Ops are coarse and fused on
 * purpose: a short tape, and few passes over memory. An op knows arrays (`NDArray`), never tensors, tapes or layers;
 * tensor/ records ops and calls `backward` in reverse.
 */
import type { Backend, DType, NDArray } from "../backends/backend.ts";

/**
 * How the matrix products of training are computed: float32; bfloat16 operands with float32 sums; or, under int8, BitLinear's
 * gradients from int8 codes (ops/bit-linear/int8.ts) and the rest in bfloat16 where the backend has it, in float32 where it
 * has not. BitLinear's forward is exact under all of them.
 */
export type Precision = "fp32" | "bf16" | "int8";

export interface OpContext {
  readonly backend: Backend;
  /** Precision of the gradients' products; resolved once from the run's `precision: auto | fp32 | bf16 | int8`. */
  readonly precision: Precision;
  /**
   * Makes an uninitialised array. It is given back when the op ends, unless it is returned as an output or as saved:
   * scratch needs no care.
   */
  create(shape: readonly number[], dtype: DType): NDArray;
}

/** Where to put the gradient of one input: overwrite it, or add to what is there. */
export interface GradTarget {
  readonly array: NDArray;
  /** 1: add to the array; 0: the array is uninitialised, overwrite it. A kernel takes it as a parameter. */
  readonly accumulate: 0 | 1;
}

export interface BackwardContext extends OpContext {
  /**
   * Where input i's gradient goes (float32, the input's shape), or null where none is wanted. Ask at most once for each
   * input, and fill what you asked for before asking for the next, since two inputs may be one tensor.
   */
  gradient(i: number): GradTarget | null;
  /**
   * Says that input i's gradient is this very array (an output's gradient, unchanged: add, reshape), without a copy.
   * The array has as many elements as the input.
   */
  pass(i: number, gradient: NDArray): void;
  /**
   * Whether this op is the last to hold a saved array: only then may backward write over it. Another op that saved the
   * same array, or a caller that kept it, may read it later.
   */
  exclusive(saved: NDArray): boolean;
}

export interface ForwardResult {
  /**
   * Arrays made by `create`, or an input itself: its memory unchanged, with a gradient of its own, for an op whose forward
   * is the identity and whose backward is not (a straight-through estimator).
   */
  outputs: NDArray[];
  /** What backward needs: inputs, outputs or arrays made by `create`; kept only if a gradient will be taken. Never written. */
  saved: NDArray[];
}

export interface Op<Params = Record<string, never>> {
  readonly name: string;
  /** Checks shapes and dtypes (ShapeError), makes outputs, launches kernels. */
  forward(cx: OpContext, inputs: readonly NDArray[], params: Params): ForwardResult;
  /**
   * Fills the inputs' gradients. `outputGradients[i]` is null where output i got none.
   * Absent where an op has no gradient (quantisers: the straight-through rule is in bit-linear).
   */
  backward?(
    cx: BackwardContext,
    saved: readonly NDArray[],
    outputGradients: readonly (NDArray | null)[],
    params: Params,
  ): void;
}

/** The number of elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}
