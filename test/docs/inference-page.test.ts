// Oracle: bench/results/. The page is made from them, so no number in it was typed in. The targets' arithmetic is held to a
// result written by hand.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { expect, test } from "vitest";
import {
  type InferResult,
  inferencePage,
  inferenceTargets,
  readInference,
  type SpeedRow,
} from "../../scripts/inference.ts";

const root = resolve(import.meta.dirname, "../..");

test("docs/inference.md is what the results in bench/results/ make", () => {
  const page = inferencePage(readInference(resolve(root, "bench/results")));
  expect(readFileSync(resolve(root, "docs/inference.md"), "utf8")).toBe(page);
});

test("what was not measured is called that", () => {
  const page = inferencePage(readInference(resolve(root, "bench")));
  expect(page).toContain("Not measured yet: `npm run bench:infer`");
  expect(page).not.toContain("reached");
});

test("targets take the best of our head types on most threads, and of node-llama-cpp's threads", () => {
  const row = (program: SpeedRow["program"], threads: number, pp512: number, tg128: number): SpeedRow => ({
    ...{ shape: "700m", program, threads, pp512, tg128 },
    ...(program === "bitnet.ts" ? { head: "int8", weights: "trits" } : { head: null, weights: null }),
    best: { pp512, tg128 },
    bytesForToken: 1,
    cacheBytes: 0,
    floors: { tg128: 200, pp512: 1000 },
  });
  const result = {
    peaks: [1, 2].map((threads) => ({ threads, readGBs: 1, int8Gops: 1, floatGflops: 1 })),
    loads: [
      {
        ...{ shape: "700m", head: "int8", fileBytes: 100, loadMs: 999, weightBytes: 90, cacheBytes: 20 },
        ...{ residentBefore: 50, residentLoaded: 150, peak: 182 },
      },
    ],
    results: [
      row("bitnet.ts", 1, 900, 900),
      row("bitnet.ts", 2, 450, 130),
      row("bitnet.ts", 2, 430, 150),
      row("node-llama-cpp", 1, 100, 100),
      row("node-llama-cpp", 2, 160, 90),
    ],
  } as unknown as InferResult;
  const is = inferenceTargets(result).map(({ is, reached }) => [is, reached]);
  expect(is).toEqual([
    ["150 (trits weights, int8 head)", true],
    ["450", true],
    ["1.50", false],
    ["2.81", false],
    ["0.75", false],
    ["999", true],
    ["1.10", true],
  ]);
});
