/**
 * Cross entropy of logits against the uniform distribution, in nats: the second term of label smoothing (Szegedy et al.
 * 2015, arXiv:1512.00567), which is (1 - e) · cross entropy + e · this one, as PyTorch's `label_smoothing` has it.
 *
 *   loss = mean of log(sum over v of e^(x[m, v])) - (mean over v of x[m, v]) over the rows whose target is not -100
 *   dx[m, v] = (e^(x[m, v]) / (sum of e^x) - 1 / V) · dloss / counted;   0 in rows that are not counted
 *
 * The slow definition, forward and backward. kernel.cc must agree with it on cases.ts. With no row counted the loss is
 * NaN (0 / 0); NaN or +Infinity among a counted row's logits gives NaN; -Infinity gives Infinity (a class that can never
 * be, of which 1 / V was wanted).
 */
const ignored = -100;

/**
 * @param logits  [M, V]
 * @param targets [M]; only whether one is -100 matters
 * @param stats   [M, 2], overwritten with max(x) and sum(e^(x - max(x))): backward wants them
 * @param rowLoss [M], overwritten, 0 where not counted
 * @param loss    [1], overwritten; summed in float64
 */
export function uniformCrossEntropyForward(
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
    let below = 0;
    for (const value of x) {
      sum += Math.exp(value - max);
      below += max - value;
    }
    a.stats[2 * m] = max;
    a.stats[2 * m + 1] = sum;
    const counts = a.targets[m] !== ignored;
    a.rowLoss[m] = counts ? Math.log(sum) + below / classes : 0;
    if (!counts) continue;
    total += a.rowLoss[m];
    counted++;
  }
  a.loss[0] = total / counted;
}

/** @param dlogits [M, V], overwritten, or added to with `accumulate` */
export function uniformCrossEntropyBackward(
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
  const weight = a.dloss[0] / counted;
  for (let m = 0; m < rows; m++) {
    const counts = a.targets[m] !== ignored;
    const [max, sum] = [a.stats[2 * m], a.stats[2 * m + 1]];
    for (let v = 0; v < classes; v++) {
      const i = m * classes + v;
      const gradient = counts ? (Math.exp(a.logits[i] - max) / sum - 1 / classes) * weight : 0;
      a.dlogits[i] = accumulate ? a.dlogits[i] + gradient : gradient;
    }
  }
}
