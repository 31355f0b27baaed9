/** Shapes and values on which every backend's gated activation must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

/** Gates at every magnitude of float32, both signs, and the places where the exponential changes course. */
function sweep(): Float32Array {
  const values: number[] = [0, -0, 60, -60, 87.5, -87.5, 88.5, -88.5, 95, -95, 104, -104, 3e38, -3e38];
  for (let e = -149; e < 128; e += 3) values.push(1.37 * 2 ** e, -1.37 * 2 ** e);
  // Every 1/64 of [-30, 30): the reduced argument of the exponential takes all its values.
  for (let g = -1920; g < 1920; g++) values.push(g / 64 + g * 1e-5);
  return Float32Array.from(values);
}

const gates: [name: string, shape: number[], gate: Float32Array][] = [
  ["one value", [1], normals(1, 200)],
  ["a remainder", [3, 37], normals(111, 201, 3)],
  ["tiny's width", [2, 9, 1152], normals(2 * 9 * 1152, 202, 2)],
  ["gates of every magnitude", [sweep().length], sweep()],
];

export const cases = gates.flatMap(([name, shape, gate], i) =>
  (["silu", "relu2"] as const).map((kind) => ({
    name: `${name}, ${kind}`,
    kind,
    shape,
    gate,
    up: normals(gate.length, 210 + i),
    dh: normals(gate.length, 220 + i),
  })),
);
