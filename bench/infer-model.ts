/**
 * A GGUF file of random weights at a model's full shape: ternary matrices in TQ2_0, embeddings in Q6_K, and a vocabulary of
 * filler, so that llama.cpp loads it. Written block by block: no float copy of the model is ever made.
 */
import { existsSync, mkdirSync } from "node:fs";
import { resolve } from "node:path";
import { ggufNameOf, sizeKeys } from "../src/exchange/gguf/index.ts";
import { createDryBackend } from "../src/backends/dry.ts";
import { type GgufTensorSource, type GgufValue, text, texts, u32, writeGguf } from "../src/formats/gguf/index.ts";
import { type ModelConfig, Transformer } from "../src/model/index.ts";
import { createRandom } from "../src/platform/random.ts";
import { writeFloat16 } from "../src/quant/float16.ts";
import { Runtime } from "../src/tensor/index.ts";

/** Blocks laid out once and repeated from random places on. */
const poolBlocks = 4096;

/** @param fill writes one block of `bytes` bytes at `at` */
function blocks(
  count: number,
  bytes: number,
  fill: (to: Uint8Array, at: number) => void,
  place: () => number,
): AsyncIterable<Uint8Array> {
  const pool = new Uint8Array(poolBlocks * bytes);
  for (let i = 0; i < poolBlocks; i++) fill(pool, i * bytes);
  return (async function* () {
    for (let left = count; left > 0; ) {
      const from = Math.floor(place() * poolBlocks);
      const some = Math.min(poolBlocks - from, left);
      yield pool.subarray(from * bytes, (from + some) * bytes);
      left -= some;
    }
  })();
}

function metadataOf(config: ModelConfig): [string, GgufValue][] {
  const V = config.vocabSize;
  const bytesEnd = 3 + 256;
  const tokens = Array.from({ length: V }, (_, i) => {
    if (i < 3) return ["<unk>", "<s>", "</s>"][i];
    return i < bytesEnd ? `<0x${(i - 3).toString(16).toUpperCase().padStart(2, "0")}>` : `w${i.toString(36)}`;
  });
  const types = Int32Array.from({ length: V }, (_, i) => (i === 0 ? 2 : i < 3 ? 3 : i < bytesEnd ? 6 : 1));
  return [
    ["general.architecture", text("bitnet")],
    ["general.name", text("random weights")],
    ["general.file_type", u32(37)],
    ...sizeKeys(config, "bitnet"),
    ["tokenizer.ggml.model", text("llama")],
    ["tokenizer.ggml.tokens", texts(tokens)],
    ["tokenizer.ggml.scores", { type: "array", of: "f32", values: Float32Array.from(tokens, (_, i) => -i) }],
    ["tokenizer.ggml.token_type", { type: "array", of: "i32", values: types }],
    ["tokenizer.ggml.bos_token_id", u32(1)],
    ["tokenizer.ggml.eos_token_id", u32(2)],
  ];
}

/** @returns the file's path; one that is there already is taken as it is */
export async function writeRandomGguf(folder: string, name: string, config: ModelConfig): Promise<string> {
  mkdirSync(folder, { recursive: true });
  const path = resolve(folder, `${name}-tq2_0.gguf`);
  if (existsSync(path)) return path;
  const random = createRandom(1);
  const { parameters } = new Transformer(new Runtime(createDryBackend()), config, null);
  const tensors = parameters.map(({ name: ours, shape, role }): GgufTensorSource => {
    const count = shape.reduce((a, b) => a * b, 1);
    const where = { name: ggufNameOf(ours), shape };
    if (role === "norm")
      return { ...where, type: "F32", data: () => new Uint8Array(new Float32Array(count).fill(1).buffer) };
    if (role === "embedding") {
      // About normal(0.05): d · scale · (q - 32).
      const fill = (to: Uint8Array, at: number) => {
        for (let i = 0; i < 192; i++) to[at + i] = random.integer(256);
        for (let i = 0; i < 16; i++) to[at + 192 + i] = 32 + random.integer(64);
        writeFloat16(to, at + 208, 0.05 / (18.5 * 64));
      };
      return { ...where, type: "Q6_K", data: () => blocks(count / 256, 210, fill, () => random.uniform()) };
    }
    // d is the same in all blocks: one scale for the matrix, by which a product's size stays that of its input.
    const scale = 1 / Math.sqrt(shape[1] * (2 / 3));
    const fill = (to: Uint8Array, at: number) => {
      for (let i = 0; i < 64; i++)
        to[at + i] = random.integer(3) | (random.integer(3) << 2) | (random.integer(3) << 4) | (random.integer(3) << 6);
      writeFloat16(to, at + 64, scale);
    };
    return { ...where, type: "TQ2_0", data: () => blocks(count / 256, 66, fill, () => random.uniform()) };
  });
  await writeGguf(path, metadataOf(config), tensors);
  return path;
}
