// Models of mixed precision as compact files, Hugging Face folders and ONNX. Oracle: the model that was written: quantizers and
// logits, to the last bit; for modules_to_not_convert the rules of transformers 4 and 5, as its integrations state them.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { smallModel } from "../../test/support/small-run.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../backends/index.ts";
import { fromHuggingFaceConfig } from "../checkpoint/hf-config.ts";
import { saveModelFolder } from "../checkpoint/index.ts";
import { readSafetensors } from "../formats/safetensors.ts";
import { type ModelConfig, type QuantizationConfig, Transformer } from "../model/index.ts";
import { absmax8 } from "../nn/quantizers/absmax8.ts";
import { absmean } from "../nn/quantizers/absmean.ts";
import { activationQuantizers, weightQuantizers } from "../nn/index.ts";
import { Runtime } from "../tensor/index.ts";
import { trainCharacters } from "../tokenizer/index.ts";
import { convertToBitnet } from "./convert.ts";
import { exportHuggingFace, type HuggingFaceExport } from "./hf-export.ts";
import { loadModel, modelCard, saveCompact, saveOnnx } from "./index.ts";

const { tokenizer } = await trainCharacters(["abcdefghijklmnop"]);
const tokens = Int32Array.from([1, 5, 2, 16, 0, 9]);
const shape: ModelConfig = { ...smallModel, width: 32, hiddenWidth: 64 };
const newRuntime = () => new Runtime(createReferenceBackend());
const make = (quantization?: QuantizationConfig, changes: Partial<ModelConfig> = {}) =>
  new Transformer(newRuntime(), { ...shape, ...changes, quantization }, 11);
const load = async (path: string) => (await loadModel(path, newRuntime())).model;
const logitsOf = async (model: Transformer) =>
  model.runtime.readFloats(model.logits({ tokens, batch: 1, length: tokens.length }));
const quantizersOf = ({ plan }: Transformer) =>
  plan.layers.map(({ name, weights, activations }) => [name, weights?.quantizer.name, activations?.name]);

/** Every kind of layer there is. */
const mixed: QuantizationConfig = {
  overrides: [
    { layers: "*.down_proj", weights: "int8" },
    { layers: "layers.0.*", weights: "none" },
    { layers: "layers.1.self_attn.q_proj", activations: "none" },
    { layers: "layers.1.self_attn.v_proj", weights: "none", activations: "absmax8" },
  ],
};
/** What transformers can run. */
const partFloat: QuantizationConfig = { overrides: [{ layers: "layers.0.*", weights: "none" }] };

// A ternary quantizer that is not absmean, as a program may register one.
weightQuantizers.register({ ...absmean, name: "other-ternary", isAbsmean: undefined });
const otherTernary: QuantizationConfig = { overrides: [{ layers: "*.up_proj", weights: "other-ternary" }] };

describe("a compact file", () => {
  const lossless = { embedding: "f32", head: "f32", norm: "f32", linear: "f32" } as const;

  test("holds each layer as it is: read back, the same quantizers and logits to the last bit", async () => {
    for (const changes of [{}, { subNorms: false }, { variant: "full" }] as const) {
      const model = make(mixed, changes);
      const path = join(temporaryFolder(), "mixed.bitnet");
      const { tensors } = await saveCompact(path, model, tokenizer, { types: lossless });
      const of = (name: string) => tensors.find((tensor) => tensor.name === `model.layers.${name}.weight`);
      expect(of("1.mlp.down_proj")).toMatchObject({ encoding: "q8", relativeError: 0, bytes: 32 * 64 * (34 / 32) });
      expect(of("0.mlp.down_proj")).toMatchObject({ encoding: "f32" });
      const back = await load(path);
      expect(quantizersOf(back)).toEqual(quantizersOf(model));
      expect(await logitsOf(back)).toEqual(await logitsOf(model));
    }
  });

  test("int8 layers are exact whatever --linear says; float ones are rounded to it", async () => {
    const path = join(temporaryFolder(), "mixed.bitnet");
    const { tensors } = await saveCompact(path, make(mixed), tokenizer, { types: { linear: "q4" } });
    const of = (name: string) => tensors.find((tensor) => tensor.name === `model.layers.${name}.weight`)!;
    expect(of("1.mlp.down_proj")).toMatchObject({ encoding: "q8", relativeError: 0 });
    expect(of("0.mlp.down_proj").encoding).toBe("q4");
    expect(of("0.mlp.down_proj").relativeError).toBeGreaterThan(0.01);
  });

  test("holds codes and scale of any ternary quantizer, as absmean's", async () => {
    const path = join(temporaryFolder(), "other.bitnet");
    const model = make(otherTernary);
    await saveCompact(path, model, tokenizer, { types: lossless });
    const back = await load(path);
    expect(new Set(quantizersOf(back).map(([, weights]) => weights))).toEqual(new Set(["absmean"]));
    expect(await logitsOf(back)).toEqual(await logitsOf(model));
  });
});

test("a model folder, and so a checkpoint, holds latent weights and the config's quantizers", async () => {
  const model = make(mixed);
  const folder = join(temporaryFolder(), "folder");
  await saveModelFolder(folder, model, tokenizer);
  const back = await load(folder);
  expect(back.config).toEqual(model.config);
  expect(await logitsOf(back)).toEqual(await logitsOf(model));
  // transformers would run these layers as something else: it is given a model_type that it does not know.
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
  expect(config.model_type).toBe("bitnet_ts");
  config.bitnet_ts.model.quantization.overrides[1].layers = "layers.9.*";
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  await expect(load(folder)).rejects.toThrow(
    /config\.json: bitnet_ts\.model: model\.quantization\.overrides: layers "layers\.9\.\*" matches no layer/,
  );
});

describe("a Hugging Face folder", () => {
  const exported = async (model: Transformer, options: HuggingFaceExport) => {
    const folder = join(temporaryFolder(), "hf");
    return { folder, written: await exportHuggingFace(model, tokenizer, folder, options) };
  };

  test.for<HuggingFaceExport>([{ type: "f32" }, { type: "packed" }, { type: "bf16" }])(
    "as $type names float layers in modules_to_not_convert, and comes back with them",
    async (options) => {
      const model = make(partFloat);
      const { folder, written } = await exported(model, options);
      const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8"));
      const own = model.plan.blocks[0];
      expect(config.quantization_config.modules_to_not_convert).toEqual([
        "lm_head",
        ...Object.values(own).map(({ name }) => name),
      ]);
      expect(config.model_type).toBe("bitnet");
      const file = await readSafetensors(join(folder, "model.safetensors"));
      const floatType = options.type === "bf16" ? "BF16" : "F32";
      expect(file.tensors.get("model.layers.0.mlp.up_proj.weight")!.dtype).toBe(floatType);
      expect(file.tensors.get("model.layers.1.mlp.up_proj.weight")!.dtype).toBe(
        options.type === "packed" ? "U8" : floatType,
      );
      file.close();
      const back = await load(folder);
      expect(quantizersOf(back)).toEqual(quantizersOf(model));
      if (options.type !== "bf16") expect(await logitsOf(back)).toEqual(await logitsOf(model));
      // As a folder of another program: by modules_to_not_convert alone.
      delete config.bitnet_ts;
      writeFileSync(join(folder, "config.json"), JSON.stringify(config));
      const foreign = await load(folder);
      expect(foreign.config.quantization).toEqual({
        overrides: [{ layers: "layers.0.*", weights: "none", activations: "none" }],
      });
      expect(await logitsOf(foreign)).toEqual(await logitsOf(back));
      const card = modelCard({ ...written, name: "mixed", tokenizer: null, training: null });
      expect(card).toContain("ternary but for 7 layers in float");
    },
  );

  test.for<[QuantizationConfig, string]>([
    [{ overrides: [{ layers: "*.down_proj", weights: "int8" }] }, "layer model.layers.0.mlp.down_proj is int8,"],
    [{ activations: "none" }, "layer model.layers.0.self_attn.q_proj is ternary with float inputs,"],
    [
      { overrides: [{ layers: "*.1.mlp.up_proj", weights: "none", activations: "absmax8" }] },
      "layer model.layers.1.mlp.up_proj is float with absmax8 inputs,",
    ],
    [otherTernary, 'hf, type f32: layer model.layers.0.mlp.up_proj is ternary by "other-ternary", and readers of this'],
  ])("refuses, by name, a layer that transformers would not run: %j", async ([quantization, message]) => {
    await expect(exported(make(quantization), { type: "f32" })).rejects.toThrow(message);
  });

  test("a refusal names only forms that hold the model: no ONNX for an extension's quantizer of inputs", async () => {
    activationQuantizers.register({ ...absmax8, name: "other-inputs", codes: null });
    const model = make({ overrides: [{ layers: "*.up_proj", activations: "other-inputs" }] });
    await expect(exported(model, { type: "f32" })).rejects.toThrow(/Export it as gguf or compact$/);
    await expect(exported(make({ activations: "none" }), { type: "f32" })).rejects.toThrow(
      /Export it as gguf, onnx or compact$/,
    );
    const path = join(temporaryFolder(), "no.onnx");
    await expect(saveOnnx(path, model, null)).rejects.toThrow(
      'onnx: layer model.layers.0.mlp.up_proj: inputs quantized by "other-inputs" are not written; int8 codes are. Export it as gguf or compact',
    );
    await saveCompact(join(temporaryFolder(), "held.bitnet"), model, tokenizer);
  });

  const foreign = (entries: string[] | null) => {
    const model = make();
    const layout = { quant_method: "bitnet", linear_class: "autobitlinear", quantization_mode: "online" };
    return fromHuggingFaceConfig(
      {
        model_type: "bitnet",
        hidden_size: 32,
        intermediate_size: 64,
        num_hidden_layers: model.config.layers,
        num_attention_heads: model.config.heads,
        max_position_embeddings: 32,
        vocab_size: 17,
        rms_norm_eps: 1e-5,
        hidden_act: "silu",
        quantization_config: { ...layout, modules_to_not_convert: entries },
      },
      "config.json",
    ).quantization;
  };

  test("modules_to_not_convert is applied where versions of transformers agree on it, and else refused", () => {
    expect(foreign(null)).toBeUndefined();
    expect(foreign(["lm_head", "model.embed_tokens"])).toBeUndefined();
    expect(foreign(["lm_head", "down_proj"])).toEqual({
      overrides: [{ layers: "*.down_proj", weights: "none", activations: "none" }],
    });
    expect(foreign(["model.layers.1.mlp.up_proj"])).toEqual({
      overrides: [{ layers: "layers.1.mlp.up_proj", weights: "none", activations: "none" }],
    });
    // Anywhere in a name to version 4, at its beginning to version 5.
    expect(() => foreign(["layers.0"])).toThrow(
      /modules_to_not_convert has "layers\.0", which versions of transformers read differently; name the layers in full/,
    );
  });
});

describe("an ONNX graph", () => {
  test("refuses packed weights where nothing is ternary", async () => {
    const path = join(temporaryFolder(), "no.onnx");
    await expect(saveOnnx(path, make({ weights: "int8" }), null, { weights: "packed" })).rejects.toThrow(
      "the model has no ternary weights to pack; use type float",
    );
  });
});

test("a full-precision model with int8 layers, made ternary, keeps those", async () => {
  const model = make({ overrides: [{ layers: "*.down_proj", weights: "int8" }] }, { variant: "full" });
  const { model: made } = await convertToBitnet(model);
  expect(made.plan.blocks[0].down.weights!.quantizer.name).toBe("int8");
  expect(made.plan.blocks[0].up.weights!.quantizer.name).toBe("absmean");
  await expect(convertToBitnet(made)).rejects.toThrow("the model is ternary already");
});
