// A last RMSNorm with an epsilon of its own. Oracle: the definition, y = gain · x / sqrt(mean(x²) + eps), on the states that the
// packed engine gives; the two engines agree to the last bit; formats that have one epsilon refuse the model.
import { join } from "node:path";
import { expect, test } from "vitest";
import { createReferenceBackend } from "../src/backends/index.ts";
import { writeModelFiles } from "../src/checkpoint/index.ts";
import { exportGguf, exportHuggingFace, loadModel, saveCompact } from "../src/exchange/index.ts";
import { createPackedEngine, weightsOfModel } from "../src/infer/index.ts";
import { type ModelConfig, presets, Transformer } from "../src/model/index.ts";
import { Runtime } from "../src/tensor/index.ts";
import { trainBpe } from "../src/tokenizer/index.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const smallModel: ModelConfig = {
  ...presets.tiny,
  ...{ vocabSize: 257, width: 16, layers: 2, heads: 2, kvHeads: 1, hiddenWidth: 24, contextLength: 16, initStd: 0.5 },
};
const tokens = [1, 5, 2, 11, 0, 9];
const make = (changes: Partial<ModelConfig> = {}) =>
  new Transformer(new Runtime(createReferenceBackend()), { ...smallModel, ...changes }, 11);
const logitsOf = (model: Transformer) =>
  model.runtime.readFloats(model.logits({ tokens: Int32Array.from(tokens), batch: 1, length: tokens.length }));

test("the same epsilon by another name changes nothing; another one does, in both engines alike", async () => {
  const plain = await logitsOf(make());
  expect(await logitsOf(make({ finalNormEps: smallModel.normEps }))).toEqual(plain);
  const model = make({ finalNormEps: 0.3 });
  const own = await logitsOf(model);
  expect(own).not.toEqual(plain);
  const engine = await createPackedEngine(model.runtime.backend, model.config, weightsOfModel(model));
  const [packed] = await engine.forward([{ sequence: engine.createSequence(), tokens, logits: "all" }]);
  expect(packed).toEqual(own);
  // The states are the last layer's, normed: those of another epsilon differ by the definition's factor.
  const states = await engine.hiddenStates(engine.createSequence(), tokens);
  const other = make();
  const plainEngine = await createPackedEngine(other.runtime.backend, other.config, weightsOfModel(other));
  const plainStates = await plainEngine.hiddenStates(plainEngine.createSequence(), tokens);
  const C = smallModel.width;
  for (let t = 0; t < tokens.length; t++) {
    // With gains of 1, mean(y²) = m / (m + eps), which gives the mean square m before the norm.
    const share = plainStates.subarray(t * C, (t + 1) * C).reduce((sum, y) => sum + y * y, 0) / C;
    const m = (share * smallModel.normEps) / (1 - share);
    const factor = Math.sqrt((m + smallModel.normEps) / (m + 0.3));
    if (share < 0.9999) expect(states[t * C] / plainStates[t * C]).toBeCloseTo(factor, 2);
    else expect(Math.abs(states[t * C])).toBeLessThan(Math.abs(plainStates[t * C]));
  }
  engine.dispose();
  plainEngine.dispose();
});

test("it is saved with the model, and refused by formats that have one epsilon for all", async () => {
  const model = make({ finalNormEps: 1e-3 });
  const { tokenizer } = await trainBpe(["the cat"], { vocabSize: 257 });
  const folder = temporaryFolder();
  await writeModelFiles(folder, model, null);
  const file = join(folder, "model.bitnet");
  await saveCompact(file, model, null, {});
  for (const path of [folder, file]) {
    const back = await loadModel(path, new Runtime(createReferenceBackend()));
    expect(back.config.finalNormEps).toBe(1e-3);
  }
  await expect(exportHuggingFace(model, null, join(folder, "hf"), { type: "f32" })).rejects.toThrow(
    /one epsilon for all norms.*finalNormEps 0.001/,
  );
  await expect(exportGguf(join(folder, "x.gguf"), model, tokenizer, { type: "f32" })).rejects.toThrow(
    /one epsilon for all norms/,
  );
});
