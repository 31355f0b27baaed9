/**
 * The inputs of a model's linear layers, as they are before they are rounded, layer by layer while a text runs through it.
 * Seen by `runtime.observe`, on a model whose config rounds no input: every product is then a matmul of x and of something
 * made of the layer's weights. Layers that read one input share it.
 */
import type { Transformer } from "../../model/index.ts";
import { nextTurn } from "../../platform/turn.ts";
import type { Tensor } from "../../tensor/index.ts";
import { batchesOf, type Sample } from "../sample.ts";

export interface LayerInput {
  /** Full names of the layers that read it, in the model's order. */
  layers: string[];
  /** K */
  width: number;
  /** [rows, K] */
  values: Float32Array;
}

/** @param model of a config without activation quantizers; @param take is given each input of each batch, in the model's order */
export async function observeInputs(
  model: Transformer,
  sample: Sample,
  take: (input: LayerInput) => void,
  signal?: AbortSignal,
): Promise<void> {
  const { runtime } = model;
  const layerOf = new Map(model.linearLayers.map((layer) => [layer.weight.tensor.id, layer]));
  for (const { input } of batchesOf(sample)) {
    signal?.throwIfAborted();
    await nextTurn();
    /** What stands for a layer's weights in this pass, and what was read by the layers seen so far. */
    const made = new Map(layerOf);
    const seen = new Map<number, { x: Tensor; layers: string[] }>();
    const stop = runtime.observe(({ op, inputs, outputs }) => {
      if (op !== "matmul") {
        const layer = made.get(inputs[0]?.id);
        if (layer) for (const output of outputs) made.set(output.id, layer);
        return;
      }
      const [x, w] = inputs;
      const layer = made.get(w.id);
      if (!layer) return;
      const before = seen.get(x.id);
      if (before) before.layers.push(layer.name);
      else {
        x.storage.retain();
        seen.set(x.id, { x, layers: [layer.name] });
      }
    });
    try {
      model.hiddenStates(input).dispose();
    } finally {
      stop();
    }
    try {
      for (const { x, layers } of seen.values())
        take({ layers, width: x.shape[x.shape.length - 1], values: await runtime.readFloats(x) });
    } finally {
      for (const { x } of seen.values()) x.storage.release();
    }
  }
}
