// Models whose layers multiply in different ways. Oracle: the training-time model, whose layers are held to their definitions
// in nn/linear. Bound: products in floats are summed in another order, 1e-4 of logits of about 1; where an input behind such a
// product is rounded to int8, a code may tip at a tie and move a logit by some 1/127 of a term, 2e-2. Without tips it is 1e-5.
import { expect, test } from "vitest";
import { forEachBackend } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { integers } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { type ModelConfig, presets, Transformer } from "../../model/index.ts";
import { activationQuantizers } from "../../nn/index.ts";
import { rampActivations } from "../../ops/quant-ramp/index.ts";
import { Runtime } from "../../tensor/index.ts";
import type { Engine } from "../engine.ts";
import { packModel } from "./engine.ts";
import { runsPacked } from "./options.ts";

const V = 50;
const config: ModelConfig = {
  ...presets.arithmetic,
  vocabSize: V,
  width: 64,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 96,
  contextLength: 60,
  initStd: 0.1,
};
const tokens = integers(40, 3, V);

// As an extension's would be: absmax8's rule, but not its integer kernels; and one without a C++ side.
activationQuantizers.register({ name: "own-rounding", codes: null, packed: true, op: rampActivations });
activationQuantizers.register({ name: "host-rounding", codes: null, op: rampActivations });

const mixtures: Record<string, ModelConfig["quantization"]> = {
  "down projections in int8": { overrides: [{ layers: "*.down_proj", weights: "int8" }] },
  "the first block in floats": { overrides: [{ layers: "layers.0.*", weights: "none" }] },
  "one of q, k and v, and one of gate and up": {
    overrides: [
      { layers: "*.k_proj", weights: "none" },
      { layers: "*.gate_proj", weights: "int8" },
    ],
  },
  "a key that reads its input in floats": { overrides: [{ layers: "*.0.*.k_proj", activations: "none" }] },
  "ternary weights, inputs in four bits": { activations: "absmax4" },
  "one of q, k and v in four bits, and float weights with such inputs": {
    overrides: [
      { layers: "*.k_proj", activations: "absmax4" },
      { layers: "*.0.mlp.*", weights: "none", activations: "absmax4" },
    ],
  },
  "ternary weights, float inputs": { activations: "none" },
  "ternary weights, inputs rounded by a quantizer of one's own": { activations: "own-rounding" },
  "float weights, int8 inputs": { weights: "none", activations: "absmax8" },
};

/** A prompt of 11 tokens, two more, then one by one. */
async function stepwise(engine: Engine): Promise<Float32Array> {
  const sequence = engine.createSequence();
  const all = new Float32Array(tokens.length * V);
  for (let at = 0; at < tokens.length; ) {
    const to = at === 0 ? 11 : at === 11 ? 13 : at + 1;
    const [logits] = await engine.forward([{ sequence, tokens: tokens.subarray(at, to), logits: "all" }]);
    all.set(logits, at * V);
    at = to;
  }
  sequence.dispose();
  return all;
}

const boundOf = (quantization: ModelConfig["quantization"]) =>
  quantization?.activations === "none" ? { abs: 1e-4, rel: 1e-4 } : { abs: 2e-2 };

forEachBackend((backend) => {
  for (const [name, quantization] of Object.entries(mixtures))
    for (const variant of ["bitnet", "full"] as const)
      test(`${name}, ${variant}: the packed engine has the trained model's logits`, async () => {
        const runtime = new Runtime(await backend.get());
        const model = new Transformer(runtime, { ...config, variant, quantization }, 5);
        const logits = model.logits({ tokens, batch: 1, length: tokens.length });
        const wanted = await runtime.readFloats(logits);
        logits.dispose();
        const engine = await packModel(model);
        try {
          expectClose(await stepwise(engine), wanted, boundOf(quantization), "step by step");
          const sequence = engine.createSequence();
          const [whole] = await engine.forward([{ sequence, tokens, logits: "all" }]);
          expectClose(whole, wanted, boundOf(quantization), "at once");
          const again = engine.createSequence();
          const [last] = await engine.forward([{ sequence: again, tokens, logits: "last" }]);
          expectClose(last, wanted.subarray(wanted.length - V), boundOf(quantization), "the last token's alone");
          expect(engine.report.bytesForToken).toBeGreaterThan(0);
        } finally {
          engine.dispose();
          model.dispose();
        }
      });
});

test("refuses by name a layer whose activation quantizer has no C++ side", async () => {
  const quantization = { overrides: [{ layers: "*.1.*.k_proj", activations: "host-rounding" }] };
  const model = new Transformer(new Runtime(createReferenceBackend()), { ...config, quantization }, 5);
  await expect(packModel(model)).rejects.toThrow(
    'packed engine: layer model.layers.1.self_attn.k_proj rounds its input by "host-rounding", which has no C++ side here; use the float engine (--engine float)',
  );
  expect(runsPacked(model.config)).toBe(false);
  expect(runsPacked(config)).toBe(true);
});
