/** A small transformer with random weights on the reference backend, where a text is the same to the bit however it is computed. */
import { createReferenceBackend } from "../../src/backends/reference.ts";
import { TransformerEngine } from "../../src/infer/transformer-engine.ts";
import { type ModelConfig, presets, Transformer } from "../../src/model/index.ts";
import { Runtime } from "../../src/tensor/index.ts";

export function createSmallEngine(changes: Partial<ModelConfig> = {}, seed = 5) {
  const runtime = new Runtime(createReferenceBackend());
  const config: ModelConfig = {
    ...presets.tiny,
    vocabSize: 257,
    width: 24,
    layers: 1,
    heads: 2,
    kvHeads: 1,
    hiddenWidth: 32,
    contextLength: 48,
    initStd: 0.3,
    ...changes,
  };
  const model = new Transformer(runtime, config, seed);
  return { engine: new TransformerEngine(model), model, runtime };
}

/** Bytes are tokens; 256 ends a text. */
export const byteTokenizer = {
  vocabSize: 257,
  bos: null,
  eos: 256,
  endOfText: 256,
  encode: (text: string) => Int32Array.from(new TextEncoder().encode(text)),
  decode: (ids: ArrayLike<number>) =>
    new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(Array.from(ids).filter((id) => id < 256))),
  bytesOf: (id: number) => (id < 256 ? Uint8Array.of(id) : null),
};
