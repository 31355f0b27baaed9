// Oracles: NumPy and SciPy for statistics and thresholds (fixtures.json, made by fixtures.py); the kernel's own codes for the
// noise of int8; a search over many values for the temperature and the least-squares scale; models built from what was found.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { normals } from "../../../test/support/random.ts";
import { smallModel, smallRun, smallText } from "../../../test/support/small-run.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { saveModelFolder } from "../../checkpoint/index.ts";
import { loadModel, matrixOf } from "../../exchange/index.ts";
import { type ModelConfig, requantize, Transformer, withQuantization } from "../../model/index.ts";
import { quantizeActivations } from "../../ops/activation-quant/reference.ts";
import { Runtime } from "../../tensor/index.ts";
import { runTraining } from "../../train/trainer.ts";
import { lossOf, partOf, scoreSample, takeSample } from "../sample.ts";
import { EqualHistogram, ValueCounter } from "./histogram.ts";
import {
  atTemperature,
  calibrate,
  fitTemperature,
  foldTemperature,
  leastSquaresScales,
  ternarize,
  withScales,
} from "./index.ts";
import { observeInputs } from "./inputs.ts";
import { roundingOf } from "./statistics.ts";
import { entropyThreshold, mseThreshold, scaleOfThreshold } from "./thresholds.ts";

interface Case {
  name: string;
  x: number[];
  expect: {
    absmax: number;
    mean: number;
    rms: number;
    kurtosis: number;
    percentiles: Record<string, number>;
    mse: number;
    entropy: number;
  };
}
const cases = JSON.parse(readFileSync(new URL("fixtures.json", import.meta.url), "utf8")) as Case[];

describe.each(cases)("$name", ({ x, expect: wanted }) => {
  const values = Float32Array.from(x);
  const counter = new ValueCounter();
  counter.add(values.subarray(0, 700));
  counter.add(values.subarray(700));
  const histogram = new EqualHistogram(wanted.absmax);
  histogram.add(values);

  test("has NumPy's moments and percentiles", () => {
    const { absmax, mean, rms, kurtosis, percentiles, count } = counter.statistics();
    expect({ absmax, count }).toEqual({ absmax: wanted.absmax, count: x.length });
    expect(mean).toBeCloseTo(wanted.mean, 9);
    expect(rms).toBeCloseTo(wanted.rms, 9);
    expect(kurtosis).toBeCloseTo(wanted.kurtosis, 6);
    for (const [share, value] of Object.entries(wanted.percentiles)) {
      expect(percentiles[share], share).toBeGreaterThanOrEqual(value);
      expect(percentiles[share], share).toBeLessThanOrEqual(value * (1 + 2 ** -10));
    }
  });

  test("is clipped where every threshold that could be tried says", () => {
    expect(mseThreshold(histogram)).toBeCloseTo(wanted.mse, 6);
    expect(entropyThreshold(histogram)).toBeCloseTo(wanted.entropy, 6);
  });
});

test("thresholds of inputs that are 0 throughout, and of one size alone, are usable scales", () => {
  for (const values of [new Float32Array(50), new Float32Array(50).fill(2)]) {
    const histogram = new EqualHistogram(values[0]);
    histogram.add(values);
    for (const threshold of [mseThreshold(histogram), entropyThreshold(histogram)]) {
      expect(threshold).toBeLessThanOrEqual(values[0]);
      expect(scaleOfThreshold(threshold)).toBeGreaterThan(0);
    }
  }
});

test("the noise of int8 is that of the kernel's codes", () => {
  const row = normals(48, 3, 2);
  const codes = new Int8Array(48);
  const scale = new Float32Array(1);
  quantizeActivations(row, codes, scale, new Int32Array(1), 1, 48, 1e-5);
  const noise = row.reduce((sum, x, i) => sum + (x - codes[i] * scale[0]) ** 2, 0);
  const { signal, noise: found, peak } = roundingOf(row);
  expect(found).toBeCloseTo(noise, 6);
  expect(signal).toBeCloseTo(
    row.reduce((sum, x) => sum + x * x, 0),
    6,
  );
  expect(peak).toBeCloseTo(Math.max(...row.map(Math.abs)) / Math.sqrt(signal / 48), 6);
  expect(roundingOf(new Float32Array(4))).toEqual({ signal: 0, noise: 0, peak: 0 });
});

const shape: ModelConfig = { ...smallModel, width: 32, hiddenWidth: 64, initStd: 0.3 };
const make = (changes: Partial<ModelConfig> = {}, seed = 3) =>
  new Transformer(new Runtime(createReferenceBackend()), { ...shape, ...changes }, seed);
const sizes = { maxTokens: 64, batch: 8 };
const scoresOf = async (model: Transformer, heldOut = true) => {
  const sample = takeSample(model, smallText(), sizes);
  return scoreSample(model, heldOut ? partOf(sample, sample.count / 2, sample.count) : sample);
};

test("inputs are those that the layers multiply: by the definition, behind the norm, one for the layers that share it", async () => {
  const model = make({ quantization: { activations: "none" } });
  const sample = takeSample(model, smallText(), { ...sizes, maxTokens: 16 });
  const seen: { layers: string[]; width: number; values: Float32Array }[] = [];
  await observeInputs(model, sample, (input) => seen.push(input));
  expect(seen.map(({ layers }) => layers.map((name) => name.replace("model.layers.", "")))).toEqual(
    [0, 1].flatMap((block) => [
      ["q", "k", "v"].map((name) => `${block}.self_attn.${name}_proj`),
      [`${block}.self_attn.o_proj`],
      [`${block}.mlp.gate_proj`, `${block}.mlp.up_proj`],
      [`${block}.mlp.down_proj`],
    ]),
  );
  expect(seen.map(({ width }) => width)).toEqual([32, 32, 32, 64, 32, 32, 32, 64]);
  // The first input: RMSNorm of the embeddings, gain 1.
  const table = await model.runtime.readFloats(model.parameters[0].tensor);
  const tokens = [...sample.tokens(0), ...sample.tokens(1)];
  for (const [row, token] of tokens.entries()) {
    const x = table.subarray(token * 32, (token + 1) * 32);
    const rms = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / 32 + shape.normEps);
    for (let i = 0; i < 32; i++) expect(seen[0].values[row * 32 + i]).toBeCloseTo(x[i] / rms, 4);
  }
});

describe("calibrate", () => {
  test("reports the losses of models that are built from what it found, and leaves the model as it was", async () => {
    const model = make();
    const before = await scoresOf(model, false);
    const result = await calibrate(model, smallText(), sizes);
    expect(await scoresOf(model, false)).toEqual(before);
    expect(result).toMatchObject({
      ternarized: null,
      full: null,
      plan: "ternary",
      sequences: { fit: 4, heldOut: 4 },
      tokens: { fit: 32, heldOut: 32 },
    });
    expect(result.model.loss).toEqual(lossOf(await scoresOf(model)));
    expect(result.dynamic.loss).toEqual(result.model.loss);
    expect(result.inputs).toHaveLength(8);
    expect(result.static.map(({ method }) => method)).toEqual(["min-max", "percentile", "mse", "entropy"]);
    for (const { quantization, loss, inputs, difference } of result.static) {
      const made = await requantize(model, withQuantization(model.config, quantization));
      expect(lossOf(await scoresOf(made))).toEqual(loss);
      expect(difference.value).toBeCloseTo(loss.lossNats - result.dynamic.loss.lossNats, 12);
      for (const [i, { threshold, scale }] of inputs.entries()) {
        expect(scale).toBeCloseTo(threshold / 127, 12);
        expect(threshold).toBeLessThanOrEqual(result.inputs[i].absmax);
      }
    }
    expect(result.static[0].inputs[0].threshold).toBe(result.inputs[0].absmax);
    const float = await requantize(model, withQuantization(model.config, { activations: "none" }));
    expect(lossOf(await scoresOf(float))).toEqual(result.floatInputs.loss);
    const { temperature, loss } = result.temperature;
    await foldTemperature(model, temperature);
    expect(lossOf(await scoresOf(model))).toEqual(loss);
  });

  test("of a full-precision model: as if all inputs were rounded; no scales of ternary matrices, with the reason", async () => {
    const model = make({ variant: "full" });
    const result = await calibrate(model, smallText(), { ...sizes, methods: ["mse"] });
    const rounded = await requantize(model, withQuantization(model.config, { activations: "absmax8" }));
    expect(result.dynamic.loss).toEqual(lossOf(await scoresOf(rounded)));
    expect(result.floatInputs.loss).toEqual(result.model.loss);
    expect(result.leastSquares).toBeNull();
    expect(result.leastSquaresReason).toBe("the model has no ternary weights");
    expect(result.static[0].quantization.overrides).toHaveLength(14);
  });

  test("with ternarize: the losses of the full model, of the ternary one, and with better scales", async () => {
    const run = smallRun({ steps: 60, modelConfig: { variant: "full", width: 32, hiddenWidth: 64 } });
    await runTraining(run);
    const { model } = run;
    const result = await calibrate(model, smallText(), { ...sizes, methods: ["min-max"], ternarize: "absmean" });
    expect(result.full).toEqual(lossOf(await scoresOf(model)));
    const ternary = await ternarize(model, "absmean");
    expect(ternary.plan.allBitLinear).toBe(true);
    expect(result.model.loss).toEqual(lossOf(await scoresOf(ternary)));
    expect(result.model.difference.value).toBeGreaterThan(0.05);
    const scaled = await withScales(ternary, result.leastSquares!.matrices);
    expect(lossOf(await scoresOf(scaled))).toEqual(result.leastSquares!.loss);
    await foldTemperature(scaled, result.both!.temperature);
    expect(lossOf(await scoresOf(scaled))).toEqual(result.both!.loss);
  });

  test("refuses a text of less than two sequences, an unknown method, and what cannot be made ternary", async () => {
    const model = make();
    await expect(calibrate(model, smallText(5))).rejects.toThrow(
      "a sequence of 8 tokens needs 9 tokens of text, but the data have 5",
    );
    await expect(calibrate(model, smallText(12))).rejects.toThrow(
      "the text has 12 tokens, which is 1 sequence of 8; 2 are needed at least: give more text or a shorter sequence",
    );
    await expect(calibrate(model, smallText(), { methods: ["max" as never] })).rejects.toThrow('unknown method "max"');
    await expect(ternarize(model, "absmean")).rejects.toThrow("the model is ternary already");
    await expect(ternarize(make({ variant: "full" }), "int8")).rejects.toThrow('"int8" is no ternary quantizer');
    await expect(ternarize(make({ variant: "full" }), "int9")).rejects.toThrow('unknown weight quantizer "int9"');
  });
});

describe("a temperature", () => {
  test("is the best of many that are tried, and changes the logits by its factor alone", async () => {
    const run = smallRun({ steps: 40 });
    await runTraining(run);
    const { model } = run;
    const sample = takeSample(model, smallText(), sizes);
    const lossAt = (T: number) =>
      atTemperature(model, T, async () => lossOf(await scoreSample(model, sample)).lossNats);
    const found = await fitTemperature(model, sample);
    const tried = Array.from({ length: 41 }, (_, i) => 4 ** ((i - 20) / 20));
    const losses: number[] = [];
    for (const T of tried) losses.push(await lossAt(T));
    const best = tried[losses.indexOf(Math.min(...losses))];
    // The grid's step is 4^(1/20) = 1.07.
    expect(best).toBeGreaterThan(tried[0]);
    expect(best).toBeLessThan(tried[40]);
    expect(Math.abs(Math.log(found / best))).toBeLessThan(0.07);
    expect(await lossAt(found)).toBeLessThanOrEqual(Math.min(...losses) + 1e-6);
    const batch = { tokens: sample.tokens(0), batch: 1, length: 8 };
    const logitsOf = () => model.runtime.readFloats(model.logits(batch));
    const before = await logitsOf();
    const after = await atTemperature(model, 2, logitsOf);
    for (const [i, value] of after.entries()) expect(value).toBeCloseTo(before[i] / 2, 5);
    expect(await logitsOf()).toEqual(before);
  });
});

describe("least-squares scales", () => {
  test("have the least error of many that are tried", async () => {
    const model = make();
    const [first] = await leastSquaresScales(model);
    const layer = model.linearLayers[0];
    const w = await model.runtime.readFloats(layer.weight.tensor);
    const matrix = (await matrixOf(model, layer.weight)) as { codes: Uint8Array; scale: number };
    const errorOf = (s: number) => w.reduce((sum, x, i) => sum + (x - s * (matrix.codes[i] - 1)) ** 2, 0);
    expect(first).toMatchObject({ layer: layer.name, scale: matrix.scale });
    for (let factor = 0.9; factor <= 1.1; factor += 0.01)
      expect(errorOf(first.leastSquares)).toBeLessThanOrEqual(errorOf(first.leastSquares * factor) + 1e-6);
    const signal = w.reduce((sum, x) => sum + x * x, 0);
    expect(first.sqnrDb).toBeCloseTo(10 * Math.log10(signal / errorOf(matrix.scale)), 3);
    // Gaussian weights: 5.79 dB by absmean, 6.72 dB with the best scale, by numerical integration.
    expect(Math.abs(first.sqnrDb! - 5.79)).toBeLessThan(0.4);
    expect(Math.abs(first.leastSquaresSqnrDb! - 6.72)).toBeLessThan(0.4);
  });

  test("are the model's scales behind withScales, its trits unchanged, also written as a folder and read back", async () => {
    const model = make();
    const scales = await leastSquaresScales(model);
    const made = await withScales(model, scales);
    const folder = join(temporaryFolder(), "scaled");
    await saveModelFolder(folder, made, null);
    const { model: back } = await loadModel(folder, new Runtime(createReferenceBackend()));
    for (const one of [made, back])
      for (const [i, { weight }] of one.linearLayers.entries()) {
        const now = (await matrixOf(one, weight)) as { codes: Uint8Array; scale: number };
        const was = (await matrixOf(model, model.linearLayers[i].weight)) as { codes: Uint8Array };
        expect(now.scale).toBe(scales[i].leastSquares);
        expect(now.codes).toEqual(was.codes);
      }
  });
});
