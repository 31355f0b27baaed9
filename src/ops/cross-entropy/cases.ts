/** Shapes and values on which every backend's cross entropy must agree with reference.ts. */
import { drawnRows, type RowLossCase } from "../../../test/support/row-loss.ts";

const ignored = drawnRows("a third of the targets ignored", [3, 11], 61, 302);
for (let m = 0; m < ignored.targets.length; m += 3) ignored.targets[m] = -100;
const allIgnored = drawnRows("every target ignored", [4], 7, 303);
allIgnored.targets.fill(-100);
const outside = drawnRows("a target outside the classes", [5], 19, 304);
outside.targets[2] = 19;
outside.targets[3] = -7;
const odd = drawnRows("NaN and Infinity among the logits", [6], 33, 305);
odd.logits[5] = Number.NaN;
odd.logits[33 + 32] = Number.POSITIVE_INFINITY;
odd.logits[66 + 3] = Number.NEGATIVE_INFINITY;
odd.targets[2] = 4;
odd.logits.fill(Number.NEGATIVE_INFINITY, 99, 132);
odd.targets[4] = -100;
odd.logits[132] = Number.NaN;
const maskedClass = drawnRows("a class of probability 0", [2], 21, 306);
maskedClass.logits[3] = Number.NEGATIVE_INFINITY;
maskedClass.targets[0] = 7;

export const cases: RowLossCase[] = [
  drawnRows("one row", [1], 2, 299),
  drawnRows("one class", [3], 1, 300),
  drawnRows("tiny's vocabulary", [2, 5], 2048, 301, 3),
  drawnRows("more threads than rows", [2], 100, 307),
  drawnRows("huge logits", [7], 29, 308, 1e4),
  drawnRows("logits near the end of float32", [3], 29, 309, 1e37),
  ignored,
  allIgnored,
  outside,
  odd,
  maskedClass,
];
