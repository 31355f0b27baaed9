/**
 * Reads a model in llama2.c's first file form (version 0) into a `full` Transformer, as an outside oracle: weights and
 * expected values that this project did not make. The file: seven int32 (dim, hidden, layers, heads, kv heads, vocabulary,
 * context), then float32 arrays, each for all layers: embedding, attention norms, wq, wk, wv, wo, feed-forward norms, w1,
 * w2, w3; the final norm; two rotary tables that are skipped. A positive vocabulary means that the head is the embedding.
 */
import { readFileSync } from "node:fs";
import { type ModelConfig, presets, Transformer } from "../../src/model/index.ts";
import type { Runtime } from "../../src/tensor/index.ts";

export function readLlama2c(path: string, runtime: Runtime): Transformer {
  const bytes = readFileSync(path);
  const [dim, hidden, layers, heads, kvHeads, vocabulary, context] = new Int32Array(bytes.buffer.slice(0, 28));
  if (vocabulary <= 0) throw new Error(`${path}: a head of its own is not read here`);
  const config: ModelConfig = {
    ...presets.tiny,
    variant: "full",
    vocabSize: vocabulary,
    width: dim,
    layers,
    heads,
    kvHeads,
    hiddenWidth: hidden,
    contextLength: context,
    tiedHead: true,
  };
  const D = dim / heads;
  const kv = kvHeads * D;
  const model = new Transformer(runtime, config, null);
  let at = bytes.byteOffset + 28;
  const next = (length: number): Float32Array => {
    const array = new Float32Array(bytes.buffer.slice(at, at + 4 * length));
    at += 4 * length;
    return array;
  };
  const values = new Map<string, Float32Array>();
  const eachLayer = (name: string, length: number, change = (w: Float32Array) => w) => {
    for (let i = 0; i < layers; i++) values.set(`model.layers.${i}.${name}.weight`, change(next(length)));
  };
  /** Rows of a head from llama2.c's pairs (2i, 2i + 1) to ours (i, i + D / 2). */
  const unpair = (w: Float32Array) => {
    const out = new Float32Array(w.length);
    for (let row = 0; row < w.length / dim; row++) {
      const [head, r] = [Math.floor(row / D), row % D];
      const from = head * D + (r < D / 2 ? 2 * r : 2 * (r - D / 2) + 1);
      out.set(w.subarray(from * dim, (from + 1) * dim), row * dim);
    }
    return out;
  };
  values.set("model.embed_tokens.weight", next(vocabulary * dim));
  eachLayer("input_layernorm", dim);
  eachLayer("self_attn.q_proj", dim * dim, unpair);
  eachLayer("self_attn.k_proj", kv * dim, unpair);
  eachLayer("self_attn.v_proj", kv * dim);
  eachLayer("self_attn.o_proj", dim * dim);
  eachLayer("post_attention_layernorm", dim);
  eachLayer("mlp.gate_proj", hidden * dim);
  eachLayer("mlp.down_proj", hidden * dim);
  eachLayer("mlp.up_proj", hidden * dim);
  values.set("model.norm.weight", next(dim));
  next(context * D);
  if (at !== bytes.byteOffset + bytes.length) throw new Error(`${path}: its size is not what its header says`);
  for (const { name, tensor, size } of model.parameters) {
    const w = values.get(name);
    if (w?.length !== size) throw new Error(`${path}: ${name} has ${w?.length} values, the model wants ${size}`);
    runtime.backend.upload(tensor.buffer, w);
  }
  return model;
}
