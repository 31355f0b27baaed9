// Oracle: what was saved; Hugging Face's names for configs and tensors of BitNetForCausalLM and LlamaForCausalLM; every
// damage is made by hand on the bytes.
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { smallModel } from "../../test/support/small-run.ts";
import { createReferenceBackend } from "../backends/index.ts";
import { readSafetensors, writeSafetensors } from "../formats/safetensors.ts";
import { fill } from "../ops/fill/index.ts";
import { type ModelConfig, presets, Transformer } from "../model/index.ts";
import { Runtime } from "../tensor/index.ts";
import { trainCharacters } from "../tokenizer/index.ts";
import { createAdamW } from "../train/optimizers.ts";
import { describeModel, loadModel } from "../exchange/index.ts";
import {
  checkpointName,
  findNewestCheckpoint,
  fromHuggingFaceConfig,
  restoreCheckpoint,
  saveCheckpoint,
  toHuggingFaceConfig,
  verifyCheckpoint,
} from "./index.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-checkpoint-"));
afterAll(() => rmSync(root, { recursive: true }));
let folders = 0;
const newFolder = () => join(root, String(++folders));

const { tokenizer } = await trainCharacters(["abcdefghijklmnop"]);

function setUp(changes: Partial<ModelConfig> = {}) {
  const runtime = new Runtime(createReferenceBackend());
  const model = new Transformer(runtime, { ...smallModel, ...changes }, 11);
  const optimizer = createAdamW(runtime, model.parameters);
  for (const [i, { tensor }] of optimizer.state.entries()) fill(runtime.plainContext(), tensor, i + 0.5);
  return { runtime, model, optimizer };
}

async function save(path: string, step = 7, changes: Partial<ModelConfig> = {}) {
  const parts = setUp(changes);
  await saveCheckpoint(path, { ...parts, tokenizer, step, training: { note: "here" } });
  return parts;
}

const batch = { tokens: Int32Array.from([1, 2, 3, 4]), batch: 1, length: 4 };
async function lossOf(runtime: Runtime, model: Transformer): Promise<number> {
  return (await runtime.readFloats(runtime.scope(() => model.loss(batch, batch.tokens).loss)))[0];
}

describe("a saved checkpoint", () => {
  test("loads as the same model, to the last bit, with its tokenizer and step", async () => {
    const path = newFolder();
    const { runtime, model } = await save(path);
    const loaded = await loadModel(path, new Runtime(createReferenceBackend()));
    expect(loaded).toMatchObject({ step: 7, folder: path, refused: [] });
    expect(loaded.config).toEqual(model.config);
    expect(loaded.tokenizer!.hash).toBe(tokenizer.hash);
    expect(await lossOf(loaded.model.runtime, loaded.model)).toBe(await lossOf(runtime, model));
  });

  test("gives back the optimiser's tensors and the training state", async () => {
    const path = newFolder();
    await save(path);
    const { runtime, model, optimizer } = setUp();
    for (const { tensor } of optimizer.state) fill(runtime.plainContext(), tensor, -1);
    const state = verifyCheckpoint(path);
    expect(state.training).toEqual({ note: "here" });
    await restoreCheckpoint(path, state, model, optimizer);
    for (const [i, { tensor }] of optimizer.state.entries())
      expect((await runtime.readFloats(tensor)).every((x) => x === i + 0.5)).toBe(true);
  });

  test("gives back codes as codes, and refuses floats in their place", async () => {
    const { runtime, model } = setUp();
    const codesOf = (values: number[]) => ({
      kind: "adamw8bit",
      state: [{ name: "m.x", tensor: runtime.upload([3], "u8", Uint8Array.from(values)) }],
    });
    const path = newFolder();
    await saveCheckpoint(path, { model, tokenizer, optimizer: codesOf([0, 127, 255]), step: 1, training: null });
    const restored = codesOf([9, 9, 9]);
    await restoreCheckpoint(path, verifyCheckpoint(path), model, restored);
    expect([...(await runtime.read(restored.state[0].tensor))]).toEqual([0, 127, 255]);
    expect(describeModel(path).optimizer).toBe("adamw8bit");
    const floats = [{ name: "m.x", tensor: runtime.upload([3], "f32", new Float32Array(3)) }];
    await expect(
      restoreCheckpoint(path, verifyCheckpoint(path), model, { kind: "adamw8bit", state: floats }),
    ).rejects.toThrow(/optimizer.safetensors: tensor m.x is U8; this run's optimizer has F32/);
  });

  test("is a folder in Hugging Face's shape, a tied head stored once", async () => {
    const path = newFolder();
    await save(path);
    expect(readdirSync(path).sort()).toEqual([
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "optimizer.safetensors",
      "tokenizer.json",
      "tokenizer_config.json",
      "trainer_state.json",
    ]);
    const file = await readSafetensors(join(path, "model.safetensors"));
    const names = [...file.tensors.keys()];
    expect(names.filter((name) => name.includes("layers.1")).sort()).toEqual(
      [
        "input_layernorm",
        "mlp.down_proj",
        "mlp.ffn_sub_norm",
        "mlp.gate_proj",
        "mlp.up_proj",
        "post_attention_layernorm",
        "self_attn.attn_sub_norm",
        "self_attn.k_proj",
        "self_attn.o_proj",
        "self_attn.q_proj",
        "self_attn.v_proj",
      ].map((name) => `model.layers.1.${name}.weight`),
    );
    expect(names).toContain("model.embed_tokens.weight");
    expect(names).toContain("model.norm.weight");
    expect(names).not.toContain("lm_head.weight");
    expect(new Set([...file.tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(["F32"]));
    file.close();
  });

  test("written twice from the same state has the same bytes", async () => {
    const [a, b] = [newFolder(), newFolder()];
    await save(a);
    await save(b);
    for (const name of readdirSync(a)) expect(readFileSync(join(a, name))).toEqual(readFileSync(join(b, name)));
  });

  test("may be written again in its place, but a folder of other things is not replaced", async () => {
    const path = newFolder();
    await save(path, 7);
    await save(path, 8);
    expect(verifyCheckpoint(path).step).toBe(8);
    writeFileSync(join(path, "notes.txt"), "mine");
    await expect(save(path, 9)).rejects.toThrow(/exists and was not written by this command/);
    expect(verifyCheckpoint(path).step).toBe(8);
  });
});

describe("a damaged checkpoint", () => {
  test("is refused for one flipped bit anywhere, the file named", async () => {
    const path = newFolder();
    await save(path);
    for (const name of readdirSync(path)) {
      const file = join(path, name);
      const good = readFileSync(file);
      // Every third byte of the state's own file; of the others, whose hashes it holds, a few.
      const stride = name === "trainer_state.json" ? 3 : Math.ceil(good.length / 5);
      for (let at = 0; at < good.length; at += stride) {
        const bad = Buffer.from(good);
        bad[at] ^= 1;
        writeFileSync(file, bad);
        expect(() => verifyCheckpoint(path), `${name}, byte ${at}`).toThrow(name);
      }
      writeFileSync(file, good);
    }
    expect(verifyCheckpoint(path).step).toBe(7);
  });

  test("is refused where a file is missing or cut short", async () => {
    for (const name of ["model.safetensors", "optimizer.safetensors", "config.json", "tokenizer.json"]) {
      const path = newFolder();
      await save(path);
      const whole = readFileSync(join(path, name));
      writeFileSync(join(path, name), whole.subarray(0, whole.length / 2));
      expect(() => verifyCheckpoint(path)).toThrow(new RegExp(`${name}: its SHA-256 is`));
      rmSync(join(path, name));
      expect(() => verifyCheckpoint(path)).toThrow(`${name} is missing`);
    }
  });

  test("of a newer format is refused by its version", async () => {
    const path = newFolder();
    await save(path);
    const file = join(path, "trainer_state.json");
    writeFileSync(file, readFileSync(file, "utf8").replace('"version": 1', '"version": 9'));
    expect(() => verifyCheckpoint(path)).toThrow(/another version of bitnet.ts \(format 9, this one reads 1\)/);
  });

  test("is passed over for the one before, with the reason; half-written folders are not looked at", async () => {
    const run = newFolder();
    const at = (step: number) => join(run, "checkpoints", checkpointName(step));
    for (const step of [5, 10, 15, 20]) await save(at(step), step);
    const model = join(at(15), "model.safetensors");
    const bytes = readFileSync(model);
    bytes[bytes.length - 1] ^= 64;
    writeFileSync(model, bytes);
    rmSync(join(at(20), "trainer_state.json"));
    mkdirSync(`${at(25)}.tmp-1-1`);
    copyFileSync(join(at(10), "trainer_state.json"), join(`${at(25)}.tmp-1-1`, "trainer_state.json"));
    const { checkpoint, refused } = findNewestCheckpoint(join(run, "checkpoints"));
    expect(checkpoint!.state.step).toBe(10);
    expect(refused.map(({ path }) => path)).toEqual([at(20), at(15)]);
    expect(refused[0].reason).toMatch(/step_000020: has no trainer_state.json; it was not written to its end/);
    expect(refused[1].reason).toMatch(/step_000015\/model.safetensors: its SHA-256 is/);
    // The same through the door that evaluation and generation use.
    expect(describeModel(run)).toMatchObject({ step: 10, folder: at(10), refused });
    expect(() => describeModel(at(20))).toThrow(/has no trainer_state.json/);
  });
});

describe("a checkpoint that does not fit", () => {
  test("a model of another shape is refused, and the tensor is named", async () => {
    const path = newFolder();
    await save(path, 7, { hiddenWidth: 48 });
    const { model, optimizer } = setUp();
    await expect(restoreCheckpoint(path, verifyCheckpoint(path), model, optimizer)).rejects.toThrow(
      /tensor model.layers.0.mlp.gate_proj.weight is \[48,16\]; the model wants \[32,16\]/,
    );
  });

  test("more or fewer layers are refused", async () => {
    const path = newFolder();
    await save(path, 7, { layers: 3 });
    const { model, optimizer } = setUp();
    await expect(restoreCheckpoint(path, verifyCheckpoint(path), model, optimizer)).rejects.toThrow(
      /holds tensor model.layers.2.\S+, which the model has not/,
    );
    const deeper = setUp({ layers: 4 });
    await expect(restoreCheckpoint(path, verifyCheckpoint(path), deeper.model, deeper.optimizer)).rejects.toThrow(
      /has no tensor model.layers.3.\S+, which the model has/,
    );
  });

  test("another optimiser is refused", async () => {
    const path = newFolder();
    await save(path);
    const { model } = setUp();
    await expect(restoreCheckpoint(path, verifyCheckpoint(path), model, { kind: "sgd", state: [] })).rejects.toThrow(
      /state of optimizer "adamw", this run's is "sgd"/,
    );
  });

  test("a tokenizer with more tokens than the model's vocabulary is refused", async () => {
    const path = newFolder();
    const parts = setUp({ vocabSize: 12 });
    await saveCheckpoint(path, { ...parts, tokenizer, step: 1, training: null });
    await expect(loadModel(path, new Runtime(createReferenceBackend()))).rejects.toThrow(
      /the tokenizer has 17 tokens, but the model's vocabulary is 12/,
    );
  });

  test("a path without a model says what is there", async () => {
    const runtime = new Runtime(createReferenceBackend());
    await expect(loadModel(join(root, "nowhere"), runtime)).rejects.toThrow(/nowhere: no such file or folder/);
    const empty = newFolder();
    mkdirSync(empty);
    await expect(loadModel(empty, runtime)).rejects.toThrow(/is not a model's folder: has no model.safetensors/);
    mkdirSync(join(empty, "checkpoints"));
    await expect(loadModel(empty, runtime)).rejects.toThrow(/this run has no checkpoint yet/);
    writeFileSync(join(root, "file"), "x");
    await expect(loadModel(join(root, "file"), runtime)).rejects.toThrow(/is a file; expected the checkpoint's folder/);
  });
});

describe("config.json", () => {
  const roles = { bos: null, eos: 0 };

  test.for(Object.keys(presets) as (keyof typeof presets)[])("of %s comes back the same, both variants", (name) => {
    for (const variant of ["bitnet", "full"] as const) {
      const config = { ...presets[name], variant };
      expect(fromHuggingFaceConfig(JSON.parse(JSON.stringify(toHuggingFaceConfig(config, roles))), "x")).toEqual(
        config,
      );
    }
  });

  test("says what Hugging Face's loader needs to make the layers ternary", () => {
    expect(toHuggingFaceConfig(presets["2b4t"], roles)).toMatchObject({
      architectures: ["BitNetForCausalLM"],
      model_type: "bitnet",
      hidden_size: 2560,
      intermediate_size: 6912,
      num_hidden_layers: 30,
      num_attention_heads: 20,
      num_key_value_heads: 5,
      hidden_act: "relu2",
      rope_theta: 500000,
      tie_word_embeddings: true,
      eos_token_id: 0,
      quantization_config: { quant_method: "bitnet", linear_class: "autobitlinear", quantization_mode: "online" },
    });
    const full = toHuggingFaceConfig({ ...presets.tiny, variant: "full" }, roles);
    expect(full).toMatchObject({ architectures: ["LlamaForCausalLM"], model_type: "llama" });
    expect(full).not.toHaveProperty("quantization_config");
  });

  test("from elsewhere is read by its own keys", () => {
    const { bitnet_ts, ...foreign } = toHuggingFaceConfig(presets["2b4t"], roles);
    expect(bitnet_ts).toBeDefined();
    expect(fromHuggingFaceConfig(foreign, "x")).toEqual({ ...presets["2b4t"], weightScale: "clamp", weightEps: 1e-5 });
  });

  test("of LLaMA layers made ternary is read as a ternary model without sub-norms; sub_norm says otherwise", () => {
    const without = { ...presets.tiny, subNorms: false };
    const { bitnet_ts: _, ...foreign } = toHuggingFaceConfig(without, roles);
    expect(foreign).toMatchObject({
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      quantization_config: { quant_method: "bitnet" },
    });
    expect(fromHuggingFaceConfig(foreign, "x")).toEqual({ ...without, weightScale: "clamp", weightEps: 1e-5 });
    expect(fromHuggingFaceConfig({ ...foreign, sub_norm: true }, "x").subNorms).toBe(true);
    const { bitnet_ts: __, ...usual } = toHuggingFaceConfig(presets.tiny, roles);
    expect(fromHuggingFaceConfig({ ...usual, sub_norm: false }, "x").subNorms).toBe(false);
  });

  test("of something that we do not run is refused by name", () => {
    const { bitnet_ts: _, architectures: __, ...foreign } = toHuggingFaceConfig(presets.tiny, roles);
    const refused = (changes: object) => () => fromHuggingFaceConfig({ ...foreign, ...changes }, "a/config.json");
    expect(refused({ model_type: "gpt2" })).toThrow(/a\/config.json: model_type is "gpt2"/);
    expect(refused({ hidden_act: "gelu" })).toThrow(/hidden_act is "gelu"/);
    expect(refused({ attention_bias: true })).toThrow(/has biases/);
    expect(refused({ rope_scaling: { type: "linear" } })).toThrow(/rope_scaling/);
    expect(refused({ head_dim: 64 })).toThrow(/head_dim is 64/);
    expect(refused({ hidden_size: undefined })).toThrow(/a\/config.json: hidden_size/);
    expect(refused({ quantization_config: { quant_method: "gptq" } })).toThrow(/is quantised by "gptq"/);
    expect(refused({ quantization_config: undefined })).toThrow(/has no quantization_config of quant_method "bitnet"/);
    const bitnet = { quant_method: "bitnet", linear_class: "autobitlinear", quantization_mode: "online" };
    expect(refused({ quantization_config: { ...bitnet, use_rms_norm: true } })).toThrow(/use_rms_norm is true/);
    expect(refused({ quantization_config: { ...bitnet, modules_to_not_convert: ["layers.0"] } })).toThrow(
      /modules_to_not_convert has "layers.0"/,
    );
    expect(refused({ rope_parameters: { rope_type: "llama3", rope_theta: 1 } })).toThrow(
      /rope_parameters is of type "llama3"/,
    );
    expect(() => fromHuggingFaceConfig(null, "a/config.json")).toThrow(/a\/config.json/);
  });

  test("whose keys contradict our own is refused", () => {
    const edited = { ...toHuggingFaceConfig(presets.tiny, roles), hidden_size: 512 };
    expect(() => fromHuggingFaceConfig(edited, "x")).toThrow(/hidden_size is 512, but bitnet_ts.model says 384/);
  });
});

test("packed integer weights are refused, not read as floats", async () => {
  const path = newFolder();
  const { model } = await save(path);
  for (const name of ["trainer_state.json", "optimizer.safetensors"]) rmSync(join(path, name));
  const integers = model.parameters.map(({ name, shape, size }) => ({
    name,
    shape,
    dtype: "I8" as const,
    data: new Int8Array(size),
  }));
  await writeSafetensors(join(path, "model.safetensors"), integers);
  await expect(loadModel(path, new Runtime(createReferenceBackend()))).rejects.toThrow(
    /holds integers; expected float/,
  );
});
