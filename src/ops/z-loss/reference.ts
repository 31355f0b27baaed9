/**
 * z-loss: the mean square of the logarithm of the softmax's denominator. It keeps logits from drifting to large values
 * (PaLM: Chowdhery et al. 2022, arXiv:2204.02311, section 5, with weight 1e-4 beside the cross entropy).
 *
 *   logZ[m] = log(sum over v of e^(x[m, v]));   loss = mean of logZ[m]² over the rows whose target is not -100
 *   dx[m, v] = e^(x[m, v]) / (sum of e^x) · 2 logZ[m] · dloss / counted;   0 in rows that are not counted
 *
 * The slow definition, forward and backward. kernel.cc must agree with it on cases.ts. With no row counted the loss is
 * NaN (0 / 0), as cross entropy's is; NaN or +Infinity among a counted row's logits gives NaN.
 */
const ignored = -100;

/**
 * @param logits  [M, V]
 * @param targets [M]; only whether one is -100 matters
 * @param stats   [M, 2], overwritten with max(x) and sum(e^(x - max(x))): backward wants them
 * @param rowLoss [M], overwritten with logZ², 0 where not counted
 * @param loss    [1], overwritten; summed in float64
 */
export function zLossForward(
  a: {
    logits: Float32Array;
    targets: Int32Array;
    stats: Float32Array;
    rowLoss: Float32Array;
    loss: Float32Array;
  },
  rows: number,
  classes: number,
): void {
  let total = 0;
  let counted = 0;
  for (let m = 0; m < rows; m++) {
    const x = a.logits.subarray(m * classes, (m + 1) * classes);
    let max = Number.NEGATIVE_INFINITY;
    for (const value of x) max = Math.max(max, value);
    let sum = 0;
    for (const value of x) sum += Math.exp(value - max);
    a.stats[2 * m] = max;
    a.stats[2 * m + 1] = sum;
    const counts = a.targets[m] !== ignored;
    a.rowLoss[m] = counts ? (max + Math.log(sum)) ** 2 : 0;
    if (!counts) continue;
    total += a.rowLoss[m];
    counted++;
  }
  a.loss[0] = total / counted;
}

/** @param dlogits [M, V], overwritten, or added to with `accumulate` */
export function zLossBackward(
  a: {
    logits: Float32Array;
    targets: Int32Array;
    stats: Float32Array;
    dloss: Float32Array;
    dlogits: Float32Array;
  },
  rows: number,
  classes: number,
  accumulate: number,
): void {
  let counted = 0;
  for (let m = 0; m < rows; m++) if (a.targets[m] !== ignored) counted++;
  for (let m = 0; m < rows; m++) {
    const counts = a.targets[m] !== ignored;
    const [max, sum] = [a.stats[2 * m], a.stats[2 * m + 1]];
    const weight = (2 * (max + Math.log(sum)) * a.dloss[0]) / counted;
    for (let v = 0; v < classes; v++) {
      const i = m * classes + v;
      const gradient = counts ? (Math.exp(a.logits[i] - max) / sum) * weight : 0;
      a.dlogits[i] = accumulate ? a.dlogits[i] + gradient : gradient;
    }
  }
}
