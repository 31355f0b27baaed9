// Models as GGUF files and back. Oracles: the tensor names, keys and refusals of llama.cpp's architectures (its
// llama-arch.cpp and bitnet.cpp, as their users state them); ops/weight-quant's definition for what a ternary layer is.
// llama.cpp itself is asked in test/judges/.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { float, readGguf, text, u32, writeGguf } from "../../formats/gguf/index.ts";
import { type ModelConfig, presets, Transformer } from "../../model/index.ts";
import { sha256Of } from "../../platform/hash.ts";
import { roundToFloat16 } from "../../quant/float16.ts";
import { quantizeWeights } from "../../ops/weight-quant/reference.ts";
import { Runtime } from "../../tensor/index.ts";
import { type Tokenizer, trainBpe } from "../../tokenizer/index.ts";
import { loadModel } from "../index.ts";
import { type GgufExportOptions, type GgufExportType, exportGguf, importGguf, loadGguf } from "./index.ts";
import { interleaveRotary } from "./names.ts";

const config: ModelConfig = {
  ...presets.tiny,
  vocabSize: 290,
  width: 256,
  layers: 1,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 256,
  contextLength: 16,
};
const runtime = new Runtime(createReferenceBackend());
const { tokenizer } = await trainBpe(["the cat sat on the mat and the rat", "that cat, the other one"], {
  vocabSize: 280,
});
/** Made once for each config: nobody changes them. */
const models = new Map<string, Transformer>();
function modelOf(changes: Partial<ModelConfig> = {}): Transformer {
  const key = JSON.stringify(changes);
  const model = models.get(key) ?? new Transformer(runtime, { ...config, ...changes }, 5);
  models.set(key, model);
  return model;
}
const path = () => join(temporaryFolder(), "model.gguf");
const write = async (model: Transformer, options: GgufExportOptions, own: Tokenizer | null = tokenizer) => {
  const file = path();
  const report = await exportGguf(file, model, own, options);
  return { file, report };
};
const batch = { tokens: Int32Array.from([0, 5, 270, 33, 280]), batch: 1, length: 5 };
const logits = async (model: Transformer) => runtime.readFloats(model.logits(batch));
/** Of large arrays, which vitest compares one by one, slowly. */
const digest = (values: ArrayBufferView) =>
  sha256Of(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
/** Codes (their hash) and scale of every ternary layer, as it multiplies. */
const ternaryDigests = async (model: Transformer) =>
  (await ternary(model)).map((layer) => ({ ...layer, codes: digest(layer.codes) }));
/** Codes and scale of every ternary layer, as it multiplies. */
const ternary = (model: Transformer) =>
  Promise.all(
    model.ternaryLayers.map(async (layer) => {
      const { codes, scale } = layer.quantized(runtime);
      return { name: layer.weight.name, codes: await runtime.read(codes), scale: await runtime.readFloats(scale) };
    }),
  );
const floats = (model: Transformer, name: string) =>
  runtime.readFloats(model.parameters.find((parameter) => parameter.name === name)!.tensor);

test("architecture bitnet: its keys, its 2 + 11 L tensors, norms in float32, and no head of its own", async () => {
  const { file, report } = await write(modelOf(), { type: "f32", name: "small" });
  const gguf = readGguf(file);
  expect(report).toMatchObject({ architecture: "bitnet", tensors: 13, scaleTensors: false });
  expect([...gguf.tensors.keys()].sort()).toEqual(
    ["token_embd", "output_norm"]
      .concat(
        ["attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm", "attn_q", "attn_k", "attn_v", "attn_output"].map(
          (n) => `blk.0.${n}`,
        ),
        ["ffn_gate", "ffn_up", "ffn_down"].map((n) => `blk.0.${n}`),
      )
      .map((name) => `${name}.weight`)
      .sort(),
  );
  const { metadata } = gguf;
  expect(metadata.text("general.architecture")).toBe("bitnet");
  expect(metadata.get("bitnet.context_length")).toEqual(u32(16));
  expect(metadata.get("bitnet.embedding_length")).toEqual(u32(256));
  expect(metadata.get("bitnet.block_count")).toEqual(u32(1));
  expect(metadata.get("bitnet.feed_forward_length")).toEqual(u32(256));
  expect(metadata.get("bitnet.attention.head_count")).toEqual(u32(4));
  expect(metadata.get("bitnet.attention.head_count_kv")).toEqual(u32(2));
  expect(metadata.get("bitnet.attention.layer_norm_rms_epsilon")).toEqual(float(Math.fround(1e-5)));
  expect(metadata.get("bitnet.rope.freq_base")).toEqual(float(10000));
  expect(metadata.get("bitnet.rope.dimension_count")).toEqual(u32(64));
  expect(gguf.tensor("blk.0.attn_k.weight").shape).toEqual([128, 256]);
  expect(gguf.tensor("token_embd.weight")).toMatchObject({ shape: [290, 256], type: "F32" });
  gguf.close();
});

test("a ternary matrix is written as gamma · Wq, not as the weights that it is made from", async () => {
  const model = modelOf();
  const { file } = await write(model, { type: "f32" });
  const latent = await floats(model, "model.layers.0.self_attn.q_proj.weight");
  const [codes, scale] = [new Uint8Array(latent.length), new Float32Array(1)];
  quantizeWeights(latent, codes, scale, config.weightScale, config.weightEps);
  const gguf = readGguf(file);
  // No row is moved: this architecture turns halves, as we do.
  const products = Float32Array.from(codes, (code) => (code - 1) * scale[0]);
  expect(digest(gguf.readFloats("blk.0.attn_q.weight"))).toBe(digest(products));
  gguf.close();
});

test.for<GgufExportType>(["f32", "f16", "bf16", "q8_0", "tq2_0", "tq1_0", "q2_0", "i2_s"])(
  "%s: read back, every ternary layer has the same codes and, to the bit, the same scale; logits are the same",
  async (type) => {
    const model = modelOf();
    const { file, report } = await write(model, { type, embeddingType: "f32" });
    const back = await loadModel(file, runtime);
    expect(back).toMatchObject({ folder: file, step: null, chatTemplate: null });
    expect(await ternaryDigests(back.model)).toEqual(await ternaryDigests(model));
    expect(await logits(back.model)).toEqual(await logits(model));
    const { weightScale, weightEps, ...rest } = config;
    expect(back.config).toEqual({ ...rest, weightScale: "clamp", weightEps: 1e-5 });
    // The embedding's 32 bits and the matrices' own, over all parameters.
    const bits = { f32: 32, f16: 16, bf16: 16, q8_0: 8.5, tq2_0: 2.0625, tq1_0: 1.6875, q2_0: 2.25, i2_s: 2 }[type];
    const matrices = model.ternaryLayers.reduce((sum, { weight }) => sum + weight.size, 0);
    const all = model.parameters.reduce((sum, { size }) => sum + size, 0);
    expect(report.bitsPerWeight).toBeCloseTo((bits * matrices + 32 * (all - matrices)) / all, 1);
  },
);

test("squared ReLU goes to bitnet-b1.58, for bitnet.cpp: codes in I2_S as its layout has them, the scale in the tensor", async () => {
  const model = modelOf({ activation: "relu2" });
  const { file, report } = await write(model, { type: "i2_s", embeddingType: "f32" });
  expect(report).toMatchObject({
    architecture: "bitnet-b1.58",
    tensors: 13,
    notes: [expect.stringMatching(/does not know I2_S/)],
  });
  expect(report.loadsIn).toMatch(/^bitnet.cpp \(not llama.cpp/);
  const gguf = readGguf(file);
  expect(gguf.metadata.get("general.file_type")).toEqual(u32(40));
  expect(gguf.metadata.get("bitnet-b1.58.rope.dimension_count")).toEqual(u32(64));
  const bytes = gguf.readBytes("blk.0.ffn_down.weight");
  const layer = (await ternary(model)).find(({ name }) => name.endsWith("down_proj.weight"))!;
  expect(bytes.length).toBe((256 * 256) / 4 + 32);
  let wrong = 0;
  for (let e = 0; e < 256 * 256; e++) {
    const [block, g, p] = [Math.floor(e / 128), Math.floor((e % 128) / 32), e % 32];
    if (((bytes[32 * block + p] >> (6 - 2 * g)) & 3) !== layer.codes[e]) wrong++;
  }
  expect(wrong).toBe(0);
  expect(new DataView(bytes.buffer).getFloat32((256 * 256) / 4, true)).toBe(layer.scale[0]);
  gguf.close();
  const back = await loadGguf(file, runtime);
  expect(back.config.activation).toBe("relu2");
  expect(await logits(back.model)).toEqual(await logits(model));
  // Without scale tensors a scale in a block is a float16, which is told.
  expect((await write(model, { type: "tq2_0" })).report.notes[0]).toMatch(/scale is rounded to float16/);
});

test("the full-precision twin goes to llama: pairs of rows side by side in q and k, its own head, and back", async () => {
  const model = modelOf({ variant: "full", tiedHead: false });
  const { file, report } = await write(model, { type: "f32" });
  expect(report).toMatchObject({ architecture: "llama", tensors: 12, loadsIn: "llama.cpp and bitnet.cpp" });
  const gguf = readGguf(file);
  expect(gguf.tensors.has("output.weight")).toBe(true);
  const ours = await floats(model, "model.layers.0.self_attn.k_proj.weight");
  const theirs = gguf.readFloats("blk.0.attn_k.weight");
  // Head 1 of width 64: its rows 0, 1, 2, 3 are ours 0, 32, 1, 33.
  for (const [row, from] of [
    [64, 64],
    [65, 96],
    [66, 65],
    [67, 97],
  ])
    expect(theirs.subarray(row * 256, (row + 1) * 256)).toEqual(ours.subarray(from * 256, (from + 1) * 256));
  expect(digest(gguf.readFloats("blk.0.attn_v.weight"))).toBe(
    digest(await floats(model, "model.layers.0.self_attn.v_proj.weight")),
  );
  gguf.close();
  const back = await loadGguf(file, runtime);
  expect(back.config).toMatchObject({ variant: "full", tiedHead: false, activation: "silu" });
  expect(await logits(back.model)).toEqual(await logits(model));
  const tied = await write(modelOf({ variant: "full" }), { type: "f16" });
  const without = readGguf(tied.file);
  expect(without.tensors.has("output.weight")).toBe(false);
  without.close();
});

test.for<GgufExportType>(["f32", "i2_s", "tq2_0", "tq1_0", "q2_0", "f16"])(
  "a ternary model without sub-norms goes to llama in %s: codes in pairs of rows, and back with the same codes",
  async (type) => {
    const model = modelOf({ subNorms: false, tiedHead: false });
    const { file, report } = await write(model, { type, embeddingType: "f32" });
    expect(report).toMatchObject({ architecture: "llama", tensors: 12, scaleTensors: false });
    const gguf = readGguf(file);
    expect(gguf.tensors.has("blk.0.attn_sub_norm.weight")).toBe(false);
    const theirs = gguf.readFloats("blk.0.attn_k.weight");
    gguf.close();
    const layers = await ternary(model);
    const { codes, scale } = layers.find(({ name }) => name.endsWith("k_proj.weight"))!;
    const stored = type === "f32" || type === "i2_s" ? scale[0] : roundToFloat16(scale[0]);
    // Head 1 of width 64: its rows 0, 1, 2, 3 are ours 0, 32, 1, 33.
    for (const [row, from] of [
      [64, 64],
      [65, 96],
      [66, 65],
      [67, 97],
    ])
      expect(theirs.subarray(row * 256, (row + 1) * 256)).toEqual(
        Float32Array.from(codes.subarray(from * 256, (from + 1) * 256), (code) => (code - 1) * stored),
      );
    const back = await loadGguf(file, runtime);
    expect(back.config).toMatchObject({ variant: "bitnet", subNorms: false, tiedHead: false, activation: "silu" });
    const found = await ternaryDigests(back.model);
    expect(found.map((layer) => layer.codes)).toEqual(layers.map((layer) => digest(layer.codes)));
    if (type === "f32" || type === "i2_s") expect(await logits(back.model)).toEqual(await logits(model));
    else expect(found.map((layer) => layer.scale[0])).toEqual(layers.map((layer) => roundToFloat16(layer.scale[0])));
  },
);

test("a llama file of ternary type is a ternary model where its blocks have one scale, and float weights where not", async () => {
  const { file } = await write(modelOf({ subNorms: false }), { type: "tq2_0" });
  const others = (change: (bytes: Uint8Array) => void) =>
    rewritten(file, (keys, tensors) => {
      keys.delete("bitnet_ts.ternary");
      const bytes = (tensors.get("blk.0.attn_q.weight") as { data(): Uint8Array }).data();
      change(bytes);
    });
  const said = await loadGguf(await others(() => {}), runtime);
  expect(said.config).toMatchObject({ variant: "bitnet", subNorms: false });
  const blocks = await loadGguf(await others((bytes) => (bytes[65] ^= 1)), runtime);
  expect(blocks.config.variant).toBe("full");
});

test("rows interleaved and put back are as they were", () => {
  const rows = Float32Array.from({ length: 2 * 6 * 3 }, (_, i) => i);
  expect([...interleaveRotary(rows, 2, 3)].filter((_, i) => i % 3 === 0).map((x) => x / 3)).toEqual([
    0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11,
  ]);
  expect(interleaveRotary(interleaveRotary(rows, 2, 3), 2, 3, true)).toEqual(rows);
});

test.for<[string, Partial<ModelConfig>, GgufExportOptions, RegExp]>([
  [
    "squared ReLU in bitnet",
    { activation: "relu2" },
    { type: "f16", architecture: "bitnet" },
    /SwiGLU, and this model's gate is squared ReLU; use bitnet-b1.58/,
  ],
  [
    "SwiGLU in bitnet-b1.58",
    {},
    { type: "f16", architecture: "bitnet-25" },
    /gate is squared ReLU, and this model's feed-forward is SwiGLU; use bitnet/,
  ],
  [
    "a head of its own in bitnet",
    { tiedHead: false },
    { type: "f16" },
    /output head is always the embedding, and this model has a head of its own/,
  ],
  [
    "sub-norms in llama",
    {},
    { type: "f16", architecture: "llama" },
    /has no sub-norms, and this model has; use bitnet/,
  ],
  [
    "no sub-norms in bitnet",
    { variant: "full" },
    { type: "f16", architecture: "bitnet" },
    /has sub-norms, and this model has none; use llama/,
  ],
  [
    "squared ReLU without sub-norms",
    { subNorms: false, activation: "relu2" },
    { type: "i2_s" },
    /"llama": its feed-forward is SwiGLU, and this model's gate is relu2/,
  ],
  [
    "squared ReLU in llama",
    { variant: "full", activation: "relu2" },
    { type: "f16" },
    /feed-forward is SwiGLU, and this model's gate is relu2/,
  ],
  [
    "float weights as trits",
    { variant: "full" },
    { type: "tq2_0" },
    /--type tq2_0 holds ternary weights, and this model's are not/,
  ],
  [
    "rows that are no whole blocks",
    { width: 128 },
    { type: "tq1_0" },
    /attn_q \(width\) has rows of 128, and TQ1_0 stores rows in blocks of 256; these fit: f32, f16, bf16, q8_0, q2_0, i2_s/,
  ],
  [
    "an embedding of no whole blocks",
    { width: 128 },
    { type: "f16", embeddingType: "q6_k" },
    /token_embd \(width\) has rows of 128/,
  ],
  ["Q2_0 where no program reads it", { activation: "relu2" }, { type: "q2_0" }, /q2_0 is read by llama.cpp alone/],
])("%s is refused with the reason, and nothing is written", async ([, changes, options, message]) => {
  const folder = temporaryFolder();
  await expect(exportGguf(join(folder, "no.gguf"), modelOf(changes), tokenizer, options)).rejects.toThrow(message);
  expect(readdirSync(folder)).toEqual([]);
});

test("a model without a tokenizer, and weights that are not finite, are refused; nothing is written", async () => {
  const folder = temporaryFolder();
  const to = join(folder, "no.gguf");
  await expect(exportGguf(to, modelOf(), null, { type: "f16" })).rejects.toThrow(
    /has no tokenizer; a GGUF file without a vocabulary/,
  );
  const model = new Transformer(runtime, config, 5);
  const [embedding] = model.parameters;
  const values = await runtime.readFloats(embedding.tensor);
  values[300] = Number.NaN;
  runtime.backend.upload(embedding.tensor.buffer, values);
  await expect(exportGguf(to, model, tokenizer, { type: "f16" })).rejects.toThrow(
    /token_embd.weight: model.embed_tokens.weight holds NaN at 300/,
  );
  await expect(
    exportGguf(to, modelOf(), tokenizer, { type: "f16", signal: AbortSignal.abort(new Error("stopped")) }),
  ).rejects.toThrow("stopped");
  expect(readdirSync(folder)).toEqual([]);
});

test("a chat template travels in the file, and into the folder that it is imported to", async () => {
  const file = path();
  const template = "{% for m in messages %}{{ m.content }}{% endfor %}";
  await exportGguf(file, modelOf(), tokenizer, { type: "i2_s", embeddingType: "f32", chatTemplate: template });
  const folder = join(temporaryFolder(), "imported");
  const { parameters } = await importGguf(file, folder, runtime);
  expect(parameters).toBe(modelOf().parameters.reduce((sum, { size }) => sum + size, 0));
  expect(readFileSync(join(folder, "chat_template.jinja"), "utf8")).toBe(template);
  const back = await loadModel(folder, runtime);
  expect(await ternaryDigests(back.model)).toEqual(await ternaryDigests(modelOf()));
  expect(back.tokenizer!.encode("the cat sat")).toEqual(tokenizer.encode("the cat sat"));
  await importGguf(file, folder, runtime); // in place of a model; not of a folder with other things
  writeFileSync(join(folder, "notes.txt"), "mine");
  await expect(importGguf(file, folder, runtime)).rejects.toThrow(/exists and was not written by this command/);
});

/** The model's file with keys and tensors changed. */
async function tampered(change: (keys: Map<string, unknown>, tensors: Map<string, unknown>) => void): Promise<string> {
  return rewritten((await write(modelOf(), { type: "i2_s" })).file, change);
}

/** A file with keys and tensors changed. */
async function rewritten(
  file: string,
  change: (keys: Map<string, unknown>, tensors: Map<string, unknown>) => void,
): Promise<string> {
  const gguf = readGguf(file);
  const keys = new Map<string, unknown>(gguf.metadata.keys.map((key) => [key, gguf.metadata.get(key)]));
  const tensors = new Map<string, unknown>(
    [...gguf.tensors.values()].map(({ name, shape, type }) => {
      const bytes = gguf.readBytes(name);
      return [name, { name, shape, type, data: () => bytes }];
    }),
  );
  gguf.close();
  change(keys, tensors);
  const changed = path();
  await writeGguf(changed, keys as never, [...tensors.values()] as never);
  return changed;
}

const someFloats = (shape: number[]) => ({
  shape,
  type: "F32",
  data: () =>
    new Uint8Array(Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i)).buffer),
});
test.for<[string, Parameters<typeof tampered>[0], RegExp]>([
  [
    "another architecture",
    (keys) => keys.set("general.architecture", text("qwen2")),
    /is of architecture "qwen2"; these can be read: bitnet/,
  ],
  ["a missing key", (keys) => keys.delete("bitnet.block_count"), /has no bitnet.block_count; expected a number/],
  [
    "a width of text",
    (keys) => keys.set("bitnet.embedding_length", text("wide")),
    /bitnet.embedding_length is string "wide"; expected a number/,
  ],
  [
    "a forged width",
    (keys) => keys.set("bitnet.embedding_length", u32(2 ** 30)),
    /tensor "token_embd.weight" is \[290,256\]; its metadata makes it|rope.dimension_count is 64/,
  ],
  [
    "forged layers",
    (keys) => keys.set("bitnet.block_count", u32(2 ** 31)),
    /block_count is 2147483648, but there are 13 tensors/,
  ],
  [
    "a forged context",
    (keys) => keys.set("bitnet.context_length", u32(2 ** 32 - 1)),
    /context_length is 4294967295; with heads of 64 at most/,
  ],
  [
    "heads that do not divide",
    (keys) => keys.set("bitnet.attention.head_count", u32(3)),
    /heads: width must be a multiple of heads/,
  ],
  [
    "rotary scaling",
    (keys) => keys.set("bitnet.rope.scaling.type", text("linear")).set("bitnet.rope.scaling.factor", float(4)),
    /rotary scaling \(bitnet.rope.scaling.type linear, bitnet.rope.scaling.factor 4\) is not supported/,
  ],
  ["a missing tensor", (_, tensors) => tensors.delete("blk.0.ffn_up.weight"), /has no tensor "blk.0.ffn_up.weight"/],
  [
    "a tensor too many",
    (_, tensors) => tensors.set("rope.weight", { name: "rope.weight", ...someFloats([4]) }),
    /holds tensor "rope.weight", which no model here has/,
  ],
  [
    "a tensor of another shape",
    (_, tensors) => tensors.set("output_norm.weight", { name: "output_norm.weight", ...someFloats([128]) }),
    /tensor "output_norm.weight" is \[128\]; its metadata makes it \[256\]/,
  ],
  [
    "an unknown pre-tokenizer",
    (keys) => keys.set("tokenizer.ggml.pre", text("tekken")),
    /tokenizer.ggml.pre is "tekken", which cuts text in a way that is not supported.*--pre: gpt-2/,
  ],
  [
    "an end of text outside the vocabulary",
    (keys) => keys.set("tokenizer.ggml.eos_token_id", u32(9999)),
    /eos_token_id is 9999, but there are 290 tokens/,
  ],
])("%s is refused when read", async ([, change, message]) => {
  await expect(loadGguf(await tampered(change), runtime)).rejects.toThrow(message);
});

test("weights that are not ternary are refused in a file whose matrices are all of one type", async () => {
  const { file } = await write(modelOf(), { type: "f32" });
  const other = await rewritten(file, (_, tensors) =>
    tensors.set("blk.0.attn_q.weight", { name: "blk.0.attn_q.weight", ...someFloats([256, 256]) }),
  );
  await expect(loadGguf(other, runtime)).rejects.toThrow(/tensor "blk.0.attn_q.weight" is not ternary/);
});

test("a file called .gguf that is none is told so, and an empty one", async () => {
  const file = path();
  writeFileSync(file, "this is a text, and longer than the header of a file");
  await expect(loadModel(file, runtime)).rejects.toThrow(/the magic at byte 0 is not "GGUF"/);
  writeFileSync(file, "");
  await expect(loadModel(file, runtime)).rejects.toThrow(/has 0 bytes; a GGUF file has at least 24/);
});

test("a type that Python's gguf does not know is said, with those that it and llama.cpp read at these widths", async () => {
  const notesOf = async (type: GgufExportType, changes: Partial<ModelConfig> = {}) =>
    (await write(modelOf(changes), { type })).report.notes.filter((note) =>
      note.startsWith("gguf, the Python package"),
    );
  expect(await notesOf("q2_0")).toEqual([expect.stringMatching(/Q2_0.*llama.cpp both read tq2_0, tq1_0, q8_0, f16/)]);
  expect(await notesOf("i2_s", { width: 128, hiddenWidth: 128, heads: 2 })).toEqual([
    expect.stringMatching(/I2_S.*both read q8_0, f16/),
  ]);
  for (const type of ["tq2_0", "tq1_0", "q8_0", "f16", "bf16", "f32"] as const) expect(await notesOf(type)).toEqual([]);
});

test.each<[string, Partial<ModelConfig>, string]>([
  ["tq1_0 where rows are whole blocks of 256", {}, "tq1_0"],
  ["q2_0 for rows of 384, as those of tiny", { width: 384, heads: 6, hiddenWidth: 1152 }, "q2_0"],
  ["q2_0 where only the feed-forward's rows are too short", { hiddenWidth: 192 }, "q2_0"],
  ["q8_0 where no ternary type fits", { width: 96, hiddenWidth: 96 }, "q8_0"],
  ["f16 where not even blocks of 32 fit", { width: 80, hiddenWidth: 80 }, "f16"],
  ["f16 for full precision", { variant: "full" }, "f16"],
  [
    "i2_s, bitnet.cpp's, for squared ReLU and rows of 384",
    { activation: "relu2", width: 384, heads: 6, hiddenWidth: 384 },
    "i2_s",
  ],
])("type auto: %s", async (_, changes, type) => {
  const { file, report } = await write(modelOf(changes), {});
  expect(report.type).toBe(type);
  const written = readGguf(file).tensors.get("blk.0.ffn_down.weight");
  expect(written?.type).toBe(type.toUpperCase());
  expect((await write(modelOf(changes), { type: "auto" })).report.sha256).toBe(report.sha256);
});
