/**
 * What the losses over rows of logits share: a row's softmax, the rows that count, their mean, and gradients through the
 * softmax. The slow definition, for the reference.ts of cross-entropy, z-loss and uniform-cross-entropy; the fast one is
 * native/softmax-rows.h.
 */

/** A row of this target is not counted. */
export const ignoredTarget = -100;

/** Writes max(x) and sum(e^(x - max(x))) of row m into stats [M, 2], which backward wants, and gives them back. */
export function softmaxRow(x: Float32Array, stats: Float32Array, m: number): { max: number; sum: number } {
  let max = Number.NEGATIVE_INFINITY;
  for (const value of x) max = Math.max(max, value);
  let sum = 0;
  for (const value of x) sum += Math.exp(value - max);
  stats[2 * m] = max;
  stats[2 * m + 1] = sum;
  return { max, sum };
}

export function countedRows(targets: Int32Array, rows: number): number {
  let counted = 0;
  for (let m = 0; m < rows; m++) if (targets[m] !== ignoredTarget) counted++;
  return counted;
}

/** Mean over the counted rows, summed in float64 in their order; NaN (0 / 0) where none is. */
export function meanOfCounted(rowLoss: Float32Array, targets: Int32Array, rows: number): number {
  let total = 0;
  for (let m = 0; m < rows; m++) if (targets[m] !== ignoredTarget) total += rowLoss[m];
  return total / countedRows(targets, rows);
}

/** Buffers of a row loss's forward: logits [M, V], targets [M]. */
export interface RowLossForward {
  logits: Float32Array;
  targets: Int32Array;
  /** [M, 2], overwritten with max(x) and sum(e^(x - max(x))). */
  stats: Float32Array;
  /** [M], overwritten, 0 where not counted. */
  rowLoss: Float32Array;
  /** [1], overwritten; summed in float64. */
  loss: Float32Array;
}

/** And of its backward; dlogits [M, V] is overwritten, or added to. */
export interface RowLossBackward {
  logits: Float32Array;
  targets: Int32Array;
  stats: Float32Array;
  dloss: Float32Array;
  dlogits: Float32Array;
}

/**
 * dlogits[m, v] = gradient(p[m, v]), p being the row's softmax; 0 in rows that are not counted.
 *
 * @param rowGradient of a row by its maximum and denominator: the function from p to the gradient
 */
export function softmaxGradient(
  a: RowLossBackward,
  { rows, classes, accumulate }: { rows: number; classes: number; accumulate: number },
  rowGradient: (max: number, sum: number) => (p: number) => number,
): void {
  for (let m = 0; m < rows; m++) {
    const counts = a.targets[m] !== ignoredTarget;
    const [max, sum] = [a.stats[2 * m], a.stats[2 * m + 1]];
    const gradientOf = rowGradient(max, sum);
    for (let v = 0; v < classes; v++) {
      const i = m * classes + v;
      const gradient = counts ? gradientOf(Math.exp(a.logits[i] - max) / sum) : 0;
      a.dlogits[i] = accumulate ? a.dlogits[i] + gradient : gradient;
    }
  }
}
