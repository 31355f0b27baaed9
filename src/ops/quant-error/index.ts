/**
 * How well ternary codes stand for their weights: contract, kernel, and the measures that its sums give. Not taped; the
 * definition of the sums is in reference.ts. Called by train/callbacks and analysis/.
 */
import { defineKernel, type NDArray } from "../../backends/backend.ts";
import { ShapeError } from "../../platform/errors.ts";
import { type OpContext, sizeOf } from "../op.ts";
import { quantErrorFields, quantErrorReference, type QuantErrorSums } from "./reference.ts";

export type { QuantErrorSums } from "./reference.ts";

/** Numbers in one slot. */
export const quantErrorPerSlot = quantErrorFields.length;

const kernel = defineKernel({
  name: "quant_error",
  // `previous`, `before` and `kept` may be null.
  buffers: { w: "f32", codes: "u8", scale: "f32", previous: "u8", before: "u8", kept: "f32", into: "f32" },
  params: ["n", "slot", "fresh"],
  sizes: { w: ["n"], codes: ["n"], previous: ["n"], before: ["n"], kept: ["n"] },
  reference: quantErrorReference,
});

export interface QuantErrorInputs {
  /** [N, K] float32 */
  w: NDArray;
  /** [N, K] uint8: t + 1 */
  codes: NDArray;
  /** [1] */
  scale: NDArray;
  /** Codes of an earlier pass, and of the pass before that. */
  previous?: NDArray | null;
  before?: NDArray | null;
  /** Weights of an earlier pass; w is written there. */
  kept?: NDArray | null;
}

/**
 * Writes the sums of one matrix to `into` at slot * quantErrorPerSlot: one `into` with a slot for each layer is read once.
 *
 * @param fresh whether nothing is in `kept` yet
 * @throws ShapeError for arrays of other sizes, or no such slot
 */
export function quantError(
  cx: Pick<OpContext, "backend">,
  { w, codes, scale, previous = null, before = null, kept = null }: QuantErrorInputs,
  { into, slot, fresh = false }: { into: NDArray; slot: number; fresh?: boolean },
): void {
  const n = sizeOf(w.shape);
  for (const [name, array] of Object.entries({ codes, previous, before, kept }))
    if (array && sizeOf(array.shape) !== n)
      throw new ShapeError(`quant-error: w is [${w.shape}], ${name} is [${array.shape}]; expected as many elements`);
  if (sizeOf(scale.shape) !== 1)
    throw new ShapeError(`quant-error: scale is [${scale.shape}]; expected one for the matrix, [1]`);
  const slots = Math.floor(sizeOf(into.shape) / quantErrorPerSlot);
  if (!(Number.isInteger(slot) && slot >= 0 && slot < slots))
    throw new ShapeError(`quant-error: slot is ${slot}, into is [${into.shape}]; expected a slot in 0..${slots - 1}`);
  cx.backend.launch(kernel, { w, codes, scale, previous, before, kept, into }, { n, slot, fresh: fresh ? 1 : 0 });
}

/** What the sums in a slot say, by name. */
export function quantErrorSums(read: ArrayLike<number>, slot: number): QuantErrorSums {
  return Object.fromEntries(
    quantErrorFields.map((field, i) => [field, read[slot * quantErrorPerSlot + i]]),
  ) as QuantErrorSums;
}

/** Error measures of one matrix; docs/analysis.md has the formulas. null: not defined, as for weights that are all 0. */
export interface QuantErrorMeasures {
  mse: number | null;
  sqnrDb: number | null;
  cosine: number | null;
  /** |w - q| / |w| */
  normalizedError: number | null;
  /** Cosine of what is left without the means. */
  pearson: number | null;
  minus: number;
  zero: number;
  plus: number;
  /** Of the trits, in bits: log2 3 = 1.585 at most. */
  entropyBits: number;
  deadZone: number;
  nearThreshold: number;
  saturated: number;
  /** Excess: 0 for a Gaussian. */
  kurtosis: number | null;
  /** max|w| / s */
  largest: number;
}

/** @param n weights; @param scale s */
export function quantErrorMeasures(sums: QuantErrorSums, n: number, scale: number): QuantErrorMeasures {
  const { sum, squares, cubes, fourths, errors, products, minus, plus } = sums;
  const nonzero = minus + plus;
  const mean = sum / n;
  const m2 = squares / n - mean ** 2;
  const m4 = (fourths - 4 * mean * cubes + 6 * mean ** 2 * squares) / n - 3 * mean ** 4;
  const meanTrit = (plus - minus) / n;
  const shares = [minus, sums.zero, plus].map((count) => count / n);
  return {
    mse: finite((errors / n) * scale ** 2),
    sqnrDb: finite(10 * Math.log10(squares / errors)),
    cosine: finite(products / Math.sqrt(squares * nonzero)),
    normalizedError: finite(Math.sqrt(errors / squares)),
    pearson: finite((products / n - mean * meanTrit) / Math.sqrt(m2 * (nonzero / n - meanTrit ** 2))),
    minus: shares[0],
    zero: shares[1],
    plus: shares[2],
    entropyBits: shares.reduce((bits, p) => (p > 0 ? bits - p * Math.log2(p) : bits), 0),
    deadZone: sums.dead / n,
    nearThreshold: sums.near / n,
    saturated: sums.saturated / n,
    kurtosis: finite(m4 / m2 ** 2 - 3),
    largest: sums.largest,
  };
}

const finite = (x: number): number | null => (Number.isFinite(x) ? x : null);
