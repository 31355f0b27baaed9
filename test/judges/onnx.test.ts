// ONNX exports, judged by onnxruntime (onnxruntime-node): it loads them, and its logits are held to ours and to a float64
// forward written for these tests (support/float64.ts).
//
// What can be asked. Let u = 2^-24. Up to a BitLinear's input only float operations happen; its codes are integers, and
// codes that are the same make the same integer product, so that nothing but the scale's error (max|x|) goes on: errors
// do not grow with K. At these sizes (rows of at most 24, 16 keys) an RMSNorm adds at most (24 / 2 + 4) u of the row's
// largest element in whatever order it sums, attention (8 / 2 + 16 + 8) u, all else a few u: with two blocks of two inputs
// each, below 100 u at every input and 120 u at the head's, which adds 16 u of its own. So:
//
//   margin   a code is the same for certain if 127 · 100 u = 7.6e-4 does not reach its half; rounding is never so unlucky
//            throughout, so that 2e-4 (26 u of every row's largest) is asked for: with it no code differed here
//   bound    at tokens all of whose predecessors, and who themselves, keep that margin: |logit - exact| <= 136 u · size,
//            size = max|n| · sum |E| of the head's row
//
// At other tokens a code may be off by one, as it may between two instruction sets of ours; there, only that logits stay
// near is asked. Most tokens must keep the margin, or the check would be empty.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type Backend, createBackend } from "../../src/backends/index.ts";
import { type SaveOnnxOptions, saveOnnx } from "../../src/exchange/index.ts";
import { type ModelConfig, presets, Transformer } from "../../src/model/index.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { integers } from "../support/random.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { exactForward, weightsOf } from "./support/float64.ts";
import { openOnnx, testOnnx } from "./support/onnxruntime.ts";

const u = 2 ** -24;
const margin = 2e-4;
const bound = 136 * u;

const small: ModelConfig = {
  ...presets.tiny,
  vocabSize: 40,
  width: 16,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 24,
  contextLength: 16,
  initStd: 0.3,
};
const batch = 16;
const length = 16;

let backend: Backend;
beforeAll(async () => {
  backend = await createBackend({ backend: "auto" });
});
afterAll(() => backend.close());

/** Exports, runs, compares; how many tokens were held to the bound, and the worst of all in its units. */
async function judge(changes: Partial<ModelConfig>, options: SaveOnnxOptions, { optimize = true, seed = 1 } = {}) {
  const config = { ...small, ...changes };
  const model = new Transformer(new Runtime(backend), config, seed);
  const path = join(temporaryFolder(), "model.onnx");
  const files = await saveOnnx(path, model, null, options);
  const session = await openOnnx(path, { optimize });
  const tokens = integers(batch * length, seed + 7, config.vocabSize);
  const theirs = await session.logits(tokens, batch);
  expect(theirs.dims).toEqual([batch, length, config.vocabSize]);
  const ours = await model.runtime.readFloats(model.logits({ tokens, batch, length }));
  const weights = await weightsOf(model);
  const V = config.vocabSize;
  let [held, worst, loosest, largest] = [0, 0, 0, 0];
  for (let b = 0; b < batch; b++) {
    const { logits, margins, sizes } = exactForward(config, weights, tokens.subarray(b * length, (b + 1) * length));
    let safe = true;
    for (let t = 0; t < length; t++) {
      safe &&= margins[t] > margin;
      if (safe) held++;
      for (let v = 0; v < V; v++) {
        const i = t * V + v;
        const at = b * length * V + i;
        const off = Math.max(Math.abs(theirs.data[at] - logits[i]), Math.abs(ours[at] - logits[i]));
        largest = Math.max(largest, Math.abs(logits[i]));
        loosest = Math.max(loosest, Number.isNaN(off) ? Number.POSITIVE_INFINITY : off);
        if (safe) worst = Math.max(worst, off / sizes[i]);
      }
    }
  }
  model.dispose();
  process.stdout.write(
    `    ${held} of ${batch * length} tokens held to the bound, the worst at ${((100 * worst) / bound).toFixed(1)} % of it; of all, ${(loosest / largest).toExponential(1)} of the largest logit\n`,
  );
  expect(worst).toBeLessThan(bound);
  // One code of 127 off in a row, through the layers after it.
  expect(loosest / largest).toBeLessThan(0.05);
  return { held, files };
}

const kinds = [
  { weights: "packed", activation: "silu", tiedHead: true },
  { weights: "packed", activation: "relu2", tiedHead: false },
  { weights: "float", activation: "silu", tiedHead: false },
  { weights: "float", activation: "relu2", tiedHead: true },
  { weights: "packed", activation: "silu", tiedHead: false, subNorms: false },
] as const;

describe("a ternary model", () => {
  for (const { weights, ...changes } of kinds)
    testOnnx(
      `with weights ${weights}, ${changes.activation}, ${changes.tiedHead ? "tied" : "own"} head${"subNorms" in changes ? ", no sub-norms" : ""} has our logits`,
      async () => {
        const { held } = await judge(changes, { weights });
        expect(held).toBeGreaterThan((batch * length) / 3);
      },
    );

  testOnnx("has them node by node too, with no optimisation, and in an older opset", async () => {
    await judge({}, { opset: 21 }, { optimize: false, seed: 2 });
    await judge({}, { opset: 26 }, { optimize: false, seed: 2 });
  });

  testOnnx("has them with its weights in a file beside it, and with key heads of its own number", async () => {
    const { files } = await judge({ kvHeads: 4 }, { externalData: true }, { seed: 3 });
    expect(files).toHaveLength(2);
    await judge({ kvHeads: 1, ropeBase: 500000, weightScale: "clamp", weightEps: 1e-5 }, {}, { seed: 4 });
  });
});

describe("a full-precision model", () => {
  // No codes, so no margin. A product of K = 24 adds at most 24 u of sum |x| |w|, which exceeds what comes out of it by
  // cancellation; the bound is met with room all the same, so it is not widened.
  for (const changes of [
    { activation: "silu", tiedHead: true },
    { activation: "relu2", tiedHead: false },
  ] as const)
    testOnnx(`with ${changes.activation} has our logits at every token`, async () => {
      const { held } = await judge({ ...changes, variant: "full" }, {});
      expect(held).toBe(batch * length);
    });
});

describe("a model of mixed precision", () => {
  const judgeMixed = async (quantization: ModelConfig["quantization"], weights: "packed" | "float") => {
    const config = { ...small, width: 32, hiddenWidth: 64, quantization };
    const model = new Transformer(new Runtime(backend), config, 3);
    const path = join(temporaryFolder(), "mixed.onnx");
    await saveOnnx(path, model, null, { weights });
    const session = await openOnnx(path);
    const tokens = integers(batch * length, 11, config.vocabSize);
    const theirs = await session.logits(tokens, batch);
    const ours = await model.runtime.readFloats(model.logits({ tokens, batch, length }));
    const largest = ours.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    const V = config.vocabSize;
    const errors = Array.from({ length: batch * length }, (_, row) => {
      let worst = 0;
      for (let i = row * V; i < (row + 1) * V; i++)
        worst = Math.max(worst, Math.abs(theirs.data[i] - ours[i]) / largest);
      return worst;
    });
    model.dispose();
    return errors;
  };
  const overrides = [
    { layers: "*.down_proj", weights: "int8" },
    { layers: "layers.0.self_attn.*", weights: "none" },
  ];

  for (const weights of ["packed", "float"] as const) {
    // No input is rounded: float32 sums of at most 64 products in another order, two blocks of them.
    testOnnx(`with float inputs has our logits at every token (weights ${weights})`, async () => {
      const errors = await judgeMixed({ activations: "none", overrides }, weights);
      expect(Math.max(...errors)).toBeLessThan(300 * u);
    });

    // Where a code of an input is off by one, as it may be, logits differ more: at few tokens.
    testOnnx(
      `with ternary, int8 and float layers, and rounded inputs of each, has our logits (weights ${weights})`,
      async () => {
        const rounded = [
          ...overrides,
          { layers: "*.gate_proj", activations: "none" },
          { layers: "layers.1.self_attn.v_proj", weights: "none", activations: "absmax8" },
          { layers: "layers.1.mlp.down_proj", weights: "int8", activations: "absmax8" },
        ];
        const errors = await judgeMixed({ overrides: rounded }, weights);
        expect(errors.filter((error) => error < 300 * u).length).toBeGreaterThan((batch * length) / 2);
        expect(Math.max(...errors)).toBeLessThan(0.05);
      },
    );
  }
});

testOnnx("one token, and the whole context, are sizes as good as any; a token more is refused", async () => {
  const model = new Transformer(new Runtime(backend), small, 5);
  const path = join(temporaryFolder(), "model.onnx");
  await saveOnnx(path, model, null);
  const session = await openOnnx(path);
  for (const T of [1, 16]) expect((await session.logits(new Int32Array(T), 1)).dims).toEqual([1, T, 40]);
  await expect(session.logits(new Int32Array(17), 1)).rejects.toThrow();
  model.dispose();
});
