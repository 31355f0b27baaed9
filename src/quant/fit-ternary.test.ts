// Master weights on a coarse grid. Oracle: the rule itself, as transformers' WeightQuant has it: scale = max(mean|w|, 1e-5),
// codes = clip(round(w / scale)), by ops/weight-quant's definition, which is held to PyTorch's values.
import { expect, test } from "vitest";
import { quantizeWeights } from "../ops/weight-quant/reference.ts";
import { createRandom } from "../platform/random.ts";
import { bfloat16Grid, fitTernary, float16Grid, float32Grid } from "./fit-ternary.ts";
import { masterWeightsOf } from "./ternary.ts";

const grids = [bfloat16Grid, float16Grid, float32Grid];
const cases = grids.flatMap((grid) =>
  [0.01, 0.33, 0.5, 0.95].flatMap((zeros) => [1e-3, 0.0217, 0.9, 3.7].map((scale) => ({ grid, zeros, scale }))),
);

test.for(cases)("packed weights on $grid.name: $zeros zeros, scale $scale", ({ grid, zeros, scale: wanted }) => {
  const random = createRandom(Math.round(zeros * 100) + Math.round(wanted * 1e4));
  const scale = Math.fround(wanted);
  // float16 ends at 2^-24: of few weights near 1e-3 the mean cannot be moved by float32's last bit.
  const sizes = grid === float16Grid && wanted < 0.01 ? [4096] : [64, 257, 4096];
  for (const size of sizes) {
    const codes = Uint8Array.from({ length: size }, () =>
      random.uniform() < zeros ? 1 : random.uniform() < 0.5 ? 0 : 2,
    );
    codes[0] = 1;
    codes[1] = 1;
    codes[2] = 2;
    // As packed files are opened: equal magnitudes, and zeros that are 0.
    const fitted = fitTernary(masterWeightsOf({ codes, scale }), codes, scale, grid);
    expect(fitted, `${size}`).not.toBeNull();
    for (const value of fitted!) expect(grid.fromBits(grid.toBits(Math.abs(value)))).toBe(Math.abs(value));
    const [found, foundScale] = [new Uint8Array(size), new Float32Array(1)];
    quantizeWeights(fitted!, found, foundScale, "clamp", 1e-5);
    expect(foundScale[0]).toBe(scale);
    expect(found).toEqual(codes);
  }
});
