// Oracle: the way over a loaded model (checkpoint/, held to llama.cpp's layouts and codecs there), whose float weights our
// quantiser makes ternary again: what goes from the file to the engine directly must give the same logits to the bit.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { forEachBackend } from "../../../test/support/backends.ts";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import type { Backend } from "../../backends/backend.ts";
import {
  exportGguf,
  type GgufExportOptions,
  loadCompact,
  loadGguf,
  openCompactModel,
  openGgufModel,
  saveCompact,
} from "../../exchange/index.ts";
import { readGguf } from "../../formats/gguf/index.ts";
import { type ModelConfig, presets, Transformer } from "../../model/index.ts";
import { Runtime } from "../../tensor/index.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { trainBpe } from "../../tokenizer/index.ts";
import { openEngine } from "../open-engine.ts";
import { createPackedEngine, type PackedEngineOptions, packModel } from "./engine.ts";
import { weightsOfCompact, weightsOfGguf } from "./file-weights.ts";

const config: ModelConfig = {
  ...presets.tiny,
  vocabSize: 290,
  width: 256,
  layers: 1,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 512,
  contextLength: 16,
};
const { tokenizer } = await trainBpe(["the cat sat on the mat and the rat", "that cat, the other one"], {
  vocabSize: 280,
});
const tokens = [0, 5, 270, 33, 280];
const models = new Map<string, Transformer>();
function modelOf(changes: Partial<ModelConfig>): Transformer {
  const key = JSON.stringify(changes);
  const model = models.get(key) ?? new Transformer(new Runtime(createReferenceBackend()), { ...config, ...changes }, 5);
  models.set(key, model);
  return model;
}

/** Each written once; a test has its folder for itself. */
const files = new Map<string, Uint8Array>();
async function ggufOf(changes: Partial<ModelConfig>, options: GgufExportOptions): Promise<string> {
  const key = JSON.stringify([changes, options]);
  const path = join(temporaryFolder(), "model.gguf");
  const known = files.get(key);
  if (known) writeFileSync(path, known);
  else {
    await exportGguf(path, modelOf(changes), tokenizer, options);
    files.set(key, readFileSync(path));
  }
  return path;
}

async function logitsOf(engine: Awaited<ReturnType<typeof packModel>>): Promise<Float32Array> {
  const [logits] = await engine.forward([{ sequence: engine.createSequence(), tokens, logits: "all" }]);
  engine.dispose();
  return logits;
}

/** Both ways. */
async function bothWays(backend: Backend, file: string, options: PackedEngineOptions) {
  const opened = openGgufModel(file);
  const direct = await createPackedEngine(backend, opened.config, weightsOfGguf(opened), options);
  opened.file.close();
  const { model } = await loadGguf(file, new Runtime(backend));
  const packed = await packModel(model, options);
  model.dispose();
  return [await logitsOf(direct), await logitsOf(packed)];
}

const llama = { variant: "full" as const };
const ternaryLlama = { subNorms: false };
const cases: { changes?: Partial<ModelConfig>; options: GgufExportOptions; packed?: PackedEngineOptions }[] = [
  { options: { type: "tq2_0", embeddingType: "q6_k" }, packed: { head: "int8" } },
  { options: { type: "tq1_0", embeddingType: "f16" }, packed: { weights: "trits", head: "f16" } },
  { options: { type: "q2_0", embeddingType: "q8_0" }, packed: { head: "int4" } },
  { options: { type: "i2_s", embeddingType: "bf16" }, packed: { head: "bf16" } },
  { options: { type: "f16" } },
  { options: { type: "q8_0" } },
  { changes: llama, options: { type: "f16" }, packed: { linear: "f16" } },
  { changes: { ...llama, tiedHead: false }, options: { type: "q8_0" }, packed: { linear: "int8" } },
  { changes: ternaryLlama, options: { type: "tq2_0" } },
];

forEachBackend(({ get }) => {
  test.for(cases)("a GGUF file's weights are those of the model loaded from it: $options, $changes", async (c) => {
    const { changes = {}, options, packed = {} } = c;
    const [direct, loaded] = await bothWays(await get(), await ggufOf(changes, options), packed);
    expect(direct).toEqual(loaded);
    expect(direct.some((value) => value !== 0)).toBe(true);
  });

  test("a backend that maps files copies none of the weights that lie as kernels read them; others copy all", async () => {
    const backend = await get();
    const file = await ggufOf({}, { type: "tq2_0", embeddingType: "q6_k" });
    const opened = openGgufModel(file);
    const engine = await createPackedEngine(backend, opened.config, weightsOfGguf(opened), { head: "int8" });
    const stored = [...opened.file.tensors.values()];
    // q and k are turned for the rotary embedding on their way, where the architecture wants it.
    const lying = stored.filter(({ name, type }) => type !== "F32" && !/attn_[qk]\.weight/.test(name));
    const least = lying.reduce((sum, { bytes: size }) => sum + size!, 0);
    opened.file.close();
    if (backend.withFile) expect(engine.report.mappedBytes).toBeGreaterThanOrEqual(least);
    else expect(engine.report.mappedBytes).toBe(0);
    expect(backend.withFile !== undefined).toBe(backend.name === "native");
    engine.dispose();
  });

  test("a compact file's weights are those of the model loaded from it", async () => {
    const backend = await get();
    const file = join(temporaryFolder(), "model.btn");
    await saveCompact(file, modelOf({}), tokenizer);
    const opened = openCompactModel(file);
    const source = weightsOfCompact(opened);
    expect(source.headFormat).toBe("f16");
    const direct = await createPackedEngine(backend, opened.config, source, { head: "f32" });
    opened.file.close();
    const { model } = await loadCompact(file, new Runtime(backend));
    expect(await logitsOf(direct)).toEqual(await logitsOf(await packModel(model, { head: "f32" })));
  });
});

test("embeddings in f16 stay f16, and other types become f32, unless something else is wanted", async () => {
  for (const [embeddingType, bytes] of [
    ["f16", 2],
    ["q6_k", 4],
  ] as const) {
    const file = await ggufOf({}, { type: "tq2_0", embeddingType });
    const { engine, kind, close } = await openEngine(file, { backend: { backend: "reference" } });
    expect(kind).toBe("packed");
    const { weightBytes } = (engine as unknown as { report: { weightBytes: number } }).report;
    const matrices = 256 * (4 * 256 + 3 * 512 - 2 * 128);
    expect(weightBytes).toBeGreaterThan(290 * 256 * bytes + matrices / 4);
    expect(weightBytes).toBeLessThan(290 * 256 * bytes + matrices / 4 + 20000);
    close();
  }
});

test("a file whose blocks have several scales is refused, and says which tensor", async () => {
  const file = await ggufOf({}, { type: "tq2_0" });
  const { offset } = (() => {
    const gguf = readGguf(file);
    const tensor = gguf.tensor("blk.0.attn_q.weight");
    gguf.close();
    return tensor;
  })();
  const bytes = readFileSync(file);
  bytes[offset + 65] ^= 0x04; // the upper byte of the first block's scale
  const damaged = join(temporaryFolder(), "damaged.gguf");
  writeFileSync(damaged, bytes);
  await expect(openEngine(damaged, { backend: { backend: "reference" } })).rejects.toThrow(
    /tensor "blk.0.attn_q.weight" is not ternary/,
  );
});
