/** Shapes and values on which every backend's relation loss must agree with reference.ts. */
import { integers, normals } from "../../../test/support/random.ts";

export interface Case {
  name: string;
  /** B, T, W of the student, W of the teacher, R. */
  sizes: [number, number, number, number, number];
  student: Float32Array;
  teacher: Float32Array;
  targets: Int32Array;
}

function drawn(name: string, sizes: Case["sizes"], seed: number): Case {
  const [B, T, W, teacherW] = sizes;
  return {
    name,
    sizes,
    student: normals(B * T * W, seed),
    teacher: normals(B * T * teacherW, seed + 50),
    targets: integers(B * T, seed, 9),
  };
}

const ignored = drawn("half of the positions not counted", [2, 6, 12, 20, 4], 702);
for (let m = 0; m < ignored.targets.length; m += 2) ignored.targets[m] = -100;
const zero = drawn("a state of length 0", [1, 3, 4, 4, 2], 703);
zero.student.fill(0, 4, 6);

export const cases: Case[] = [
  drawn("one position", [1, 1, 2, 3, 1], 700),
  drawn("wider than a vector, with a ragged end", [2, 19, 70, 38, 2], 701),
  drawn("one value a part", [1, 5, 4, 4, 4], 704),
  ignored,
  zero,
];
