// Models as GGUF files and back. Oracles: the tensor names, keys and refusals of llama.cpp's architectures (its
// llama-arch.cpp and bitnet.cpp, as their users state them); ops/weight-quant's definition for what a ternary layer is; for
// tokenizers, files that llama.cpp's converter wrote and the ids that llama.cpp expects of them (shared data). llama.cpp
// itself is asked in test/judges/.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ggmlCases, ggmlFiles, gpt2Files, gpt2Json } from "../../../test/support/tokenizers.ts";
import { sharedPath, testShared } from "../../../test/support/shared.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { float, readGguf, text, u32, writeGguf } from "../../formats/gguf/index.ts";
import { type ModelConfig, presets, Transformer } from "../../model/index.ts";
import { sha256Of } from "../../platform/files.ts";
import { quantizeWeights } from "../../ops/weight-quant/reference.ts";
import { Runtime } from "../../tensor/index.ts";
import { loadTokenizer, type Tokenizer, trainBpe, trainCharacters } from "../../tokenizer/index.ts";
import { createTokenizer } from "../../tokenizer/load.ts";
import { loadModel } from "../index.ts";
import { type GgufExportOptions, type GgufExportType, exportGguf, importGguf, loadGguf } from "./index.ts";
import { interleaveRotary } from "./names.ts";
import { tokenizerFromGguf } from "./tokenizer-from-gguf.ts";
import { tokenizerToGguf } from "./tokenizer-to-gguf.ts";

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
const sameJson = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
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
  expect(report).toMatchObject({ architecture: "bitnet-b1.58", tensors: 13, notes: [] });
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
    /has no sub-norms, and this model .* has; use bitnet/,
  ],
  [
    "no sub-norms in bitnet",
    { variant: "full" },
    { type: "f16", architecture: "bitnet" },
    /has sub-norms, and this model .* has none; use llama/,
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
  await expect(importGguf(file, folder, runtime)).rejects.toThrow(/exists/);
});

/** The model's file with keys and tensors changed. */
async function tampered(change: (keys: Map<string, unknown>, tensors: Map<string, unknown>) => void): Promise<string> {
  const { file } = await write(modelOf(), { type: "i2_s" });
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
    /rotary scaling \(linear, 4\) is not supported/,
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
    "weights that are not ternary",
    (_, tensors) => tensors.set("blk.0.attn_q.weight", { name: "blk.0.attn_q.weight", ...someFloats([256, 256]) }),
    /tensor "blk.0.attn_q.weight" is not ternary/,
  ],
  [
    "an unknown pre-tokenizer",
    (keys) => keys.set("tokenizer.ggml.pre", text("qwen2")),
    /tokenizer.ggml.pre is "qwen2"; these can be run: gpt-2, llama-bpe/,
  ],
  [
    "an end of text outside the vocabulary",
    (keys) => keys.set("tokenizer.ggml.eos_token_id", u32(9999)),
    /eos_token_id is 9999, but there are 290 tokens/,
  ],
])("%s is refused when read", async ([, change, message]) => {
  await expect(loadGguf(await tampered(change), runtime)).rejects.toThrow(message);
});

test("a file called .gguf that is none is told so, and an empty one", async () => {
  const file = path();
  writeFileSync(file, "this is a text, and longer than the header of a file");
  await expect(loadModel(file, runtime)).rejects.toThrow(/the magic at byte 0 is not "GGUF"/);
  writeFileSync(file, "");
  await expect(loadModel(file, runtime)).rejects.toThrow(/has 0 bytes; a GGUF file has at least 24/);
});

/** A tokenizer's keys through a file, as a tokenizer. */
async function through(own: Tokenizer, startToken: number | null = own.bos ?? own.endOfText) {
  const { entries, notes } = tokenizerToGguf(own, { vocabSize: own.vocabSize + 3, startToken });
  const file = path();
  await writeGguf(file, entries, []);
  const gguf = readGguf(file);
  const back = tokenizerFromGguf(gguf.metadata, file)!;
  const keys = gguf.metadata;
  gguf.close();
  return { back, keys, notes };
}
const hard = [
  "the cat sat",
  "  two  spaces and\n\nlines\ttabs",
  "12345 it's <|endoftext|> \u00e9\u6f22 \ud83d\ude00 zero\u0000",
];

test("byte-level BPE: keys as llama.cpp wants them, unused ids named, the same tokens when read back", async () => {
  const { back, keys } = await through(tokenizer);
  expect(keys.text("tokenizer.ggml.model")).toBe("gpt2");
  expect(keys.text("tokenizer.ggml.pre")).toBe("gpt-2");
  const V = tokenizer.vocabSize;
  expect(keys.texts("tokenizer.ggml.tokens").slice(V - 1)).toEqual([
    tokenizer.tokenOf(V - 1),
    ...[V, V + 1, V + 2].map((id) => `[PAD${id}]`),
  ]);
  expect([...keys.findNumbers("tokenizer.ggml.token_type")!.slice(-3)]).toEqual([5, 5, 5]);
  expect(keys.findNumbers("tokenizer.ggml.token_type")![tokenizer.endOfText!]).toBe(3);
  expect(keys.count("tokenizer.ggml.bos_token_id", 0)).toBe(tokenizer.endOfText);
  expect(back).toMatchObject({ engine: "byte-level", vocabSize: V, eos: tokenizer.eos, bos: tokenizer.endOfText });
  for (const sample of hard) expect(back.encode(sample)).toEqual(tokenizer.encode(sample));
  expect([...back.encode("the", { addSpecialTokens: true })]).toEqual([
    tokenizer.endOfText,
    ...tokenizer.encode("the"),
  ]);
});

test("characters with bytes for the unknown: SentencePiece without a space in front, and the same tokens when read back", async () => {
  const own = (await trainCharacters(["the cat sat on a mat.\n"], { unknown: "bytes" })).tokenizer;
  const { back, keys } = await through(own);
  expect(keys.text("tokenizer.ggml.model")).toBe("llama");
  expect(keys.findBool("tokenizer.ggml.add_space_prefix")).toBe(false);
  for (const sample of hard) expect(back.encode(sample)).toEqual(own.encode(sample));
  expect(back.decode(own.encode(hard[1]))).toBe(hard[1]);
});

test("characters without bytes are refused: llama.cpp ends at one that it does not know", async () => {
  const own = (await trainCharacters(["the cat"])).tokenizer;
  expect(() => tokenizerToGguf(own, { vocabSize: own.vocabSize, startToken: 0 })).toThrow(/has no tokens for bytes/);
});

test("a tokenizer that joins less than SentencePiece would is refused", () => {
  const json = structuredClone(createTokenizer(spm(["ab", "abc"])).toJson());
  json.model.merges = ["a b"];
  const own = createTokenizer(json, { name: "partial" });
  expect(() => tokenizerToGguf(own, { vocabSize: own.vocabSize, startToken: null })).toThrow(
    /does not join "ab c" though the two make a token/,
  );
});

/** A SentencePiece-like tokenizer.json with these pieces beside bytes, the mark and letters. */
function spm(pieces: string[]) {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, "\u2581", "a", "b", "c", ...pieces];
  const special = (content: string, id: number) => ({ id, content, special: true, normalized: false });
  return {
    added_tokens: ["<unk>", "<s>", "</s>"].map(special),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "\u2581" },
        { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      ],
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "\u2581" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: ["a b", "ab c"],
    },
  };
}

for (const [name, file] of [
  ["gpt-2", "data/tokenizers/ggml-vocab-gpt-2.gguf"],
  ["llama-spm", "data/tokenizers/ggml-vocab-llama-spm.gguf"],
] as const)
  testShared(
    `the vocabulary that llama.cpp's converter wrote for ${name} gives the ids that llama.cpp expects`,
    [file, ...ggmlFiles(name)],
    () => {
      const gguf = readGguf(sharedPath(file));
      const back = tokenizerFromGguf(gguf.metadata, name)!;
      gguf.close();
      for (const { text: sample, ids } of ggmlCases(name))
        expect([...back.encode(sample)], JSON.stringify(sample)).toEqual(ids);
    },
  );

testShared(
  "GPT-2's own tokenizer is written as llama.cpp's converter wrote it",
  [...gpt2Files, "data/tokenizers/ggml-vocab-gpt-2.gguf"],
  async () => {
    const { entries } = tokenizerToGguf(createTokenizer(gpt2Json(), { name: "gpt2" }), {
      vocabSize: 50257,
      startToken: 50256,
    });
    const gguf = readGguf(sharedPath("data/tokenizers/ggml-vocab-gpt-2.gguf"));
    const ours = new Map(entries);
    for (const key of ["model", "pre", "tokens", "merges", "bos_token_id", "eos_token_id"].map(
      (k) => `tokenizer.ggml.${k}`,
    ))
      expect(sameJson(ours.get(key), gguf.metadata.get(key)), key).toBe(true);
    gguf.close();
  },
);

testShared(
  "LLaMA-2's is written with the tokens and kinds of llama.cpp's converter, its scores in the same order",
  ["data/tokenizers/llama2.tokenizer.json", "data/tokenizers/ggml-vocab-llama-spm.gguf"],
  async () => {
    const own = loadTokenizer(sharedPath("data/tokenizers/llama2.tokenizer.json"));
    const ours = new Map(tokenizerToGguf(own, { vocabSize: 32000, startToken: own.bos }).entries);
    const gguf = readGguf(sharedPath("data/tokenizers/ggml-vocab-llama-spm.gguf"));
    for (const key of ["tokens", "token_type", "bos_token_id", "eos_token_id", "unknown_token_id"].map(
      (k) => `tokenizer.ggml.${k}`,
    ))
      expect(sameJson(ours.get(key), gguf.metadata.get(key)), key).toBe(true);
    const theirs = gguf.metadata.findNumbers("tokenizer.ggml.scores")!;
    const scores = (ours.get("tokenizer.ggml.scores") as unknown as { values: Float32Array }).values;
    // Of tokens that merges make, which alone are joined by score.
    const made = [...theirs.keys()].filter((id) => scores[id] < 0);
    expect(made.length).toBeGreaterThan(29_000);
    const byTheirs = [...made].sort((a, b) => theirs[b] - theirs[a] || a - b);
    const byOurs = [...made].sort((a, b) => scores[b] - scores[a] || a - b);
    expect(byOurs.join() === byTheirs.join()).toBe(true);
    gguf.close();
  },
);
