// Oracles: ln V for a model that knows nothing; the model without a cache for the one with it; a document alone for one
// behind another; the backend's count of bytes. PyTorch's values are in test/parity.
import { afterAll, describe, expect, test } from "vitest";
import { expectClose } from "../../test/support/expect-close.ts";
import { createBackend } from "../backends/index.ts";
import { createReferenceBackend } from "../backends/reference.ts";
import { createRandom } from "../platform/random.ts";
import { Runtime } from "../tensor/index.ts";
import { type ModelConfig, modelConfigSchema, presetConfig, presets, Transformer } from "./index.ts";

const best = await createBackend({ backend: "auto", threads: 2 });
afterAll(() => best.close());

const small: ModelConfig = {
  ...presets.tiny,
  vocabSize: 50,
  width: 32,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 48,
  contextLength: 16,
};

function randomIds(n: number, vocabSize: number, seed = 1): Int32Array {
  const random = createRandom(seed);
  return Int32Array.from({ length: n }, () => random.integer(vocabSize));
}

describe("a new model's loss is ln V, and half the variance of its logits, within 2 %", () => {
  for (const preset of ["arithmetic", "tiny", "nano", "95m"] as const)
    for (const variant of ["bitnet", "full"] as const)
      test(`${preset}, ${variant}`, async () => {
        const whole = presetConfig(preset, variant);
        // The larger presets' widths, one of their layers and a quarter of their vocabulary. The final norm gives the head rows
        // of the same size whatever stood before them, so depth changes nothing in this loss; the formula says what V does. A
        // wrong scale of the head, of the embedding or of a norm is seen all the same, in a second.
        const config = whole.vocabSize > 8000 ? { ...whole, layers: 1, vocabSize: 8000 } : whole;
        const runtime = new Runtime(best);
        const model = new Transformer(runtime, config, 3);
        // Enough tokens that chance is a small part of the 2 %.
        const [length, rows] = [64, preset === "arithmetic" ? 32 : 4];
        const batch = { tokens: randomIds(rows * length, config.vocabSize), batch: rows, length };
        const { loss, tokenLoss } = model.loss(batch, randomIds(rows * length, config.vocabSize, 2));
        const [value] = await runtime.readFloats(loss);
        for (const t of [loss, tokenLoss]) t.dispose();
        model.dispose();
        // E[ln sum exp z] - E[z] for many z of N(0, s²) is ln V + s²/2; rows of length sqrt(C) times weights of initStd.
        const expected = Math.log(config.vocabSize) + (config.width * config.initStd ** 2) / 2;
        expect(Math.abs(value / expected - 1)).toBeLessThan(0.02);
      });
});

for (const variant of ["bitnet", "full"] as const)
  describe(`a small ${variant} model`, () => {
    const setUp = () => {
      const runtime = new Runtime(createReferenceBackend());
      return { runtime, model: new Transformer(runtime, { ...small, variant }, 1) };
    };

    test("gives with a cache, piece by piece, the logits that it gives at once", async () => {
      const { runtime, model } = setUp();
      const tokens = randomIds(12, 50);
      const whole = await runtime.readFloats(model.logits({ tokens, batch: 1, length: 12 }));
      const cache = model.createCache(1, 16);
      const pieces: number[] = [];
      for (const [from, to] of [
        [0, 5],
        [5, 6],
        [6, 12],
      ]) {
        const piece = { tokens: tokens.slice(from, to), batch: 1, length: to - from };
        pieces.push(...(await runtime.readFloats(model.logits(piece, cache))));
      }
      expect(cache.length).toBe(12);
      // The reference attends in one order whatever the piece, so only the last bits of a product may differ.
      expectClose(pieces, whole, { abs: 1e-5 });
      const last = await runtime.readFloats(model.lastLogits({ tokens, batch: 1, length: 12 }));
      expectClose(last, whole.slice(11 * 50), { abs: 1e-6 });
    });

    test("attends within a document only, where document starts are given", async () => {
      const { runtime, model } = setUp();
      const document = randomIds(6, 50, 7);
      const packed = new Int32Array([...randomIds(5, 50, 8), ...document]);
      const documentStart = Int32Array.from(packed, (_, t) => (t < 5 ? 0 : 5));
      const together = await runtime.readFloats(model.logits({ tokens: packed, batch: 1, length: 11, documentStart }));
      // Rotary attention depends on distances alone, so the document's place does not matter: up to rounding of the
      // angles, and for bitnet of what that does to int8 codes near a tie.
      const alone = await runtime.readFloats(model.logits({ tokens: document, batch: 1, length: 6 }));
      expectClose(together.slice(5 * 50), alone, { abs: variant === "bitnet" ? 3e-2 : 1e-5 });
      const unmasked = await runtime.readFloats(model.logits({ tokens: packed, batch: 1, length: 11 }));
      expect(() => expectClose(unmasked.slice(5 * 50), alone, { abs: 3e-2 })).toThrow("off by");
    });

    test("frees all that a step made: memory is flat", () => {
      const { runtime, model } = setUp();
      const live: number[] = [];
      for (let step = 0; step < 4; step++) {
        runtime
          .gradient(() => model.loss({ tokens: randomIds(16, 50), batch: 2, length: 8 }, randomIds(16, 50)).loss)
          .dispose();
        for (const p of model.parameters) {
          p.changed();
          p.clearGradient();
        }
        live.push(runtime.backend.stats.liveBytes);
      }
      expect(live.slice(1)).toEqual([live[0], live[0], live[0]]);
      model.dispose();
      expect(runtime.backend.stats.liveBytes).toBe(0);
    });

    test("refuses tokens outside the vocabulary and sequences longer than the context, before any kernel runs", () => {
      const { model } = setUp();
      const run = (tokens: Int32Array) => model.logits({ tokens, batch: 1, length: tokens.length });
      expect(() => run(new Int32Array([1, 50]))).toThrow(
        "model: token 50 is outside the vocabulary of 50; was the text encoded with another tokenizer?",
      );
      expect(() => run(new Int32Array(17))).toThrow(
        "model: 17 tokens do not fit the context of 16; use a shorter sequence",
      );
      expect(() => model.loss({ tokens: new Int32Array(2), batch: 1, length: 2 }, new Int32Array([1, -1]))).toThrow(
        "target -1",
      );
      expect(() => model.createCache(1, 17)).toThrow("the model's context is 16");
    });
  });

test("the two variants of a preset differ by their sub-norms alone", () => {
  const runtime = new Runtime(createReferenceBackend());
  const names = (variant: "bitnet" | "full") => {
    const model = new Transformer(runtime, { ...small, variant }, 1);
    const list = model.parameters.map((p) => `${p.name} ${p.shape}`);
    model.dispose();
    return list;
  };
  const full = new Set(names("full"));
  const extra = names("bitnet").filter((name) => !full.has(name));
  expect(extra).toHaveLength(2 * small.layers);
  expect(extra.every((name) => name.includes("sub_norm"))).toBe(true);
});

test("weights quantised every n updates change every n updates", async () => {
  const runtime = new Runtime(createReferenceBackend());
  const model = new Transformer(runtime, { ...small, requantizeEvery: 2 }, 1);
  const [layer] = model.ternaryLayers;
  const first = layer.quantized(runtime);
  layer.weight.changed();
  expect(layer.quantized(runtime)).toBe(first);
  layer.weight.changed();
  expect(layer.quantized(runtime)).not.toBe(first);
});

test("an unknown preset is refused with the ones there are", () => {
  expect(() => presetConfig("tinny")).toThrow(/unknown preset "tinny"; presets are: arithmetic, tiny, nano/);
});

test("every preset is a valid config", () => {
  for (const [name, config] of Object.entries(presets))
    expect(modelConfigSchema.safeParse(config).success, name).toBe(true);
});

test("a config whose heads do not divide its width is refused", () => {
  const result = modelConfigSchema.safeParse({ ...small, heads: 5 });
  expect(result.error?.issues[0].message).toBe("width must be a multiple of heads");
});
