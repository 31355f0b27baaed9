// Packing. Oracle: the example in the documentation of transformers' unpack_weights, byte for byte.
// Fitting. Oracle: the quantiser's own formula, written out here, over matrices of every kind.
import { expect, test } from "vitest";
import { createRandom } from "../platform/random.ts";
import { roundToBfloat16 } from "./bfloat16.ts";
import { bfloat16Grid, fitTernary, float16Grid, float32Grid } from "./fit-ternary.ts";
import { roundToFloat16 } from "./float16.ts";
import { packHuggingFace, unpackHuggingFace } from "./hf-pack.ts";
import { masterWeightsOf } from "./ternary.ts";

test("unpacks the example of transformers' documentation, and packs it again", () => {
  const packed = Uint8Array.from([0b10100001, 0b00011000, 0b10010000, 0b00001010]); // [2, 2]
  const weights = [
    [0, -1],
    [-1, 1],
    [-1, 1],
    [-1, 1],
    [1, 0],
    [0, -1],
    [1, -1],
    [1, -1],
  ];
  const { codes, wrongAt } = unpackHuggingFace(packed);
  expect(Array.from(codes, (code) => code - 1)).toEqual(weights.flat());
  expect(wrongAt).toBeNull();
  expect(packHuggingFace(codes)).toEqual(packed);
});

test("every byte of codes 0 to 2 comes back, and the first that holds a 3 is found", () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  for (const byte of bytes) {
    const { codes, wrongAt } = unpackHuggingFace(Uint8Array.of(byte));
    const holds3 = [0, 2, 4, 6].some((shift) => ((byte >> shift) & 3) === 3);
    expect(wrongAt).toBe(holds3 ? 0 : null);
    if (!holds3) expect(packHuggingFace(codes)).toEqual(Uint8Array.of(byte));
  }
  expect(unpackHuggingFace(Uint8Array.from([0, 85, 192, 3])).wrongAt).toBe(2);
});

/** s = mean|w|, float32; q = clip(round(w · fround(1 / s))): transformers' WeightQuant where the mean is over 1e-5. */
function quantise(weights: Float32Array) {
  let sum = 0;
  for (const w of weights) sum += Math.abs(w);
  const scale = Math.fround(sum / weights.length);
  const inverse = Math.fround(1 / scale);
  const codes = Array.from(weights, (w) => {
    const t = Math.fround(w * inverse);
    return t > 0.5 ? 2 : t < -0.5 ? 0 : 1;
  });
  return { scale, codes };
}

const grids = [
  { grid: float32Grid, round: Math.fround },
  { grid: bfloat16Grid, round: roundToBfloat16 },
  { grid: float16Grid, round: roundToFloat16 },
];

/** Normal weights with a few exact zeros and outliers, as trained matrices have. */
function matrix(size: number, std: number, seed: number): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length: size }, (_, i) => (i % 50 === 0 ? 0 : random.normal() * std * (i % 97 ? 1 : 8)));
}

test.for([
  [128, 0.02],
  [256, 0.02],
  [1024, 0.1],
  [1024, 1],
  [5000, 0.005],
  [20_000, 0.02],
] as const)(
  "%i fitted weights of deviation %f are numbers of the grid, and give codes and scale to the last bit",
  ([size, std]) => {
    for (const [seed, excess] of [0, 1e-6, 1e-5, -1e-6].entries()) {
      const w = matrix(size, std, seed + size);
      const scale = Math.fround(quantise(w).scale + excess);
      const codes = Uint8Array.from(w, (x) => (x / scale > 0.5 ? 2 : x / scale < -0.5 ? 0 : 1));
      for (const { grid, round } of grids) {
        const fitted = fitTernary(w, codes, scale, grid)!;
        expect(fitted, `${grid.name}, excess ${excess}`).not.toBeNull();
        expect(fitted.findIndex((value) => round(value) !== value)).toBe(-1);
        const found = quantise(fitted);
        expect(found.scale).toBe(scale);
        expect(found.codes.findIndex((code, i) => code !== codes[i])).toBe(-1);
      }
    }
  },
);

test("weights that are ternary already, with zeros that are 0, are fitted too", () => {
  const codes = Uint8Array.from({ length: 512 }, (_, i) => (i * 7) % 3);
  const scale = Math.fround(0.0173);
  const weights = masterWeightsOf({ codes, scale });
  for (const { grid } of grids) {
    const fitted = fitTernary(weights, codes, scale, grid)!;
    expect(quantise(fitted)).toEqual({ scale, codes: Array.from(codes) });
  }
});

test("says so where it cannot be done: no weights, weights that are not finite, a scale below the grid", () => {
  const codes = Uint8Array.from([0, 1, 2, 1]);
  expect(fitTernary(new Float32Array(4), codes, 1, float32Grid)).toBeNull();
  expect(fitTernary(Float32Array.from([Number.NaN, 0, 1, 0]), codes, 1, float32Grid)).toBeNull();
  expect(fitTernary(Float32Array.from([-1e-9, 0, 1e-9, 0]), codes, 5e-10, float16Grid)).toBeNull();
});
