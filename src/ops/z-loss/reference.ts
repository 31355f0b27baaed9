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
import {
  countedRows,
  ignoredTarget,
  meanOfCounted,
  type RowLossBackward,
  type RowLossForward,
  softmaxGradient,
  softmaxRow,
} from "../softmax-rows.ts";

export function zLossForward(a: RowLossForward, rows: number, classes: number): void {
  for (let m = 0; m < rows; m++) {
    const { max, sum } = softmaxRow(a.logits.subarray(m * classes, (m + 1) * classes), a.stats, m);
    a.rowLoss[m] = a.targets[m] === ignoredTarget ? 0 : (max + Math.log(sum)) ** 2;
  }
  a.loss[0] = meanOfCounted(a.rowLoss, a.targets, rows);
}

export function zLossBackward(a: RowLossBackward, rows: number, classes: number, accumulate: number): void {
  const counted = countedRows(a.targets, rows);
  softmaxGradient(a, { rows, classes, accumulate }, (max, sum) => {
    const weight = (2 * (max + Math.log(sum)) * a.dloss[0]) / counted;
    return (p) => p * weight;
  });
}
