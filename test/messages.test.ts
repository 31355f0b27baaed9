// Refusals of files whose values are long, deep or strange: one line, cut short, in words of ours. Oracle: test/fuzz/judge.ts,
// which the fuzzer holds every reader to.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createReferenceBackend } from "../src/backends/index.ts";
import { exportHuggingFace, loadModel } from "../src/exchange/index.ts";
import { readSafetensors } from "../src/formats/safetensors.ts";
import { Transformer } from "../src/model/index.ts";
import { Runtime } from "../src/tensor/index.ts";
import { createTokenizer, trainCharacters } from "../src/tokenizer/index.ts";
import { unclear } from "./fuzz/judge.ts";
import { smallModel } from "./support/small-run.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
const long = JSON.stringify("x".repeat(100_000));
const values = [deep, long, "null", "[]", "{}", '"\\u001b[2J"', "-1", "1e999", "[1,2,3]", "true"];

async function refusal(read: () => unknown): Promise<unknown> {
  try {
    await read();
    return null;
  } catch (error) {
    return error;
  }
}
function expectClear(error: unknown, what: string): void {
  expect(error, `${what}: taken`).not.toBeNull();
  expect({ what, unclear: unclear(error) }).toEqual({ what, unclear: null });
}

test("a safetensors header with values that are long or deep", async () => {
  const path = join(temporaryFolder(), "model.safetensors");
  const write = (json: string) => {
    const head = Buffer.alloc(8);
    head.writeBigUInt64LE(BigInt(Buffer.byteLength(json)));
    writeFileSync(path, Buffer.concat([head, Buffer.from(json), Buffer.alloc(4)]));
  };
  for (const value of [deep, long])
    for (const json of [
      `{"a":{"dtype":"F32","shape":${value},"data_offsets":[0,4]}}`,
      `{"a":{"dtype":${value},"shape":[1],"data_offsets":[0,4]}}`,
      `{"a":{"dtype":"F32","shape":[1],"data_offsets":${value}}}`,
      `{"__metadata__":{"a":${deep}},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`,
      `{"a":${value}}`,
    ]) {
      write(json);
      expectClear(await refusal(() => readSafetensors(path)), json.slice(0, 60));
    }
  // A million escapes once ran out of a pattern's stack; they are text like any other.
  write(`{"__metadata__":{"a":"${"\\n".repeat(1_000_000)}"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`);
  const file = await readSafetensors(path);
  expect(file.tensors.size).toBe(1);
  file.close();
});

test("each value of a model's config.json, of ours and of others, and of its generation_config.json", async () => {
  const folder = join(temporaryFolder(), "hf");
  const model = new Transformer(new Runtime(createReferenceBackend()), smallModel, 1);
  await exportHuggingFace(model, (await trainCharacters(["abcdefghijklmnop"])).tokenizer, folder, { type: "f32" });
  const path = join(folder, "config.json");
  const good = readFileSync(path, "utf8");
  const { bitnet_ts: own, ...foreign } = JSON.parse(good);
  const open = async () => (await loadModel(folder, new Runtime(createReferenceBackend()))).model.dispose();
  for (const config of [foreign, { ...foreign, bitnet_ts: own }])
    for (const key of ["hidden_size", "num_hidden_layers", "hidden_act", "rope_theta", "model_type", "bitnet_ts"])
      for (const value of values) {
        if (!(key in config) && value === "null") continue;
        writeFileSync(path, JSON.stringify({ ...config, [key]: "HERE" }).replace('"HERE"', value));
        const error = await refusal(open);
        if (error !== null) expectClear(error, `${key}: ${value.slice(0, 30)}`);
      }
  writeFileSync(path, good);
  await open();
});

test("each part of a tokenizer.json", async () => {
  mkdirSync(temporaryFolder(), { recursive: true });
  const { tokenizer } = await trainCharacters(["abc"]);
  const good = JSON.stringify(tokenizer.toJson());
  for (const key of [
    "model",
    "vocab",
    "merges",
    "added_tokens",
    "normalizer",
    "pre_tokenizer",
    "decoder",
    "post_processor",
  ])
    for (const value of values) {
      const json = JSON.parse(good, (name, old) => (name === key ? "HERE" : old));
      const content = JSON.parse(JSON.stringify(json).replace('"HERE"', value));
      const error = await refusal(() => createTokenizer(content, { name: "t" }).encode("abc"));
      if (error !== null) expectClear(error, `${key}: ${value.slice(0, 30)}`);
    }
});
