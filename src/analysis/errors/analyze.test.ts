// Oracles: models whose config quantizes only some layers, built by requantize (another way than lambda); softmax in float64
// loops; the op's measures, which are held to NumPy beside it.
import { describe, expect, test } from "vitest";
import { smallModel, smallText } from "../../../test/support/small-run.ts";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { requantize, shortName, Transformer, withQuantization } from "../../model/index.ts";
import { Runtime } from "../../tensor/index.ts";
import { lossOf, scoreSample, takeSample } from "../sample.ts";
import { analyzeErrors, compareRow } from "./analyze.ts";

const make = (changes: object = {}) =>
  new Transformer(
    new Runtime(createReferenceBackend()),
    { ...smallModel, width: 32, hiddenWidth: 64, initStd: 0.3, ...changes },
    3,
  );
const sizes = { maxTokens: 32, batch: 2 };

/** The model with its first layers quantized alone. */
async function upTo(model: Transformer, count: number) {
  const overrides = model.plan.layers
    .slice(count)
    .map(({ name }) => ({ layers: shortName(name), weights: "none", activations: "none" }));
  return requantize(model, withQuantization(model.config, { overrides }));
}

describe("analyzeErrors", () => {
  test("follows the error through models that quantize their first layers alone, and leaves the model as it was", async () => {
    const model = make();
    const sample = takeSample(model, smallText(), sizes);
    const before = await scoreSample(model, sample);
    const result = await analyzeErrors(model, smallText(), sizes);
    expect(await scoreSample(model, sample)).toEqual(before);
    expect(result).toMatchObject({ asIf: null, plan: "ternary", tokens: 32, sequences: 4, quantized: lossOf(before) });
    const float = await upTo(model, 0);
    expect(result.float.lossNats).toBeCloseTo(lossOf(await scoreSample(float, sample)).lossNats, 6);
    const input = { tokens: new Int32Array(32), batch: 4, length: 8 };
    for (let i = 0; i < 4; i++) input.tokens.set(sample.tokens(i), i * 8);
    const statesOf = (one: Transformer) => one.runtime.readFloats(one.hiddenStates(input));
    const h0 = await statesOf(float);
    const size = h0.reduce((sum, x) => sum + x * x, 0);
    expect(result.layers).toHaveLength(14);
    for (const k of [0, 3, 6, 13]) {
      const h = await statesOf(await upTo(model, k + 1));
      const error = h.reduce((sum, x, i) => sum + (x - h0[i]) ** 2, 0) / size;
      expect(result.layers[k].errorBehind).toBeCloseTo(error, 5);
    }
    expect(result.layers.reduce((sum, { added }) => sum + added, 0)).toBeCloseTo(result.finalError, 12);
    expect(result.layers.reduce((sum, { share }) => sum + share!, 0)).toBeCloseTo(1, 12);
    for (const { weights, input: x } of result.layers) {
      // Drawn Gaussian weights of 512 to 2048, and inputs of 32 to 64 with scales of their own.
      expect(Math.abs(weights!.sqnrDb! - 5.79)).toBeLessThan(0.6);
      expect(x.sqnrDb).toBeGreaterThan(35);
      expect(x.peakToRms.mean).toBeLessThan(8);
    }
    const logitsOf = async (one: Transformer) => one.runtime.readFloats(one.logits(input));
    const [a, b] = [await logitsOf(float), await logitsOf(model)];
    let [kl, same] = [0, 0];
    for (let at = 0; at < a.length; at += 17) {
      const [p, q] = [a, b].map((logits) => Array.from(logits.subarray(at, at + 17), Math.exp));
      const [zp, zq] = [p, q].map((values) => values.reduce((sum, x) => sum + x, 0));
      for (let i = 0; i < 17; i++) kl += (p[i] / zp) * Math.log(p[i] / zp / (q[i] / zq));
      if (p.indexOf(Math.max(...p)) === q.indexOf(Math.max(...q))) same++;
    }
    expect(result.logits.klNats).toBeCloseTo(kl / 32, 5);
    expect(result.logits.top1Agreement).toBe(same / 32);
  });

  test("takes a full-precision model as if it were absmean, and another quantizer where one is named", async () => {
    const model = make({ variant: "full" });
    const result = await analyzeErrors(model, smallText(), sizes);
    expect(result.asIf).toBe("absmean");
    const twn = await analyzeErrors(model, smallText(), { ...sizes, quantizer: "twn" });
    // Gaussian weights: 5.79 dB under absmean, 7.18 dB under TWN.
    for (const [i, { weights }] of twn.layers.entries())
      expect(weights!.sqnrDb!).toBeGreaterThan(result.layers[i].weights!.sqnrDb! + 0.5);
  });

  test("layers in int8 have no trits to measure, and add less", async () => {
    const result = await analyzeErrors(make({ variant: "full" }), smallText(), { ...sizes, quantizer: "int8" });
    expect(result.layers.every(({ weights }) => weights === null)).toBe(true);
    expect(result.finalError).toBeLessThan(0.01);
  });
});

test("KL of one row of logits is 0 for equal ones, whatever is added to all, and never negative", () => {
  const a = normals(50, 1, 5);
  expect(compareRow(a, a)).toEqual({ kl: 0, same: true });
  expect(
    compareRow(
      a,
      a.map((x) => x + 90),
    ).kl,
  ).toBeCloseTo(0, 4);
  expect(compareRow(a, normals(50, 2, 5)).kl).toBeGreaterThan(0);
});
