// Inputs rounded with one fixed scale (static8) through config, engines and formats. Oracles: the definition in float64 for a
// layer's output; the float engine for the packed one; for formats the model that was written, to the bit, or a refusal by name.
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { smallModel } from "../../../test/support/small-run.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { createBackend, createReferenceBackend } from "../../backends/index.ts";
import { saveModelFolder } from "../../checkpoint/index.ts";
import { exportGguf, exportHuggingFace, loadModel, saveCompact, saveOnnx } from "../../exchange/index.ts";
import { modelConfigSchema, planModel, type QuantizationConfig, Transformer } from "../../model/index.ts";
import { Runtime } from "../../tensor/index.ts";
import { trainBpe, trainCharacters } from "../../tokenizer/index.ts";
import { TransformerEngine } from "../transformer-engine.ts";
import { packModel } from "./engine.ts";

const { tokenizer } = await trainCharacters(["abcdefghijklmnop"]);
const { tokenizer: bytes } = await trainBpe(["the cat"], { vocabSize: 260 });
const tokens = Int32Array.from([1, 5, 2, 16, 0, 9]);
const shape = { ...smallModel, width: 32, hiddenWidth: 64, initStd: 0.2 };
const quantization: QuantizationConfig = {
  overrides: [
    { layers: "*.down_proj", activations: { name: "static8", scale: 0.03 } },
    { layers: "layers.0.self_attn.q_proj", activations: { name: "static8", scale: 0.02 } },
    { layers: "layers.1.*", weights: "none", activations: { name: "static8", scale: 0.05 } },
  ],
};
const make = (choices: QuantizationConfig = quantization) =>
  new Transformer(new Runtime(createReferenceBackend()), { ...shape, quantization: choices }, 11);
const logitsOf = async (model: Transformer) =>
  model.runtime.readFloats(model.logits({ tokens, batch: 1, length: tokens.length }));

test("the scale counts: another gives other logits, and without one the config is refused", async () => {
  const other = structuredClone(quantization);
  other.overrides![0].activations = { name: "static8", scale: 0.06 };
  expect(await logitsOf(make(other))).not.toEqual(await logitsOf(make()));
  for (const choice of [
    "static8",
    { name: "static8" },
    { name: "static8", scale: 0 },
    { name: "static8", scale: 1, x: 1 },
  ]) {
    const { success, error } = modelConfigSchema.safeParse({ ...shape, quantization: { activations: choice } });
    expect(success).toBe(false);
    expect(error!.issues[0].message).toContain('activation quantizer "static8": ');
  }
});

test("each layer has the scale that its pattern says", () => {
  const settings = planModel({ ...shape, quantization }).layers.map(({ activations }) => activations?.settings);
  expect(settings.slice(0, 7)).toEqual([{ scale: 0.02 }, ...new Array(5).fill(undefined), { scale: 0.03 }]);
  expect(settings.slice(7)).toEqual(new Array(7).fill({ scale: 0.05 }));
});

test("both engines give the same logits", async () => {
  const model = make();
  const native = await createBackend({ backend: "auto", threads: 1 });
  const copy = new Transformer(new Runtime(native), model.config, 11);
  const packed = await packModel(copy);
  const float = new TransformerEngine(model);
  const ids = [...tokens];
  const run = async (engine: typeof packed | TransformerEngine) => {
    const sequence = engine.createSequence();
    const [logits] = await engine.forward([{ sequence, tokens: ids, logits: "all" }]);
    return [...logits];
  };
  const [a, b] = [await run(packed), await run(float)];
  for (const [i, value] of a.entries()) expect(value).toBeCloseTo(b[i], 3);
  packed.dispose();
  native.close();
});

describe("formats", () => {
  test("a checkpoint and a compact file keep the scales: the same logits, to the bit", async () => {
    const model = make();
    const folder = temporaryFolder();
    await saveModelFolder(join(folder, "model"), model, tokenizer);
    await saveCompact(join(folder, "model.bitnet"), model, tokenizer, {
      types: { embedding: "f32", head: "f32", norm: "f32", linear: "f32" },
    });
    for (const name of ["model", "model.bitnet"]) {
      const { model: back } = await loadModel(join(folder, name), new Runtime(createReferenceBackend()));
      expect(back.config.quantization).toEqual(quantization);
      expect(await logitsOf(back)).toEqual(await logitsOf(model));
    }
  });

  test("GGUF, Hugging Face and ONNX refuse it by the layer's name", async () => {
    const model = make();
    const wide = new Transformer(model.runtime, { ...model.config, vocabSize: bytes.vocabSize }, 11);
    const at = (name: string) => join(temporaryFolder(), name);
    await expect(exportGguf(at("m.gguf"), wide, bytes, { type: "f16" })).rejects.toThrow(
      'gguf: layer model.layers.0.self_attn.q_proj rounds its input by "static8"',
    );
    await expect(exportHuggingFace(model, tokenizer, at("hf"), { type: "f32" })).rejects.toThrow(
      "hf: layer model.layers.0.self_attn.q_proj is ternary with static8 inputs",
    );
    await expect(saveOnnx(at("m.onnx"), model, tokenizer)).rejects.toThrow(
      'onnx: layer model.layers.0.self_attn.q_proj: inputs quantized by "static8" are not written',
    );
  });
});
