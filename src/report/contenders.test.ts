// Oracle: rows with chosen numbers; which of two is faster is plain.
import { expect, test } from "vitest";
import { madeUpMeasurement } from "../../test/support/measurements.ts";
import { presets, Transformer } from "../model/index.ts";
import { fastest, openTimed } from "./contenders.ts";

const speed = (prompt: number, decode: number, first: number) => {
  const made = madeUpMeasurement("full").speed!;
  return {
    ...made,
    prompt: { ...made.prompt, mean: prompt },
    decode: { ...made.decode, mean: decode },
    firstToken: { ...made.firstToken, mean: first },
  };
};

test("each row is of the faster engine, and says which; memory is the packed one's", () => {
  const float = { ...speed(9, 1, 2), loadedBytes: 5, peakBytes: 6 };
  const result = fastest(speed(3, 4, 5), float, "f16");
  expect([result.prompt.mean, result.decode.mean, result.firstToken.mean]).toEqual([9, 4, 2]);
  expect(result.engines).toEqual({ prompt: "float", decode: "packed", firstToken: "float" });
  expect(result.loadedBytes).toBe(speed(0, 0, 0).loadedBytes);
  expect(fastest(speed(3, 4, 5), undefined, "2 bits").engines.prompt).toBe("packed");
});

test("a full-precision model is timed on both engines, a ternary one on the packed engine", async () => {
  for (const [variant, engines] of [
    ["bitnet", 1],
    ["full", 2],
  ] as const) {
    const config = { ...presets.arithmetic, variant, width: 32, layers: 1, hiddenWidth: 64, heads: 2, kvHeads: 1 };
    const timed = await openTimed(
      "m",
      { backend: "reference" },
      async (runtime) => new Transformer(runtime, config, 1),
    );
    expect(timed.contenders).toHaveLength(engines);
    timed.close();
  }
});
