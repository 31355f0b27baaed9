// Models of every weight quantizer as files, and read back. Oracle: the model that was written: its logits to the last bit, and the
// codes and scales that it multiplies with. Both engines write the same tokens.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { smallModel } from "../../test/support/small-run.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../backends/reference.ts";
import { saveModelFolder } from "../checkpoint/index.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { packModel, type Engine } from "../infer/index.ts";
import { TransformerEngine } from "../infer/transformer-engine.ts";
import { type ModelConfig, Transformer } from "../model/index.ts";
import { weightQuantizers } from "../nn/index.ts";
import { Runtime } from "../tensor/index.ts";
import { trainBpe } from "../tokenizer/index.ts";
import { exportGguf, type GgufExportType } from "./gguf/index.ts";
import { exportHuggingFace } from "./hf-export.ts";
import { loadModel, saveCompact, saveOnnx } from "./index.ts";

const { tokenizer } = await trainBpe(["the cat sat on the mat and the rat", "that cat, the other one"], {
  vocabSize: 280,
});
const tokens = Int32Array.from([1, 5, 2, 16, 0, 9]);
const shape: ModelConfig = {
  ...smallModel,
  vocabSize: 280,
  width: 128,
  heads: 2,
  kvHeads: 1,
  hiddenWidth: 128,
  layers: 1,
  contextLength: 32,
};
const newRuntime = () => new Runtime(createReferenceBackend());
const make = (weights: string, changes: Partial<ModelConfig> = {}) =>
  new Transformer(newRuntime(), { ...shape, ...changes, quantization: { weights } }, 11);
const load = async (path: string) => (await loadModel(path, newRuntime())).model;
const logitsOf = async (model: Transformer) =>
  model.runtime.readFloats(model.logits({ tokens, batch: 1, length: tokens.length }));
const lossless = { embedding: "f32", head: "f32", norm: "f32", linear: "f32" } as const;

const all = weightQuantizers.names;
const ternary = all.filter((name) => weightQuantizers.get(name).form === "ternary");
const others = ternary.filter((name) => name !== "absmean");
test("there are these quantizers", () => {
  expect(all).toEqual(["absmean", "absmedian", "twn", "learned", "lsq", "seq", "int8", "int4"]);
});

describe.each(all)("%s", (weights) => {
  test("a model folder gives the model back: quantizer, learned parameters, logits", async () => {
    const model = make(weights);
    const folder = join(temporaryFolder(), "folder");
    await saveModelFolder(folder, model, tokenizer);
    const back = await load(folder);
    expect(back.config).toEqual(model.config);
    expect(back.parameters.map(({ name }) => name)).toEqual(model.parameters.map(({ name }) => name));
    expect(await logitsOf(back)).toEqual(await logitsOf(model));
    // transformers makes float weights ternary by absmean: of others it must not take them.
    const { model_type } = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    expect(model_type).toBe(weights === "absmean" ? "bitnet" : "bitnet_ts");
  });

  test("a compact file does", async () => {
    for (const rule of ["add", "clamp"] as const) {
      const model = make(weights, { weightScale: rule });
      const path = join(temporaryFolder(), "model.bitnet");
      await saveCompact(path, model, tokenizer, { types: lossless });
      expect(await logitsOf(await load(path))).toEqual(await logitsOf(model));
    }
  });

  const types: readonly GgufExportType[] = ternary.includes(weights) ? ["i2_s", "q2_0", "q8_0", "f32"] : ["f32", "f16"];
  test.for(types)("a GGUF file does, type %s", async (type) => {
    const model = make(weights);
    const file = join(temporaryFolder(), "model.gguf");
    await exportGguf(file, model, tokenizer, { type, embeddingType: "f32" });
    expect(await logitsOf(await load(file))).toEqual(await logitsOf(model));
  });

  test("both engines write the same tokens", async () => {
    const model = make(weights);
    const written = async (engine: Engine) => {
      const sequence = engine.createSequence();
      const found: number[] = [];
      let next: Int32Array = tokens;
      for (let i = 0; i < 8; i++) {
        const [logits] = await engine.forward([{ sequence, tokens: next, logits: "last" }]);
        found.push(logits.indexOf(Math.max(...logits)));
        next = Int32Array.of(found.at(-1)!);
      }
      engine.dispose();
      return found;
    };
    const packed = await written(await packModel(model, { head: "f32", cache: "f32" }));
    expect(packed).toEqual(await written(new TransformerEngine(model)));
  });
});

describe.each(others)("%s in a Hugging Face folder", (weights) => {
  test("packed: codes beside a weight_scale, and the model comes back", async () => {
    const model = make(weights);
    const folder = join(temporaryFolder(), "hf");
    await exportHuggingFace(model, tokenizer, folder, { type: "packed" });
    const file = await readSafetensors(join(folder, "model.safetensors"));
    const [layer] = model.ternaryLayers;
    const scale = `${layer.name}.weight_scale`;
    expect(file.tensors.get(`${layer.name}.weight`)!.dtype).toBe("U8");
    const [s] = await model.runtime.readFloats(layer.quantized(model.runtime).scale);
    expect([...(await file.read(scale))]).toEqual([s]);
    file.close();
    const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
    expect(config.model_type).toBe("bitnet");
    expect(config.quantization_config.quantization_mode).toBe("offline");
    expect(await logitsOf(await load(folder))).toEqual(await logitsOf(model));
  });

  test.for(["f32", "bf16", "f16"] as const)(
    "as %s is refused by the layer's name, with the type that holds it",
    async (type) => {
      await expect(
        exportHuggingFace(make(weights), tokenizer, join(temporaryFolder(), "hf"), { type }),
      ).rejects.toThrow(
        `hf, type ${type}: layer model.layers.0.self_attn.q_proj is ternary by "${weights}", and readers of this format make weights ternary by absmean; use type packed`,
      );
    },
  );
});

test("a scale below what a file of codes gives back is refused by the layer's name", async () => {
  const model = make("twn");
  const [layer] = model.ternaryLayers;
  model.runtime.backend.upload(layer.weight.tensor.buffer, new Float32Array(layer.weight.size).fill(2e-6));
  layer.weight.changed();
  const refused =
    /layer model\.layers\.0\.self_attn\.q_proj: its scale is 0.00000\d+, and scales of this format begin at/;
  const path = join(temporaryFolder(), "model.bitnet");
  await expect(saveCompact(path, model, tokenizer)).rejects.toThrow(refused);
  const folder = join(temporaryFolder(), "hf");
  await expect(exportHuggingFace(model, tokenizer, folder, { type: "packed" })).rejects.toThrow(refused);
});

test("ONNX files of every quantizer are written", async () => {
  for (const weights of all) {
    const path = join(temporaryFolder(), "model.onnx");
    const [{ sizeBytes }] = await saveOnnx(path, make(weights), tokenizer);
    expect(sizeBytes).toBeGreaterThan(1000);
  }
});
