/** Arrays on which every backend's sum of squares must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

export const cases: { name: string; x: Float32Array }[] = [
  { name: "one value", x: Float32Array.of(-3) },
  { name: "zeros", x: new Float32Array(40) },
  ...[3, 17, 31, 64, 65, 1000, 40_007].map((n, i) => ({ name: `${n} values`, x: normals(n, 10 + i) })),
  // 2^16 ones of 1e-4² after a 1: a float32 sum would lose every one of them.
  { name: "one large value and many small ones", x: new Float32Array(65_537).fill(1e-4).with(0, 1) },
  // The squares are far below float32's smallest number, the sum is not.
  { name: "squares that float32 cannot hold", x: new Float32Array(100_000).fill(3e-24).with(99_999, 1e-22) },
  { name: "a NaN at the end", x: new Float32Array(37).with(36, Number.NaN) },
  { name: "a NaN at the start", x: new Float32Array(3700).with(0, Number.NaN) },
  { name: "an infinity", x: new Float32Array(50).fill(1).with(20, Number.NEGATIVE_INFINITY) },
  { name: "a sum past float32", x: Float32Array.of(1, 2e19, 1) },
];
