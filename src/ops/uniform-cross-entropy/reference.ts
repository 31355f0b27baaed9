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
import {
  countedRows,
  ignoredTarget,
  meanOfCounted,
  type RowLossBackward,
  type RowLossForward,
  softmaxGradient,
  softmaxRow,
} from "../softmax-rows.ts";

export function uniformCrossEntropyForward(a: RowLossForward, rows: number, classes: number): void {
  for (let m = 0; m < rows; m++) {
    const x = a.logits.subarray(m * classes, (m + 1) * classes);
    const { max, sum } = softmaxRow(x, a.stats, m);
    let below = 0;
    for (const value of x) below += max - value;
    a.rowLoss[m] = a.targets[m] === ignoredTarget ? 0 : Math.log(sum) + below / classes;
  }
  a.loss[0] = meanOfCounted(a.rowLoss, a.targets, rows);
}

export function uniformCrossEntropyBackward(
  a: RowLossBackward,
  rows: number,
  classes: number,
  accumulate: number,
): void {
  const weight = a.dloss[0] / countedRows(a.targets, rows);
  softmaxGradient(a, { rows, classes, accumulate }, () => (p) => (p - 1 / classes) * weight);
}
