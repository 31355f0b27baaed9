/** Shapes and values on which every backend's distillation losses must agree with reference.ts. */
import { integers, normals } from "../../../test/support/random.ts";

export interface Case {
  name: string;
  /** B and T. */
  lead: [number, number];
  classes: number;
  student: Float32Array;
  teacher: Float32Array;
  targets: Int32Array;
}

function drawn(name: string, lead: [number, number], classes: number, seed: number, scale = 1): Case {
  const rows = lead[0] * lead[1];
  return {
    name,
    lead,
    classes,
    student: normals(rows * classes, seed, scale),
    teacher: normals(rows * classes, seed + 50, scale),
    targets: integers(rows, seed, classes),
  };
}

const ignored = drawn("a third of the targets ignored", [3, 11], 61, 602);
for (let m = 0; m < ignored.targets.length; m += 3) ignored.targets[m] = -100;
const allIgnored = drawn("every target ignored", [2, 2], 7, 603);
allIgnored.targets.fill(-100);
const halfIgnored = drawn("a sequence without a counted target", [2, 3], 9, 604);
halfIgnored.targets.fill(-100, 0, 3);
const same = drawn("a student that is the teacher", [1, 4], 37, 605, 2);
same.student.set(same.teacher);
const uncounted = drawn("NaN in a row that does not count", [1, 2], 9, 606);
uncounted.student[4] = Number.NaN;
uncounted.targets[0] = -100;
const odd = drawn("NaN among the logits", [1, 3], 33, 607);
odd.teacher[5] = Number.NaN;
odd.student[40] = Number.NaN;
const never = drawn("a class of the teacher's probability 0", [1, 2], 21, 608);
never.teacher[3] = Number.NEGATIVE_INFINITY;

export const cases: Case[] = [
  drawn("one row", [1, 1], 2, 599),
  drawn("one class", [1, 3], 1, 600),
  drawn("tiny's vocabulary", [2, 5], 2048, 601, 3),
  drawn("more threads than rows", [1, 2], 100, 609),
  drawn("large logits", [1, 7], 29, 610, 30),
  ignored,
  allIgnored,
  halfIgnored,
  same,
  uncounted,
  odd,
  never,
];
