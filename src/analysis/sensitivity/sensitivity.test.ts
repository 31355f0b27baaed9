// Oracles: models made by hand whose answer is known (a layer that loses nothing, a layer with an outlier); the definitions,
// from losses of models that are built with the quantizers in their config; finite differences for the gradient scores.
import { describe, expect, test } from "vitest";
import { smallModel, smallRun, smallText } from "../../../test/support/small-run.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { type ModelConfig, requantize, Transformer, withQuantization } from "../../model/index.ts";
import { Runtime } from "../../tensor/index.ts";
import { runTraining } from "../../train/trainer.ts";
import { lossOf, scoreSample, takeSample } from "../sample.ts";
import { quantizationChange, scoreByGradients } from "./gradients.ts";
import { measureSensitivity, planBudget } from "./index.ts";
import { ranksOf, spearman } from "./ranks.ts";

const shape: ModelConfig = { ...smallModel, width: 32, hiddenWidth: 64 };
const make = (changes: Partial<ModelConfig> = {}, seed = 3) =>
  new Transformer(new Runtime(createReferenceBackend()), { ...shape, initStd: 0.3, ...changes }, seed);
const sizes = { maxTokens: 40, batch: 8 };
const lossOfModel = async (model: Transformer) =>
  lossOf(await scoreSample(model, takeSample(model, smallText(), sizes))).lossNats;

async function change(model: Transformer, name: string, values: (w: Float32Array) => Float32Array): Promise<void> {
  const { weight } = model.byWeight.get(`model.${name}.weight`)!;
  model.runtime.backend.upload(weight.tensor.buffer, values(await model.runtime.readFloats(weight.tensor)));
  weight.changed();
}

describe("each measure", () => {
  test("is 0 for a layer that loses nothing", async () => {
    // Float inputs, so that weights alone are rounded. ±0.25 throughout is its own absmean.
    const model = make({ weightScale: "clamp", weightEps: 1e-5, quantization: { activations: "none" } });
    await change(model, "layers.0.mlp.up_proj", (w) => w.map((value) => (value < 0 ? -0.25 : 0.25)));
    const { rows, float, quantized, rise } = await measureSensitivity(model, smallText(), sizes);
    const lossless = rows.find(({ name }) => name === "layers.0.mlp.up_proj")!;
    for (const { value } of Object.values(lossless.scores)) expect(Math.abs(value)).toBeLessThan(1e-9);
    expect(rows.filter(({ scores }) => Math.abs(scores.fisher!.value) > 1e-9)).toHaveLength(13);
    expect(rise.value).toBeCloseTo(quantized.lossNats - float.lossNats, 12);
  });

  test("ranks a layer first that an outlier channel was moved into, which changes nothing in float", async () => {
    const run = smallRun({ steps: 60, modelConfig: { variant: "full", width: 32, hiddenWidth: 64 } });
    await runTraining(run);
    const { model } = run;
    const options = { ...sizes, measures: ["leave-one-out", "fisher"] as const };
    const before = await measureSensitivity(model, smallText(), options);
    // One key/value head of width 16 for two query heads: value 5 by 1/64, the output's columns 5 and 21 by 64.
    const output = "layers.0.self_attn.o_proj";
    await change(model, "layers.0.self_attn.v_proj", (w) => w.map((x, i) => (Math.floor(i / 32) === 5 ? x / 64 : x)));
    await change(model, output, (w) => w.map((x, i) => (i % 16 === 5 ? 64 * x : x)));
    const { rows, float } = await measureSensitivity(model, smallText(), options);
    expect(float.lossNats).toBeCloseTo(before.float.lossNats, 5);
    expect(rows[0]).toMatchObject({ name: output, scores: { "leave-one-out": { rank: 1 } } });
    const alone = before.rows.find(({ name }) => name === output)!.scores["leave-one-out"]!.value;
    expect(rows[0].scores["leave-one-out"]!.value).toBeGreaterThan(2 * alone);
  });

  test("is the difference of the losses of models whose configs say so", async () => {
    const model = make();
    const { rows, float, quantized } = await measureSensitivity(model, smallText(), sizes);
    expect(await lossOfModel(model)).toBe(quantized.lossNats);
    const variant = async (overrides: { layers: string; weights: string; activations?: string }[]) => {
      const made = await requantize(model, withQuantization(model.config, { overrides }));
      return lossOfModel(made);
    };
    const none = { layers: "*", weights: "none", activations: "none" };
    expect(await variant([none])).toBeCloseTo(float.lossNats, 6);
    const name = "layers.1.self_attn.q_proj";
    const { scores } = rows.find((row) => row.name === name)!;
    const alone = await variant([none, { layers: name, weights: "absmean", activations: "absmax8" }]);
    expect(scores["leave-one-out"]!.value).toBeCloseTo(alone - float.lossNats, 6);
    const back = await variant([{ ...none, layers: name }]);
    expect(scores["put-one-back"]!.value).toBeCloseTo(quantized.lossNats - back, 6);
  });

  test("by gradients: the derivative along the change of the weights, and its squares", async () => {
    const model = make();
    const layer = model.linearLayers[9];
    const sample = takeSample(model, smallText(), sizes);
    const scores = (await scoreByGradients(model, [layer], sample)).get(layer.name)!;
    const step = await quantizationChange(model, layer);
    const w = await model.runtime.readFloats(layer.weight.tensor);
    const lossAt = async (t: number) => {
      model.runtime.backend.upload(
        layer.weight.tensor.buffer,
        w.map((value, i) => value + t * step[i]),
      );
      return (await scoreSample(model, sample)).map(({ nats, tokens }) => nats / tokens);
    };
    model.setLambda(0);
    const h = 2 ** -7;
    const [up, down] = [await lossAt(h), await lossAt(-h)];
    await lossAt(0);
    model.setLambda(1);
    // Bound: float32 losses near 3 differ by 2^-22; over 2h = 2^-6 that is 2^-16 · 4.
    for (const [i, value] of scores.firstOrder.entries()) expect(value).toBeCloseTo((up[i] - down[i]) / (2 * h), 3);
    // Fisher: by its definition, from the gradient of one sequence.
    model.setLambda(0);
    const input = { tokens: sample.tokens(0), batch: 1, length: sample.sequence };
    model.runtime.gradient(() => model.loss(input, sample.targets(0)).loss).dispose();
    const g = await model.runtime.readFloats(layer.weight.gradient);
    expect(scores.fisher[0]).toBeCloseTo(
      g.reduce((sum, value, i) => sum + (value * step[i]) ** 2, 0),
      8,
    );
  });

  test("a sequence's scores are those of the whole: mean and standard error over sequences", async () => {
    const model = make();
    const { rows } = await measureSensitivity(model, smallText(), { ...sizes, measures: ["fisher"] });
    const layer = model.byWeight.get(`${rows[0].layers[0]}.weight`)!;
    const { fisher } = (await scoreByGradients(model, [layer], takeSample(model, smallText(), sizes))).get(layer.name)!;
    const mean = fisher.reduce((a, b) => a + b) / fisher.length;
    const variance = fisher.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (fisher.length - 1);
    expect(rows[0].scores.fisher!.value).toBeCloseTo(mean, 12);
    expect(rows[0].scores.fisher!.standardError).toBeCloseTo(Math.sqrt(variance / fisher.length), 12);
  });
});

test("measuring leaves the model as it was: weights, lambda, what is frozen, no gradients", async () => {
  const model = make();
  const before = await lossOfModel(model);
  model.parameters[0].setFrozen(true);
  await measureSensitivity(model, smallText(), sizes);
  await planBudget(model, smallText(), { ...sizes, bytes: 1e9 });
  expect(await lossOfModel(model)).toBe(before);
  expect(model.parameters.map(({ frozen }) => frozen)).toEqual(model.parameters.map((_, i) => i === 0));
  expect(model.parameters.some(({ hasGradient }) => hasGradient)).toBe(false);
  expect(model.linearLayers.every(({ lambda }) => lambda === 1)).toBe(true);
});

describe("what is measured", () => {
  test("groups: blocks and roles, with the sums of their layers' weights", async () => {
    const model = make();
    const of = async (group: "block" | "role") => {
      const { rows } = await measureSensitivity(model, smallText(), { ...sizes, group, measures: ["leave-one-out"] });
      return rows.map(({ name, layers, weights }) => [name, layers.length, weights]).sort();
    };
    const weights = model.linearLayers.slice(0, 7).reduce((sum, { weight }) => sum + weight.size, 0);
    expect(await of("block")).toEqual([
      ["layers.0", 7, weights],
      ["layers.1", 7, weights],
    ]);
    expect((await of("role")).map(([name]) => name)).toEqual([
      "down_proj",
      "gate_proj",
      "k_proj",
      "o_proj",
      "q_proj",
      "up_proj",
      "v_proj",
    ]);
  });

  test("a full-precision model, as if it had a quantizer; an estimator does not touch the gradients", async () => {
    const full = make({ variant: "full" });
    const result = await measureSensitivity(full, smallText(), sizes);
    expect(result).toMatchObject({ asIf: "absmean", plan: "ternary" });
    expect(result.float.lossNats).toBeCloseTo(await lossOfModel(full), 6);
    expect(await measureSensitivity(full, smallText(), { ...sizes, quantizer: "int8" })).toMatchObject({
      asIf: "int8",
    });
    const [plain, clipped] = [make(), make({ quantization: { estimator: { name: "clipped", limit: 0.1 } } })];
    const scoresOf = async (model: Transformer) =>
      (await measureSensitivity(model, smallText(), { ...sizes, measures: ["first-order"] })).rows;
    expect(await scoresOf(clipped)).toEqual(await scoresOf(plain));
  });

  test("only the layers that quantize something, in a model of mixed precision", async () => {
    const model = make({ quantization: { overrides: [{ layers: "layers.0.*", weights: "none" }] } });
    const { rows } = await measureSensitivity(model, smallText(), { ...sizes, measures: ["put-one-back"] });
    expect(rows.map(({ name }) => name).every((name) => name.startsWith("layers.1."))).toBe(true);
    expect(rows).toHaveLength(7);
  });

  test("refuses a short text, weights of a packed file, and measures, quantizers and groups that there are not", async () => {
    const model = make();
    await expect(measureSensitivity(model, smallText(5))).rejects.toThrow(
      "a sequence of 8 tokens needs 9 tokens of text, but the data have 5",
    );
    await expect(measureSensitivity(model, smallText(), { measures: ["trace" as never] })).rejects.toThrow(
      'unknown measure "trace"; measures are: leave-one-out',
    );
    await expect(measureSensitivity(model, smallText(), { quantizer: "int9" })).rejects.toThrow(
      'unknown weight quantizer "int9"',
    );
    await change(model, "layers.0.mlp.up_proj", (w) => w.map((_, i) => [0, 0.3, -0.3][i % 3]));
    await expect(measureSensitivity(model, smallText())).rejects.toThrow(
      /layer model\.layers\.0\.mlp\.up_proj: its float weights are not there, only the ternary ones of a packed file/,
    );
  });
});

describe("a budget", () => {
  /** Ternarizing hurts this one: float weights that fit the text come from training; these come from a larger spread. */
  const model = make({ variant: "full" }, 5);
  const withoutEnd = planBudget(model, smallText(), { ...sizes, bytes: 1e9 });

  test("of bytes: within it, the loss that was measured is the loss of the overrides' model, to the bit", async () => {
    const least = (await withoutEnd).ternaryBytes;
    const bytes = least + 9000;
    const plan = await planBudget(model, smallText(), { ...sizes, bytes });
    expect(plan.bytes).toBeLessThanOrEqual(bytes);
    expect(plan.bytes).toBe(least + plan.raised.reduce((sum, { extraBytes }) => sum + extraBytes, 0));
    expect(plan.raised.length).toBeGreaterThan(0);
    expect(plan.quantization.weights).toBe("absmean");
    const made = await requantize(model, withQuantization(model.config, plan.quantization));
    expect(await lossOfModel(made)).toBe(plan.loss.lossNats);
    const kinds = new Map(made.plan.layers.map(({ name, weights }) => [name, weights?.quantizer.name ?? "none"]));
    for (const { layer, weights } of plan.raised) expect(kinds.get(layer)).toBe(weights);
  });

  test("bytes are those of the ladder: 2 bits and a scale, Q8_0, float16", async () => {
    const { ternaryBytes, raised } = await withoutEnd;
    const linear = model.linearLayers.reduce((sum, { weight }) => sum + weight.size / 4 + 4, 0);
    const others = 2 * 17 * 32 + 4 * (2 * 2 * 32 + 32);
    expect(ternaryBytes).toBe(linear + others);
    for (const { layer, weights, extraBytes } of raised) {
      const { size } = model.byWeight.get(`${layer}.weight`)!.weight;
      // Blocks of 32: codes and a float16 scale.
      const own = size * ({ int8: 34 / 32, int4: 18 / 32 }[weights] ?? 2);
      expect(extraBytes).toBe(own - (size / 4 + 4));
    }
  });

  test("of loss: met, or refused with the least that there is", async () => {
    const all = await withoutEnd;
    const wanted = (all.loss.lossNats + all.ternaryLoss.lossNats) / 2;
    const plan = await planBudget(model, smallText(), { ...sizes, lossNats: wanted });
    expect(plan.loss.lossNats).toBeLessThanOrEqual(wanted);
    expect(plan.bytes).toBeLessThan(all.bytes);
    await expect(planBudget(model, smallText(), { ...sizes, lossNats: 0.01 })).rejects.toThrow(
      /a loss of 0\.01 nats per token cannot be met: the least that was found is \d\.\d{4}, in \d+ bytes/,
    );
    await expect(planBudget(model, smallText(), { ...sizes, bytes: 1000 })).rejects.toThrow(
      /a budget of 1000 bytes cannot be met: with every layer ternary the model takes \d+, which is the least/,
    );
    await expect(planBudget(model, smallText(), sizes)).rejects.toThrow("name one of them");
  });

  test("a layer whose width int8 does not fit goes from ternary to float", async () => {
    const narrow = make({ variant: "full", width: 16, hiddenWidth: 24 });
    const { raised } = await planBudget(narrow, smallText(), { ...sizes, bytes: 1e9 });
    expect(new Set(raised.map(({ weights }) => weights))).toEqual(new Set(["none"]));
  });
});

test("ranks, and Spearman's correlation, with equal values", () => {
  expect(ranksOf([3, 1, 3, 2])).toEqual([1, 4, 1, 3]);
  expect(spearman([1, 2, 3, 4], [10, 20, 30, 40])).toBeCloseTo(1, 12);
  expect(spearman([1, 2, 3, 4], [4, 3, 2, 1])).toBeCloseTo(-1, 12);
  // scipy.stats.spearmanr([1, 2, 2, 5], [1, 3, 2, 2]).statistic
  expect(spearman([1, 2, 2, 5], [1, 3, 2, 2])).toBeCloseTo(0.5, 12);
  expect(spearman([1, 2], [2, 1])).toBeNull();
  expect(spearman([1, 1, 1], [2, 1, 3])).toBeNull();
});
