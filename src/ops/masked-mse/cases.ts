/** Shapes and values on which every backend's masked mean square difference must agree with reference.ts. */
import { integers, normals } from "../../../test/support/random.ts";

export interface Case {
  name: string;
  lead: number[];
  width: number;
  x: Float32Array;
  y: Float32Array;
  targets: Int32Array;
}

function drawn(name: string, lead: number[], width: number, seed: number): Case {
  const rows = lead.reduce((a, b) => a * b, 1);
  const [x, y] = [normals(rows * width, seed), normals(rows * width, seed + 50)];
  return { name, lead, width, x, y, targets: integers(rows, seed, 9) };
}

const ignored = drawn("a third of the rows not counted", [3, 5], 37, 801);
for (let m = 0; m < ignored.targets.length; m += 3) ignored.targets[m] = -100;
const none = drawn("no row counted", [3], 5, 802);
none.targets.fill(-100);
const odd = drawn("NaN in a counted row and in one that is not", [3], 9, 803);
odd.x[0] = Number.NaN;
odd.x[10] = Number.NaN;
odd.targets[1] = -100;

export const cases: Case[] = [
  drawn("one value", [1], 1, 800),
  drawn("a wide row", [2, 2], 384, 804),
  ignored,
  none,
  odd,
];
