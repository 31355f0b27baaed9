/**
 * Cross entropy of logits against target classes, in nats, as PyTorch's F.cross_entropy(ignore_index = -100):
 *
 *   tokenLoss[m] = log(sum over v of e^(x[m, v])) - x[m, target[m]];   loss = mean of tokenLoss over counted targets
 *
 * The slow definition, forward and backward. kernel.cc must agree with it on cases.ts. Stable for any finite logits (the
 * row's maximum is subtracted). What is odd:
 * - target -100 is ignored: tokenLoss 0, not counted, gradient 0. With every target ignored the loss is NaN (0 / 0).
 * - a target that is neither -100 nor in 0..V-1 reads nothing out of bounds: its tokenLoss, the loss, and its row of the
 *   gradient are NaN.
 * - NaN or +Infinity among a row's logits gives NaN. -Infinity is a class of probability 0, as in PyTorch.
 */
import { countedRows, ignoredTarget, meanOfCounted, softmaxRow } from "../softmax-rows.ts";

/**
 * @param logits    [M, V]
 * @param targets   [M]
 * @param tokenLoss [M], overwritten
 * @param stats     [M, 2], overwritten with max(x) and sum(e^(x - max(x))): backward wants them
 * @param loss      [1], overwritten; summed in float64
 */
export function crossEntropyForward(
  logits: Float32Array,
  targets: Int32Array,
  tokenLoss: Float32Array,
  stats: Float32Array,
  loss: Float32Array,
  rows: number,
  classes: number,
): void {
  for (let m = 0; m < rows; m++) {
    const x = logits.subarray(m * classes, (m + 1) * classes);
    const { max, sum } = softmaxRow(x, stats, m);
    const target = targets[m];
    if (target === ignoredTarget) tokenLoss[m] = 0;
    else if (target < 0 || target >= classes) tokenLoss[m] = Number.NaN;
    else tokenLoss[m] = max - x[target] + Math.log(sum);
  }
  loss[0] = meanOfCounted(tokenLoss, targets, rows);
}

/**
 * dx[m, v] = (e^(x[m, v]) / sum of e^x - [v is the target]) * (dloss / counted + dtokenLoss[m]), written over the logits.
 *
 * @param logits     [M, V]; overwritten with their own gradient
 * @param dloss      [1], or null: 0
 * @param dtokenLoss [M], or null: 0
 */
export function crossEntropyBackward(
  a: {
    logits: Float32Array;
    targets: Int32Array;
    stats: Float32Array;
    dloss: Float32Array | null;
    dtokenLoss: Float32Array | null;
  },
  rows: number,
  classes: number,
): void {
  const counted = countedRows(a.targets, rows);
  for (let m = 0; m < rows; m++) {
    const x = a.logits.subarray(m * classes, (m + 1) * classes);
    const target = a.targets[m];
    if (target === ignoredTarget) {
      x.fill(0);
    } else if (target < 0 || target >= classes) {
      x.fill(Number.NaN);
    } else {
      const weight = (a.dloss ? a.dloss[0] / counted : 0) + (a.dtokenLoss ? a.dtokenLoss[m] : 0);
      for (let v = 0; v < classes; v++) {
        const p = Math.exp(x[v] - a.stats[2 * m]) / a.stats[2 * m + 1];
        x[v] = (v === target ? p - 1 : p) * weight;
      }
    }
  }
}
