/**
 * Mean square difference over the positions that count, the slow definition, forward and backward. kernel.cc must agree with it
 * on cases.ts:
 *
 *   loss = 1 / (N C) · sum over counted rows m and c of (x[m, c] - y[m, c])²;   dx = 2 (x - y) dloss / (N C)
 *
 * N is the number of rows whose target is not -100, so the loss is per token. NaN (0 / 0) where none counts.
 */
const ignored = -100;
const countOf = (targets: Int32Array) => targets.reduce((n, target) => n + (target === ignored ? 0 : 1), 0);

/** @param a.rowLoss [M], overwritten: the row's sum; @param a.loss [1], overwritten; summed in float64 */
export function maskedMseForward(
  a: Record<"x" | "y" | "rowLoss" | "loss", Float32Array> & { targets: Int32Array },
  rows: number,
  width: number,
): void {
  let total = 0;
  for (let m = 0; m < rows; m++) {
    let sum = 0;
    for (let i = m * width; i < (m + 1) * width; i++) sum += (a.x[i] - a.y[i]) ** 2;
    const counts = a.targets[m] !== ignored;
    a.rowLoss[m] = counts ? sum : 0;
    if (counts) total += a.rowLoss[m];
  }
  a.loss[0] = total / (countOf(a.targets) * width);
}

/** @param a.dx [M, C], overwritten, or added to with `accumulate` */
export function maskedMseBackward(
  a: Record<"x" | "y" | "dloss" | "dx", Float32Array> & { targets: Int32Array },
  rows: number,
  width: number,
  accumulate: number,
): void {
  const weight = (2 * a.dloss[0]) / (countOf(a.targets) * width);
  for (let m = 0; m < rows; m++)
    for (let i = m * width; i < (m + 1) * width; i++) {
      const gradient = a.targets[m] === ignored ? 0 : (a.x[i] - a.y[i]) * weight;
      a.dx[i] = accumulate ? a.dx[i] + gradient : gradient;
    }
}
