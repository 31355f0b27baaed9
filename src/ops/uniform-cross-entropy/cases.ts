/** Shapes and values on which every backend's uniform cross entropy must agree with reference.ts: the shapes of cross-entropy's. */
import { integers, normals } from "../../../test/support/random.ts";

interface Case {
  name: string;
  lead: number[];
  classes: number;
  logits: Float32Array;
  targets: Int32Array;
}

function drawn(name: string, lead: number[], classes: number, seed: number, scale = 1): Case {
  const rows = lead.reduce((a, b) => a * b, 1);
  return { name, lead, classes, logits: normals(rows * classes, seed, scale), targets: integers(rows, seed, classes) };
}

const ignored = drawn("a third of the targets ignored", [3, 11], 61, 502);
for (let m = 0; m < ignored.targets.length; m += 3) ignored.targets[m] = -100;
const allIgnored = drawn("every target ignored", [4], 7, 503);
allIgnored.targets.fill(-100);
const odd = drawn("NaN and Infinity among the logits", [4], 33, 505);
odd.logits[5] = Number.NaN;
odd.logits[33 + 32] = Number.POSITIVE_INFINITY;
odd.logits[66 + 3] = Number.NEGATIVE_INFINITY;
const uncounted = drawn("NaN in a row that does not count", [2], 9, 506);
uncounted.logits[4] = Number.NaN;
uncounted.targets[0] = -100;

export const cases: Case[] = [
  drawn("one row", [1], 2, 499),
  drawn("one class", [3], 1, 500),
  drawn("tiny's vocabulary", [2, 5], 2048, 501, 3),
  drawn("more threads than rows", [2], 100, 507),
  drawn("large logits", [7], 29, 508, 1e3),
  ignored,
  allIgnored,
  odd,
  uncounted,
];
