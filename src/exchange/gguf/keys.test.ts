// Every key that llama.cpp reads (its src/llama-arch.cpp, LLM_KV_NAMES, as of llama.cpp of December 2026): what a file may
// say and be opened, and what is refused by name. Oracle: that list, and llama.cpp's own reading of rotary scaling
// (src/llama-model.cpp, load_hparams; src/llama-context.cpp): type linear by default, the older key where the newer is absent,
// 0 for 1, "none" for no scaling whatever the factor.
import { copyFileSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type GgufKeys, rewriteGguf, splitGguf } from "../../../test/support/rewrite-gguf.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { bool, float, type GgufValue, readGguf, text, texts, u32 } from "../../formats/gguf/index.ts";
import { presets, Transformer } from "../../model/index.ts";
import { Runtime } from "../../tensor/index.ts";
import { trainBpe } from "../../tokenizer/index.ts";
import { describeGguf, exportGguf, loadGguf, openGgufModel } from "./index.ts";
import { knownModelKeys } from "./keys.ts";
import { knownTokenizerKeys } from "./tokenizer-keys.ts";

const runtime = new Runtime(createReferenceBackend());
const { tokenizer } = await trainBpe(["the cat sat on the mat and the rat", "that cat"], { vocabSize: 280 });
const folder = mkdtempSync(join(tmpdir(), "bitnet-keys-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const plain = join(folder, "plain.gguf");
beforeAll(async () => {
  const config = { ...presets.tiny, vocabSize: 290, width: 128, layers: 2, heads: 2, kvHeads: 1, hiddenWidth: 128 };
  const model = new Transformer(runtime, { ...config, contextLength: 64 }, 5);
  await exportGguf(plain, model, tokenizer, { type: "f32" });
});

const i32s = (...values: number[]): GgufValue => ({ type: "array", of: "i32", values: Int32Array.from(values) });
const open = async (change: (keys: GgufKeys) => void) => describeGguf(await rewriteGguf(plain, change));
const withKey = (key: string, value: GgufValue) => open((keys) => void keys.set(key, value));

/** Key without its architecture, a value that is run, a value that is not. */
const settings: [string, GgufValue, GgufValue][] = [
  ["attention.causal", bool(true), bool(false)],
  ["attention.sliding_window", u32(64), u32(32)],
  ["attention.scale", float(1 / 8), float(0.2)],
  ["attention.output_scale", float(1), float(2)],
  ["attention.value_scale", float(1), float(2)],
  ["attention.clamp_kqv", float(0), float(8)],
  ["attention.max_alibi_bias", float(0), float(8)],
  ["attention.key_length", u32(64), u32(32)],
  ["attention.value_length", u32(64), u32(32)],
  ["attention.temperature_length", u32(0), u32(8192)],
  ["attention.temperature_scale", float(0), float(0.1)],
  ["attention.q_lora_rank", u32(0), u32(8)],
  ["attention.head_count_kv", i32s(1, 1), i32s(1, 2)],
  ["attention.shared_kv_layers", u32(0), u32(1)],
  ["feed_forward_length", i32s(128, 128), i32s(128, 256)],
  ["attn_logit_softcapping", float(0), float(50)],
  ["final_logit_softcapping", float(0), float(30)],
  ["router_logit_softcapping", float(0), float(30)],
  ["logit_scale", float(1), float(0.0625)],
  ["embedding_scale", float(1), float(12)],
  ["residual_scale", float(1), float(0.22)],
  ["expert_count", u32(0), u32(8)],
  ["expert_used_count", u32(0), u32(2)],
  ["expert_shared_count", u32(0), u32(1)],
  ["expert_weights_scale", float(0), float(2.5)],
  ["leading_dense_block_count", u32(0), u32(1)],
  ["nextn_predict_layers", u32(0), u32(1)],
  ["use_parallel_residual", bool(false), bool(true)],
  ["hidden_activation", text("silu"), text("gelu")],
  ["embedding_length_out", u32(128), u32(64)],
  ["pooling_type", u32(0), u32(1)],
  ["swin_norm", bool(false), bool(true)],
  ["rope.dimension_count", u32(64), u32(32)],
  ["rope.dimension_sections", i32s(0, 0, 0, 0), i32s(16, 24, 24, 0)],
  ["rope.scaling.attn_factor", float(1), float(1.2)],
  ["rope.scaling.yarn_attn_factor", float(1), float(1.2)],
  ["rope.scaling.alpha", float(0), float(1000)],
  ["ssm.state_size", u32(0), u32(16)],
  ["classifier.output_labels", texts([]), texts(["spam", "ham"])],
];
test.for(settings)("%s is run at identity and refused by name otherwise", async ([name, fine, wrong]) => {
  const key = `bitnet.${name}`;
  await expect(withKey(key, fine)).resolves.toMatchObject({ notes: [] });
  await expect(withKey(key, wrong)).rejects.toThrow(key);
});

type Rotary = Partial<Record<"type" | "factor" | "old", string | number>>;
const rotary: [Rotary, boolean][] = [
  [{}, true],
  [{ type: "none", factor: 8 }, true],
  [{ type: "linear" }, true],
  [{ type: "linear", factor: 1 }, true],
  [{ type: "linear", factor: 0 }, true],
  [{ type: "yarn", factor: 1 }, true],
  [{ factor: 1, old: 4 }, true],
  [{ old: 1 }, true],
  [{ factor: 8 }, false],
  [{ old: 4 }, false],
  [{ type: "linear", factor: 8 }, false],
  [{ type: "yarn", factor: 4 }, false],
  [{ type: "longrope", factor: 1 }, false],
  [{ type: "ntk", factor: 1 }, false],
];
test.for(rotary)("rotary scaling %j: run %s", async ([{ type, factor, old }, fine]) => {
  const opened = open((keys) => {
    if (type !== undefined) keys.set("bitnet.rope.scaling.type", text(String(type)));
    if (factor !== undefined) keys.set("bitnet.rope.scaling.factor", float(Number(factor)));
    if (old !== undefined) keys.set("bitnet.rope.scale_linear", float(Number(old)));
  });
  if (fine) await expect(opened).resolves.toMatchObject({ notes: [] });
  else await expect(opened).rejects.toThrow("rotary scaling");
});

test("a key that nobody knows is a note, one without effect is listed, one of another kind of file is refused", async () => {
  const { notes, ignored } = await open((keys) => {
    keys.set("bitnet.attention.twist", float(2));
    keys.set("bitnet.rope.scaling.finetuned", bool(true));
    keys.set("general.sampling.temp", float(0.3));
    keys.set("llama.rope.scaling.factor", float(8));
    keys.set("tokenizer.huggingface.json", text("{}"));
    keys.set("tokenizer.chat_template.tool_use", text("{{ 1 }}"));
    keys.set("tokenizer.ggml.add_space_prefix", bool(true));
  });
  expect(notes).toEqual(["bitnet.attention.twist (2) is not known and is not applied"]);
  expect(ignored.map((line) => line.split(/[: (]/)[0]).sort()).toEqual([
    "bitnet.rope.scaling.finetuned",
    "general.sampling.temp",
    "llama.rope.scaling.factor",
    "tokenizer.chat_template.tool_use",
    "tokenizer.ggml.add_space_prefix",
    "tokenizer.huggingface.json",
  ]);
  await expect(withKey("general.type", text("adapter"))).rejects.toThrow('general.type is "adapter"');
  await expect(withKey("adapter.lora.alpha", float(16))).rejects.toThrow("adapter.lora.alpha");
  await expect(withKey("xielu.beta", float(1))).rejects.toThrow("xielu.beta");
});

test.for<[string, GgufValue, GgufValue]>([
  ["add_eos_token", bool(false), bool(true)],
  ["add_sep_token", bool(false), bool(true)],
  ["normalizer.lowercase", bool(false), bool(true)],
  ["normalizer.strip_accents", bool(false), bool(true)],
  ["suppress_tokens", i32s(), i32s(3)],
  ["precompiled_charsmap", i32s(), i32s(1, 2)],
])("tokenizer.ggml.%s is harmless unset and refused by name otherwise", async ([name, fine, wrong]) => {
  const key = `tokenizer.ggml.${name}`;
  await expect(withKey(key, fine)).resolves.toMatchObject({ notes: [], ignored: [] });
  await expect(withKey(key, wrong)).rejects.toThrow(key);
});

test("the lists name every key once", () => {
  for (const list of [knownModelKeys, knownTokenizerKeys]) expect(new Set(list).size).toBe(list.length);
});

test("numbers of any width, and booleans written as numbers, are read", async () => {
  const wide = await rewriteGguf(plain, (keys) => {
    for (const [key, value] of keys) {
      if (value.type === "u32") keys.set(key, { type: "u64", value: BigInt(value.value) });
      if (value.type === "f32") keys.set(key, { type: "f64", value: value.value });
      if (value.type === "bool") keys.set(key, { type: "u8", value: value.value ? 1 : 0 });
      if (value.type === "array" && value.of === "i32")
        keys.set(key, { type: "array", of: "i64", values: BigInt64Array.from(Array.from(value.values, BigInt)) });
    }
    keys.set("general.alignment", { type: "u64", value: 32n });
  });
  const [a, b] = [plain, wide].map((file) => {
    const opened = openGgufModel(file);
    opened.file.close();
    return { ...opened.config, hash: opened.tokenizer!.hash, ends: opened.endTokens };
  });
  expect(b).toEqual(a);
});

test("a file in parts is opened whole, whichever part is named", async () => {
  const parts = await splitGguf(plain, 3);
  for (const part of parts) {
    const [whole, cut] = [readGguf(plain), readGguf(part)];
    expect([...cut.tensors.keys()].sort()).toEqual([...whole.tensors.keys()].sort());
    for (const name of whole.tensors.keys())
      expect(Buffer.compare(cut.readBytes(name), whole.readBytes(name)), name).toBe(0);
    whole.close();
    cut.close();
    const { config, tokenizer: own } = await loadGguf(part, runtime);
    expect(config.layers).toBe(2);
    expect(own!.encode("the cat")).toEqual(tokenizer.encode("the cat"));
  }
});

test("a part that is missing, misnamed or of another model is named, with what to do", async () => {
  const [first, second, third] = await splitGguf(plain, 3);
  const kept = `${second}.kept`;
  renameSync(second, kept);
  expect(() => readGguf(first)).toThrow(/part 1 of 3, and part 2 is missing \(.*00002-of-00003.gguf\); .*--merge/);
  copyFileSync(third, second);
  expect(() => readGguf(first)).toThrow(/says that it is part 3 of 3; expected part 2 of 3/);
  rmSync(second);
  renameSync(kept, second);
  const odd = join(first, "..", "model.gguf");
  copyFileSync(first, odd);
  expect(() => readGguf(odd)).toThrow(/is part 1 of 3, so its name has to end in "-00001-of-00003.gguf"/);
});
