// Overrides files: read, refused, written, applied to a model, and what of them goes into GGUF and Hugging Face. Oracle: a
// model that has the same quantizers in its config: logits to the bit; the files' own types and config keys.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { smallModel } from "../../test/support/small-run.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../backends/index.ts";
import { saveModelFolder } from "../checkpoint/index.ts";
import { readGguf } from "../formats/gguf/index.ts";
import {
  type ModelConfig,
  type QuantizationConfig,
  requantize,
  Transformer,
  withQuantization,
} from "../model/index.ts";
import { Runtime } from "../tensor/index.ts";
import { trainBpe } from "../tokenizer/index.ts";
import { exportGguf, exportHuggingFace, loadModel, overridesText, parseOverridesFile, readOverrides } from "./index.ts";

const { tokenizer } = await trainBpe(["the cat sat on the mat and the rat"], { vocabSize: 264 });
const shape: ModelConfig = { ...smallModel, vocabSize: tokenizer.vocabSize, width: 32, hiddenWidth: 64, initStd: 0.2 };
const tokens = Int32Array.from([1, 5, 2, 16, 0, 9]);
const newRuntime = () => new Runtime(createReferenceBackend());
const make = (quantization?: QuantizationConfig, changes: Partial<ModelConfig> = {}) =>
  new Transformer(newRuntime(), { ...shape, ...changes, ...(quantization ? { quantization } : {}) }, 11);
const logitsOf = (model: Transformer) =>
  model.runtime.readFloats(model.logits({ tokens, batch: 1, length: tokens.length }));

const overrides: QuantizationConfig = {
  overrides: [
    { layers: "*.down_proj", weights: "int8", activations: "none" },
    { layers: "layers.0.self_attn.q_proj", weights: "none", activations: "none" },
  ],
};

describe("a file", () => {
  test("written is read back, with what it says above it as comments", () => {
    const path = join(temporaryFolder(), "overrides.yaml");
    writeFileSync(path, overridesText(overrides, ["one\nline", "another"]));
    expect(readFileSync(path, "utf8")).toMatch(/^# one line\n# another\nmodel:\n {2}quantization:\n/);
    expect(readOverrides(path)).toEqual(overrides);
  });

  test.for([
    ["a: [", /^f: is not YAML: /],
    ["- 1", /^f: expected an overrides file, with model.quantization in it/],
    ["model: {}", /^f: expected an overrides file/],
    ["model: {quantization: {}, width: 8}", /^f: has "width" beside "quantization"/],
    [
      "preset: tiny\nmodel: {quantization: {}}",
      /^f: has "preset" beside "model"; .*a whole config is for bitnet train FILE/,
    ],
    ["model: {quantization: {weights: int9}}", /^f: model\.quantization: weights: unknown weight quantizer "int9"/],
    ["model: {quantization: {overrides: [{weights: int8}]}}", /^f: model\.quantization: overrides\.0\.layers: /],
  ] as const)("that is none is refused in one line: %s", ([text, message]) => {
    expect(() => parseOverridesFile(text, "f")).toThrow(message);
  });
});

describe("a model with overrides", () => {
  test("is the model whose config says so, to the bit; those it had stand before", async () => {
    const model = make({ overrides: [{ layers: "layers.1.*", weights: "none" }] });
    const made = await requantize(model, withQuantization(model.config, overrides));
    expect(made.config.quantization!.overrides!.map(({ layers }) => layers)).toEqual([
      "layers.1.*",
      "*.down_proj",
      "layers.0.self_attn.q_proj",
    ]);
    expect(await logitsOf(made)).toEqual(await logitsOf(make(made.config.quantization)));
  });

  test("is what loadModel gives with them; a pattern without a layer is refused", async () => {
    const folder = join(temporaryFolder(), "model");
    await saveModelFolder(folder, make(), tokenizer);
    const { model, config } = await loadModel(folder, newRuntime(), { overrides });
    expect(config.quantization).toEqual(overrides);
    expect(await logitsOf(model)).toEqual(await logitsOf(make(overrides)));
    const wrong = { overrides: [{ layers: "layers.9.*", weights: "none" }] };
    await expect(loadModel(folder, newRuntime(), { overrides: wrong })).rejects.toThrow(
      'layers "layers.9.*" matches no layer',
    );
  });

  test("is refused where a packed file gave no float weights for a layer that would change", async () => {
    const file = join(temporaryFolder(), "m.gguf");
    await exportGguf(file, make(), tokenizer, { type: "f16" });
    await expect(loadModel(file, newRuntime(), { overrides })).rejects.toThrow(
      /layer model\.layers\.0\.self_attn\.q_proj: its float weights are not there, only the ternary ones of a packed file/,
    );
  });
});

describe("goes into a file as such", () => {
  test("GGUF: int8 as Q8_0 and float as F16 or F32, and comes back with both", async () => {
    const model = await requantize(make(), withQuantization(shape, overrides));
    for (const linearType of [undefined, "f32"] as const) {
      const file = join(temporaryFolder(), "m.gguf");
      await exportGguf(file, model, tokenizer, { type: "q8_0", embeddingType: "f32", linearType });
      const opened = readGguf(file);
      expect(opened.tensors.get("blk.0.ffn_down.weight")!.type).toBe("Q8_0");
      expect(opened.tensors.get("blk.0.attn_q.weight")!.type).toBe(linearType ? "F32" : "F16");
      opened.close();
      const { model: back } = await loadModel(file, newRuntime());
      const kinds = (one: Transformer) => one.plan.layers.map(({ weights }) => weights?.quantizer.name ?? "none");
      expect(kinds(back)).toEqual(kinds(model));
      const [a, b] = [await logitsOf(back), await logitsOf(model)];
      // float16 rounds one matrix by 2^-11 of its values, and an input behind it may tip from one int8 code to the next.
      for (const [i, value] of a.entries()) expect(Math.abs(value - b[i])).toBeLessThan(linearType ? 1e-4 : 5e-2);
    }
  });

  test("Hugging Face: float by modules_to_not_convert; int8 refused by name", async () => {
    const float: QuantizationConfig = { overrides: [overrides.overrides![1]] };
    const folder = join(temporaryFolder(), "hf");
    const model = await requantize(make(), withQuantization(shape, float));
    await exportHuggingFace(model, tokenizer, folder, { type: "packed" });
    const { quantization_config } = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    expect(quantization_config.modules_to_not_convert).toEqual(["lm_head", "model.layers.0.self_attn.q_proj"]);
    const { model: back } = await loadModel(folder, newRuntime());
    expect(await logitsOf(back)).toEqual(await logitsOf(model));
    const int8 = await requantize(make(), withQuantization(shape, overrides));
    await expect(exportHuggingFace(int8, tokenizer, join(temporaryFolder(), "no"), { type: "f32" })).rejects.toThrow(
      "hf: layer model.layers.0.mlp.down_proj is int8, which transformers' BitNet quantizer does not run",
    );
  });
});
