// The ONNX graph with a key-value cache, run by onnxruntime as transformers.js runs it. Oracle: our own forward without a
// cache, held to float64 in onnx.test.ts; codes at a rounding's half may differ (see there), so the bound is that of logits
// that agree but for a few such codes, and most are within float32's rounding.
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { type Backend, createBackend } from "../../src/backends/index.ts";
import { saveOnnx } from "../../src/exchange/index.ts";
import { type ModelConfig, presets, Transformer } from "../../src/model/index.ts";
import { Runtime } from "../../src/tensor/index.ts";
import { integers } from "../support/random.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { openCachedOnnx, testOnnx } from "./support/onnxruntime.ts";

let backend: Backend;
beforeAll(async () => {
  backend = await createBackend({ backend: "auto" });
});
afterAll(() => backend.close());

const V = 40;
const small: ModelConfig = {
  ...presets.tiny,
  ...{ vocabSize: V, width: 16, layers: 2, heads: 4, kvHeads: 2, hiddenWidth: 24, contextLength: 16, initStd: 0.3 },
};

/** Logits of each text by itself, without a cache. */
async function exact(model: Transformer, text: readonly number[]): Promise<Float32Array> {
  const tokens = Int32Array.from(text);
  return model.runtime.readFloats(model.logits({ tokens, batch: 1, length: tokens.length }));
}

for (const variant of ["bitnet", "full"] as const)
  for (const weights of variant === "bitnet" ? (["packed", "float"] as const) : (["float"] as const))
    testOnnx(`${variant}, ${weights}: prompts of unlike lengths, padded at the left, then token by token`, async () => {
      const model = new Transformer(new Runtime(backend), { ...small, variant }, 3);
      const path = join(temporaryFolder(), "model.onnx");
      await saveOnnx(path, model, null, { weights, cache: true });
      const graph = await openCachedOnnx(path, { L: 2, G: 2, D: 4 });
      const texts = [integers(14, 5, V), integers(11, 6, V), integers(14, 7, V)].map((text) => [...text]);
      const wanted = await Promise.all(texts.map((text) => exact(model, text)));
      const [first, longest] = [6, 14];
      const pads = texts.map((text) => longest - text.length);
      const mask = (end: number) => pads.map((pad) => Array.from({ length: end }, (_, i) => (i < pad ? 0 : 1)));
      const padded = texts.map((text, b) => [...new Array(pads[b]).fill(0), ...text]);
      let [near, all] = [0, 0];
      const check = (data: Float32Array, from: number, count: number) => {
        for (const [b, pad] of pads.entries())
          for (let t = 0; t < count; t++) {
            const at = from + t - pad;
            if (at < 0) continue;
            for (let v = 0; v < V; v++) {
              const off = Math.abs(data[(b * count + t) * V + v] - wanted[b][at * V + v]);
              expect(off).toBeLessThan(variant === "full" ? 1e-4 : 0.2);
              if (off < 2e-5) near++;
              all++;
            }
          }
      };
      const rows = (from: number, to: number) => padded.map((row) => row.slice(from, to));
      const prompt = await graph.step(rows(0, first), mask(first));
      expect(prompt.dims).toEqual([3, first, V]);
      check(prompt.data, 0, first);
      for (let t = first; t < longest; t++) check((await graph.step(rows(t, t + 1), mask(t + 1))).data, t, 1);
      expect(all).toBe((14 + 11 + 14) * V);
      expect(near / all).toBeGreaterThan(0.9);
      model.dispose();
    });
