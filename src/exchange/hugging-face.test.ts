// Round trips: checkpoint → Hugging Face folder → checkpoint. Oracles: the model that was written (ternary codes, scales
// and logits, to the last bit); quantizeWeights with Hugging Face's rule, itself held to PyTorch's values in test/parity.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { smallModel } from "../../test/support/small-run.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../backends/index.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { openSafetensorsFolder, writeSafetensorsFolder } from "../formats/safetensors-shards.ts";
import { type ModelConfig, Transformer } from "../model/index.ts";
import { quantizeWeights } from "../ops/weight-quant/reference.ts";
import { roundToBfloat16 } from "../quant/bfloat16.ts";
import { roundToFloat16 } from "../quant/float16.ts";
import { Runtime } from "../tensor/index.ts";
import { trainCharacters } from "../tokenizer/index.ts";
import { startTokenOf } from "../infer/start-token.ts";
import { convertToBitnet } from "./convert.ts";
import { exportHuggingFace, type HuggingFaceExport } from "./hf-export.ts";
import { loadModel, modelCard } from "./index.ts";

const { tokenizer } = await trainCharacters(["abcdefghijklmnop"]);
const tokens = Int32Array.from([1, 5, 2, 16, 0, 9]);

function make(changes: Partial<ModelConfig> = {}): Transformer {
  return new Transformer(new Runtime(createReferenceBackend()), { ...smallModel, ...changes }, 11);
}

async function exported(model: Transformer, options: HuggingFaceExport) {
  const folder = join(temporaryFolder(), "hf");
  const written = await exportHuggingFace(model, tokenizer, folder, options);
  return { folder, written };
}

const load = async (folder: string) => (await loadModel(folder, new Runtime(createReferenceBackend()))).model;

async function logitsOf(model: Transformer): Promise<Float32Array> {
  return model.runtime.readFloats(model.logits({ tokens, batch: 1, length: tokens.length }));
}

async function ternaryOf(model: Transformer) {
  return Promise.all(
    model.ternaryLayers.map(async (layer) => {
      const { codes, scale } = layer.quantized(model.runtime);
      const [gamma] = await model.runtime.readFloats(scale);
      return { name: layer.weight.name, scale: gamma, codes: Array.from(await model.runtime.read(codes)) };
    }),
  );
}

/** The same model with embedding, norms and head rounded, as a folder of 16-bit floats stores them. */
async function rounded(model: Transformer, round: (x: number) => number): Promise<Transformer> {
  for (const { role, tensor } of model.parameters)
    if (role !== "ternary")
      model.runtime.backend.upload(tensor.buffer, (await model.runtime.readFloats(tensor)).map(round));
  return model;
}

describe("a ternary model goes out and comes back with the same ternary weights, scales and logits", () => {
  const trained: [string, Partial<ModelConfig>][] = [
    ["the paper's scale (add)", {}],
    ["Hugging Face's scale (clamp)", { weightScale: "clamp", weightEps: 1e-5 }],
    ["a head of its own, squared ReLU", { tiedHead: false, activation: "relu2" }],
    ["no sub-norms", { subNorms: false, tiedHead: false }],
  ];
  const types: [HuggingFaceExport, (x: number) => number][] = [
    [{ type: "f32" }, (x) => x],
    [{ type: "bf16" }, roundToBfloat16],
    [{ type: "f16" }, roundToFloat16],
    [{ type: "packed" }, (x) => x],
    [{ type: "packed", floatType: "bf16" }, roundToBfloat16],
    [{ type: "f32", shardBytes: 3000 }, (x) => x],
  ];
  for (const [kind, changes] of trained)
    for (const [options, round] of types)
      test(`${kind}, as ${JSON.stringify(options)}`, async () => {
        const { folder, written } = await exported(make(changes), options);
        const original = await rounded(make(changes), round);
        const back = await load(folder);
        expect(await ternaryOf(back)).toEqual(await ternaryOf(original));
        expect(await logitsOf(back)).toEqual(await logitsOf(original));
        const shards = readdirSync(folder).filter((name) => name.endsWith(".safetensors"));
        expect(shards.length > 1).toBe(options.shardBytes !== undefined);
        expect(written.ternaryWeights).toBe(2 * (16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 32));
      });

  test("whose float weights give the codes and scale by Hugging Face's rule, whatever rule it was trained with", async () => {
    for (const type of ["f32", "bf16", "f16"] as const) {
      const model = make();
      const { folder, written } = await exported(model, { type });
      expect(written.fittedMatrices).toBe(14);
      const file = await readSafetensors(join(folder, "model.safetensors"));
      for (const { name, codes, scale } of await ternaryOf(model)) {
        const weights = (await file.read(name)) as Float32Array;
        const found = new Uint8Array(codes.length);
        const foundScale = new Float32Array(1);
        quantizeWeights(weights, found, foundScale, "clamp", 1e-5);
        expect({ name, codes: Array.from(found), scale: foundScale[0] }).toEqual({ name, codes, scale });
      }
      file.close();
    }
  });
});

test("float weights by Hugging Face's own rule are written as they are, to the last bit", async () => {
  const model = make({ weightScale: "clamp", weightEps: 1e-5 });
  const { folder, written } = await exported(model, { type: "f32" });
  expect(written.fittedMatrices).toBe(0);
  const back = await load(folder);
  for (const [i, { tensor }] of back.parameters.entries())
    expect(await back.runtime.readFloats(tensor)).toEqual(await model.runtime.readFloats(model.parameters[i].tensor));
});

test.for(["bf16", "f16", "f32"] as const)("a model that came from packed weights goes out as %s", async (type) => {
  const { folder } = await exported(make({ initStd: 0.1 }), { type: "packed" });
  const packed = await load(folder);
  const again = await exported(packed, { type });
  expect(await ternaryOf(await load(again.folder))).toEqual(await ternaryOf(packed));
});

test("the full-precision twin goes out as a LLaMA model and comes back the same", async () => {
  const model = make({ variant: "full" });
  const { folder } = await exported(model, { type: "f32" });
  expect(JSON.parse(readFileSync(join(folder, "config.json"), "utf8"))).toMatchObject({
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
  });
  expect(await logitsOf(await load(folder))).toEqual(await logitsOf(model));
  await expect(exported(model, { type: "packed" })).rejects.toThrow(/packed is for ternary models/);
});

test("a folder without our own keys is read by Hugging Face's", async () => {
  for (const options of [{ type: "f32" }, { type: "packed" }] as const) {
    const model = make();
    const { folder } = await exported(model, options);
    const path = join(folder, "config.json");
    const { bitnet_ts: _, ...foreign } = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(path, JSON.stringify(foreign));
    expect(await logitsOf(await load(folder))).toEqual(await logitsOf(model));
  }
});

test("the first reproduction's folders are read: its names, its way to say ternary, a tied head stored twice", async () => {
  const model = make({ weightScale: "clamp", weightEps: 1e-5 });
  const folder = temporaryFolder();
  const tensors = await Promise.all(
    model.parameters.map(async ({ name, shape, tensor }) => ({
      name: name.replace("attn_sub_norm", "inner_attn_ln").replace("ffn_sub_norm", "ffn_layernorm"),
      dtype: "F32" as const,
      shape,
      data: await model.runtime.readFloats(tensor),
    })),
  );
  const table = tensors.find(({ name }) => name === "model.embed_tokens.weight")!;
  await writeSafetensors(join(folder, "model.safetensors"), [
    ...tensors,
    { ...table, name: "lm_head.weight" },
    { name: "model.layers.0.self_attn.rotary_emb.inv_freq", dtype: "F32", shape: [4], data: new Float32Array(4) },
  ]);
  const config = {
    architectures: ["BitnetForCausalLM"],
    model_type: "llama",
    hidden_act: "silu",
    hidden_size: 16,
    intermediate_size: 32,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    max_position_embeddings: 8,
    vocab_size: 17,
    rms_norm_eps: 1e-5,
    rope_scaling: null,
    tie_word_embeddings: true,
    weight_bits: 1,
    input_bits: 8,
  };
  writeFileSync(join(folder, "config.json"), JSON.stringify(config));
  expect(await logitsOf(await load(folder))).toEqual(await logitsOf(model));

  await writeSafetensors(join(folder, "model.safetensors"), [
    ...tensors,
    { ...table, name: "lm_head.weight", data: new Float32Array(table.data.length) },
  ]);
  await expect(load(folder)).rejects.toThrow(/lm_head.weight is not the embedding, but the config ties them/);
});

test("packed weights with an inverse scale (linear_class bitlinear) are read as transformers computes them", async () => {
  const model = make();
  const { folder } = await exported(model, { type: "packed" });
  const path = join(folder, "config.json");
  const config = JSON.parse(readFileSync(path, "utf8"));
  config.quantization_config = { quant_method: "bitnet" };
  writeFileSync(path, JSON.stringify(config));
  const file = await readSafetensors(join(folder, "model.safetensors"));
  const tensors = [];
  for (const [name, { dtype, shape }] of file.tensors) {
    const data = await file.read(name);
    const inverse = name.endsWith("_scale") ? (data as Float32Array).map((s) => 1 / s) : data;
    tensors.push({ name, dtype: dtype as "F32" | "U8", shape, data: inverse });
  }
  file.close();
  await writeSafetensors(join(folder, "model.safetensors"), tensors);
  const [found, wanted] = [await ternaryOf(await load(folder)), await ternaryOf(model)];
  for (const [i, { codes, scale }] of found.entries()) {
    expect(codes).toEqual(wanted[i].codes);
    // Twice inverted: one rounding each time.
    expect(Math.abs(scale / wanted[i].scale - 1)).toBeLessThan(2 ** -22);
  }
});

describe("a folder is refused, by name, for", () => {
  async function change(
    edit: (tensors: Parameters<typeof writeSafetensors>[1]) => Parameters<typeof writeSafetensors>[1],
  ) {
    const { folder } = await exported(make(), { type: "packed" });
    const path = join(folder, "model.safetensors");
    const file = await readSafetensors(path);
    const tensors = [];
    for (const [name, { dtype, shape }] of file.tensors)
      tensors.push({ name, dtype: dtype as "F32" | "U8", shape, data: await file.read(name) });
    file.close();
    await writeSafetensors(path, edit(tensors));
    return load(folder);
  }
  const q = "model.layers.1.self_attn.q_proj.weight";

  test("a tensor too few or too many", async () => {
    await expect(change((all) => [...all].filter(({ name }) => name !== `${q}_scale`))).rejects.toThrow(
      new RegExp(`has no tensor ${q}_scale, which the model has`),
    );
    await expect(change((all) => [...all].filter(({ name }) => !name.includes("mlp")))).rejects.toThrow(
      /has no tensor model.layers.0.mlp.gate_proj.weight, which the model has, and 7 more \(model\./,
    );
    const bias = {
      name: "model.layers.0.self_attn.q_proj.bias",
      dtype: "F32",
      shape: [1],
      data: new Float32Array(1),
    } as const;
    await expect(change((all) => [...all, bias])).rejects.toThrow(/holds tensor model.layers.0.self_attn.q_proj.bias/);
  });

  test("a code that stands for nothing, and a scale that is no scale", async () => {
    const edit = (name: string, at: number, value: number) =>
      change((all) =>
        [...all].map((tensor) => {
          const data = (tensor.data as Float32Array).slice();
          if (tensor.name === name) data[at] = value;
          return { ...tensor, data };
        }),
      );
    await expect(edit(q, 20, 0b01110100)).rejects.toThrow(`${q}: byte 20 (row 1) is 116, which holds a code 3`);
    await expect(edit(`${q}_scale`, 0, Number.NaN)).rejects.toThrow(`${q}_scale is NaN; expected a finite number`);
    await expect(edit(`${q}_scale`, 0, 1e-9)).rejects.toThrow(/below the least that the quantiser gives/);
  });

  test("weights that are a Python pickle", async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, "config.json"), "{}");
    writeFileSync(join(folder, "pytorch_model.bin"), "x");
    await expect(load(folder)).rejects.toThrow(/its weights are in pytorch_model.bin, a Python pickle/);
  });

  test("float16 that cannot hold a value", async () => {
    const model = make();
    const table = model.parameters[0].tensor;
    model.runtime.backend.upload(table.buffer, new Float32Array(17 * 16).fill(1e6));
    await expect(exported(model, { type: "f16" })).rejects.toThrow(/embed_tokens.weight: 1000000 is beyond/);
  });
});

describe("an index of shards", () => {
  const data = (n: number) => Float32Array.from({ length: n }, (_, i) => i);
  const tensors = ["a", "b", "c"].map((name, i) => ({
    name,
    dtype: "F32" as const,
    shape: [4 + i],
    data: data(4 + i),
  }));

  test("and its files are read as one, the tensors as they were written", async () => {
    const folder = temporaryFolder();
    await writeSafetensorsFolder(folder, tensors, { shardBytes: 40 });
    expect(readdirSync(folder).sort()).toEqual([
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
      "model.safetensors.index.json",
    ]);
    const file = await openSafetensorsFolder(folder);
    for (const { name, data } of tensors) expect(await file.read(name)).toEqual(data);
    expect([...file.tensors.keys()].sort()).toEqual(["a", "b", "c"]);
    file.close();
  });

  test("is refused where it is damaged, hostile or does not fit its files", async () => {
    const first = "model-00001-of-00002.safetensors";
    const second = "model-00002-of-00002.safetensors";
    const good = { a: first, b: first, c: second };
    const cases: [unknown, RegExp][] = [
      ["{", /is not JSON/],
      [{}, /weight_map is absent/],
      [{ weight_map: [] }, /weight_map is \[\]/],
      [{ weight_map: {} }, /weight_map is empty/],
      [{ weight_map: { ...good, a: "../model.safetensors" } }, /tensor "a" is in "..\/model.safetensors"; expected/],
      [{ weight_map: { ...good, a: 7 } }, /tensor "a" is in 7/],
      [{ weight_map: { ...good, c: "other.safetensors" } }, /names other.safetensors, which is not there/],
      [{ weight_map: { ...good, d: second } }, /tensor "d" is not in model-00002/],
      [{ weight_map: { a: first, c: second } }, /holds tensor "b", which the index has not/],
      [{ weight_map: { ...good, b: second } }, /tensor "b" is not in model-00002/],
    ];
    for (const [index, message] of cases) {
      const folder = temporaryFolder();
      await writeSafetensorsFolder(folder, tensors, { shardBytes: 40 });
      writeFileSync(
        join(folder, "model.safetensors.index.json"),
        typeof index === "string" ? index : JSON.stringify(index),
      );
      await expect(openSafetensorsFolder(folder)).rejects.toThrow(message);
    }
  });
});

test("a chat template and what else the tokenizer's config said go out again", async () => {
  const source = temporaryFolder();
  writeFileSync(join(source, "tokenizer_config.json"), JSON.stringify({ chat_template: "{{ x }}", pad_token: "<p>" }));
  writeFileSync(join(source, "chat_template.jinja"), "{{ y }}");
  const { folder } = await exported(make(), { type: "f32", source });
  const read = (name: string) => readFileSync(join(folder, name), "utf8");
  expect(JSON.parse(read("tokenizer_config.json"))).toMatchObject({ chat_template: "{{ x }}", pad_token: "<p>" });
  expect(JSON.parse(read("special_tokens_map.json"))).toMatchObject({ pad_token: "<p>", eos_token: "<|endoftext|>" });
  expect(read("chat_template.jinja")).toBe("{{ y }}");
});

test("the token before a text goes out in the tokenizer's files, and every end of a text in generation_config.json", async () => {
  const start = tokenizer.endOfText!;
  const source = temporaryFolder();
  writeFileSync(join(source, "tokenizer_config.json"), JSON.stringify({ add_bos_token: false }));
  const { folder } = await exported(make(), { type: "f32", startToken: start, endTokens: [start, 5], source });
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
  expect(read("tokenizer_config.json")).toMatchObject({ bos_token: "<|endoftext|>", add_bos_token: true });
  expect(read("config.json")).toMatchObject({ bos_token_id: start });
  expect(read("generation_config.json")).toMatchObject({ bos_token_id: start, eos_token_id: [start, 5] });
  const { tokenizer: back } = await loadModel(folder, new Runtime(createReferenceBackend()));
  expect([...back!.encode("abc", { addSpecialTokens: true })]).toEqual([start, ...tokenizer.encode("abc")]);
  expect(startTokenOf(null, back!)).toBe(startTokenOf(100, tokenizer));
});

test.for<[object, boolean]>([
  [{ rope_scaling: null }, true],
  [{ rope_scaling: {} }, true],
  [{ rope_scaling: { type: "linear", factor: 1.0 } }, true],
  [{ rope_scaling: { rope_type: "default" } }, true],
  [{ rope_scaling: { rope_type: "dynamic", factor: 1 } }, true],
  [{ rope_scaling: { rope_type: "yarn", factor: 1, original_max_position_embeddings: 16 } }, true],
  [{ rope_scaling: { rope_type: "llama3", factor: 1, low_freq_factor: 1, high_freq_factor: 4 } }, true],
  [{ rope_parameters: { rope_type: "default", rope_theta: 10000, partial_rotary_factor: 1 } }, true],
  [{ rope_scaling: { type: "linear", factor: 2 } }, false],
  [{ rope_scaling: { factor: 2 } }, false],
  [{ rope_scaling: { rope_type: "yarn", factor: 1, attention_factor: 1.5 } }, false],
  [{ rope_scaling: { rope_type: "longrope", factor: 1 } }, false],
  [{ rope_scaling: { rope_type: "mine", factor: 1 } }, false],
  [{ rope_parameters: { rope_type: "linear", factor: 8 } }, false],
  [{ rope_parameters: { rope_type: "default", partial_rotary_factor: 0.5 } }, false],
])("rotary settings of config.json %j: run %s", async ([keys, fine]) => {
  const { folder } = await exported(make(), { type: "f32" });
  const path = join(folder, "config.json");
  const { bitnet_ts: _, ...foreign } = JSON.parse(readFileSync(path, "utf8"));
  writeFileSync(path, JSON.stringify({ ...foreign, ...keys }));
  if (fine) await expect(load(folder)).resolves.toBeDefined();
  else await expect(load(folder)).rejects.toThrow(/can be run/);
});

test("a folder of other things is not overwritten; one that was exported is", async () => {
  const folder = join(temporaryFolder(), "hf");
  await exportHuggingFace(make(), tokenizer, folder, { type: "f32" });
  await exportHuggingFace(make(), tokenizer, folder, { type: "packed" });
  writeFileSync(join(folder, "thesis.doc"), "mine");
  await expect(exportHuggingFace(make(), tokenizer, folder, { type: "f32" })).rejects.toThrow(
    /was not written by this/,
  );
  const other = join(temporaryFolder(), "other");
  mkdirSync(other);
  writeFileSync(join(other, "package.json"), "{}");
  await expect(exportHuggingFace(make(), tokenizer, other, { type: "f32" })).rejects.toThrow(/was not written by this/);
});

test("the model card says what was written and what the run's records say, and nothing else", async () => {
  const { written } = await exported(make(), { type: "packed" });
  const facts = { ...written, name: "mine", tokenizer: null };
  const bare = modelCard({ ...facts, training: null });
  expect(bare).toContain("| stored as | four ternary weights a byte; embedding, norms and head f32; ");
  expect(bare).not.toMatch(/## Training|undefined|NaN/);
  const card = modelCard({
    ...facts,
    training: { step: 300, preset: "tiny", validation: { step: 300, lossNats: Math.log(2) } },
  });
  expect(card).toContain("| steps | 300 |");
  expect(card).toContain("| validation loss | 0.6931 nats a token (perplexity 2.000) at step 300 |");
  expect(card).not.toMatch(/tokens seen|optimiser|undefined/);
});

test("a full-precision model converted to ternary keeps its weights, and gets sub-norms of gain 1", async () => {
  const model = make({ variant: "full" });
  const { model: made, added } = await convertToBitnet(model);
  expect(made.config).toEqual({ ...model.config, variant: "bitnet", weightScale: "clamp", weightEps: 1e-5 });
  expect(added).toEqual(
    [0, 1].flatMap((i) => [
      `model.layers.${i}.self_attn.attn_sub_norm.weight`,
      `model.layers.${i}.mlp.ffn_sub_norm.weight`,
    ]),
  );
  const had = new Map(model.parameters.map(({ name, tensor }) => [name, tensor]));
  for (const { name, tensor, size } of made.parameters) {
    const from = had.get(name);
    const expected = from ? await model.runtime.readFloats(from) : new Float32Array(size).fill(1);
    expect(await model.runtime.readFloats(tensor)).toEqual(expected);
  }
  await expect(convertToBitnet(made)).rejects.toThrow(/is ternary already/);
});

test("converted without sub-norms it gets no parameter, and is the model that a LLaMA folder made ternary holds", async () => {
  const model = make({ variant: "full" });
  const { model: made, added } = await convertToBitnet(model, { subNorms: false });
  expect(added).toEqual([]);
  expect(made.parameters.map(({ name }) => name)).toEqual(model.parameters.map(({ name }) => name));
  expect(made.ternaryLayers.length).toBeGreaterThan(0);
  // The same tensors under a LLaMA config that says "bitnet" are read as the same model.
  const { folder } = await exported(model, { type: "f32" });
  const path = join(folder, "config.json");
  const { bitnet_ts: _, ...config } = JSON.parse(readFileSync(path, "utf8"));
  const ternary = { quant_method: "bitnet", linear_class: "autobitlinear", quantization_mode: "online" };
  writeFileSync(path, JSON.stringify({ ...config, quantization_config: ternary }));
  const read = await load(folder);
  expect(read.config).toEqual(made.config);
  expect(await logitsOf(read)).toEqual(await logitsOf(made));
  // Its config, told that it has sub-norms, is at odds with its tensors.
  writeFileSync(path, JSON.stringify({ ...config, quantization_config: ternary, sub_norm: true }));
  await expect(load(folder)).rejects.toThrow(/has no tensor .*attn_sub_norm.*"sub_norm": false in config.json/);
});

describe("a config.json from elsewhere is held against the weights beside it before a model of its sizes is made", () => {
  test.for<[string, number, RegExp]>([
    [
      "num_hidden_layers",
      1_000_000,
      /num_hidden_layers 1000000 are at least \d+ bytes of weights, but the safetensors/,
    ],
    ["vocab_size", 2 ** 31, /vocab_size 2147483648, .* is it of another model\?/],
    [
      "max_position_embeddings",
      2 ** 31,
      /max_position_embeddings is 2147483648; with heads of \d+ at most \d+ can be run/,
    ],
  ])("%s", async ([key, value, words]) => {
    const { folder } = await exported(make(), { type: "f32" });
    const path = join(folder, "config.json");
    const { bitnet_ts: _, ...config } = JSON.parse(readFileSync(path, "utf8"));
    writeFileSync(path, JSON.stringify({ ...config, [key]: value }));
    await expect(load(folder)).rejects.toThrow(words);
  });
});
