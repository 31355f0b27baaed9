// Mixed-precision models as GGUF and back. Oracle: the model itself, whose logits must come back to the bit where the types hold
// its weights; codecs are held to llama.cpp's in quant/. llama.cpp itself is asked in test/judges/.
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../../test/support/temporary-folder.ts";
import { createReferenceBackend } from "../../backends/index.ts";
import { type GgufValue, readGguf, texts, writeGguf } from "../../formats/gguf/index.ts";
import { type ModelConfig, presets, Transformer } from "../../model/index.ts";
import { Runtime } from "../../tensor/index.ts";
import { trainBpe } from "../../tokenizer/index.ts";
import { loadModel } from "../index.ts";
import { exportGguf, type GgufExportOptions, type GgufExportType } from "./index.ts";

const config: ModelConfig = {
  ...presets.tiny,
  vocabSize: 290,
  width: 256,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  hiddenWidth: 256,
  contextLength: 16,
};
const mixed = [
  { layers: "*.down_proj", weights: "int8" },
  { layers: "layers.0.*", weights: "none" },
];
const runtime = new Runtime(createReferenceBackend());
const { tokenizer } = await trainBpe(["the cat sat on the mat and the rat", "that cat, the other one"], {
  vocabSize: 280,
});
const batch = { tokens: Int32Array.from([0, 5, 270, 33, 280]), batch: 1, length: 5 };
const logitsOf = async (model: Transformer) => runtime.readFloats(model.logits(batch));
const modelOf = (changes: Partial<ModelConfig>) => new Transformer(runtime, { ...config, ...changes }, 5);

async function write(model: Transformer, options: GgufExportOptions) {
  const file = join(temporaryFolder(), "model.gguf");
  return { file, report: await exportGguf(file, model, tokenizer, { embeddingType: "f32", ...options }) };
}

const typesOf = (file: string) => {
  const gguf = readGguf(file);
  const types = new Map([...gguf.tensors.values()].map(({ name, type }) => [name, type]));
  gguf.close();
  return types;
};

for (const shape of [{}, { subNorms: false }] as const)
  test.for<GgufExportType>(["f32", "f16", "q8_0", "tq2_0", "tq1_0", "q2_0", "i2_s"])(
    `%s, ${"subNorms" in shape ? "llama" : "bitnet"}: each layer in the type of its weights; read back, the same quantizers and logits`,
    async (type) => {
      const model = modelOf({ ...shape, quantization: { overrides: mixed } });
      const { file, report } = await write(model, { type, linearType: "f32" });
      const types = typesOf(file);
      expect(types.get("blk.1.ffn_up.weight")).toBe(type.toUpperCase());
      expect(types.get("blk.1.ffn_down.weight")).toBe("Q8_0");
      expect(types.get("blk.0.attn_q.weight")).toBe("F32");
      // The last override that matches decides: layer 0 is float throughout.
      expect(types.get("blk.0.ffn_down.weight")).toBe("F32");
      expect(types.has("blk.0.attn_q.scale")).toBe(false);
      expect(report.notes.join("\n")).toContain("layer in int8 (model.layers.1.mlp.down_proj)");
      const back = await loadModel(file, runtime);
      const quantizers = ({ plan }: Transformer) =>
        plan.layers.map(({ name, weights, activations }) => [name, weights?.quantizer.name, activations?.name]);
      expect(quantizers(back.model)).toEqual(quantizers(model));
      expect(back.config.quantization).toEqual({
        overrides: [
          { layers: "layers.0.*", weights: "none", activations: "none" },
          { layers: "layers.1.mlp.down_proj", weights: "int8", activations: "none" },
        ],
      });
      const [ours, theirs] = [await logitsOf(model), await logitsOf(back.model)];
      // Architecture "llama" has no scale tensors: these types round each ternary matrix's scale to float16.
      const exact = report.architecture === "bitnet" || type === "f32" || type === "i2_s";
      if (exact) expect(theirs).toEqual(ours);
      else expect(rmsDifference(theirs, ours)).toBeLessThan(1e-2);
      back.model.dispose();
    },
  );

/** Relative to the second. */
function rmsDifference(a: Float32Array, b: Float32Array): number {
  const sum = (values: Float32Array) => values.reduce((total, x) => total + x * x, 0);
  return Math.sqrt(sum(a.map((x, i) => x - b[i])) / sum(b));
}

test("float layers are float16 beside ternary types, and the type itself beside float ones", async () => {
  const model = modelOf({ quantization: { overrides: mixed } });
  const of = async (type: GgufExportType) => typesOf((await write(model, { type })).file).get("blk.0.attn_q.weight");
  expect([await of("tq2_0"), await of("bf16"), await of("f32"), await of("q8_0")]).toEqual([
    "F16",
    "BF16",
    "F32",
    "F16",
  ]);
  const { report } = await write(model, { type: "tq2_0" });
  expect(report.notes.join("\n")).toContain("are rounded to F16; --linear-type f32 keeps them as they are");
});

test("layers whose inputs are not the usual ones come back with theirs", async () => {
  const overrides = [
    { layers: "*.up_proj", activations: "none" },
    { layers: "layers.1.self_attn.v_proj", weights: "none", activations: "absmax8" },
    { layers: "*.down_proj", weights: "int8", activations: "absmax8" },
  ];
  const model = modelOf({ quantization: { overrides } });
  const { file, report } = await write(model, { type: "tq2_0", linearType: "f32" });
  const notes = report.notes.join("\n");
  expect(notes).toContain(
    "those programs round the inputs of the layers in ternary with float inputs (model.layers.0.mlp.up_proj, model.layers.1.mlp.up_proj) to int8, and the model does not",
  );
  expect(notes).toContain("do not round the inputs of the layer in float with absmax8 inputs");
  expect(notes).toContain("in blocks, and the model to int8 one token at a time");
  const back = await loadModel(file, runtime);
  expect(await logitsOf(back.model)).toEqual(await logitsOf(model));
});

test("a full-precision model with int8 layers: all else in --type", async () => {
  const model = modelOf({ variant: "full", quantization: { overrides: [{ layers: "*.up_proj", weights: "int8" }] } });
  const { file } = await write(model, { type: "f32" });
  expect(typesOf(file).get("blk.0.ffn_up.weight")).toBe("Q8_0");
  expect(typesOf(file).get("blk.0.ffn_down.weight")).toBe("F32");
  const back = await loadModel(file, runtime);
  expect(back.config.variant).toBe("full");
  expect(await logitsOf(back.model)).toEqual(await logitsOf(model));
});

/** The file again, with other metadata, as another program may write it. */
async function rewritten(file: string, change: (keys: Map<string, GgufValue>) => void): Promise<string> {
  const gguf = readGguf(file);
  const keys = new Map(gguf.metadata.keys.map((key) => [key, gguf.metadata.get(key)!]));
  change(keys);
  const to = join(temporaryFolder(), "other.gguf");
  const tensors = [...gguf.tensors.values()].map(({ name, shape, type }) => {
    const bytes = gguf.readBytes(name);
    return { name, shape, type: type!, data: async () => bytes };
  });
  await writeGguf(to, [...keys], tensors);
  gguf.close();
  return to;
}

test("without our key, tensors' types say which layers are ternary, in files of other programs", async () => {
  const model = modelOf({ quantization: { overrides: mixed } });
  const { file } = await write(model, { type: "tq2_0", linearType: "f32" });
  const back = await loadModel(await rewritten(file, (keys) => keys.delete("bitnet_ts.layers")), runtime);
  expect(await logitsOf(back.model)).toEqual(await logitsOf(model));
});

test.for([
  ["blk.7.ffn_down int8 none", /"blk.7.ffn_down int8 none": there is no such layer/],
  ["blk.1.ffn_down int8", /expected a layer, its weights and its inputs/],
  ["blk.1.ffn_up int8 none", /the tensor is TQ2_0; expected ternary or none/],
  ["blk.1.ffn_down int8 absmax3", /unknown inputs; expected none or absmax8/],
] as const)("a key that does not fit the file is refused: %s", async ([entry, message]) => {
  const { file } = await write(modelOf({ quantization: { overrides: mixed } }), { type: "tq2_0" });
  const other = await rewritten(file, (keys) => keys.set("bitnet_ts.layers", texts([entry])));
  await expect(loadModel(other, runtime)).rejects.toThrow(message);
});

test("--linear-type is refused where no float layer stands beside ternary ones", async () => {
  await expect(write(modelOf({}), { type: "tq2_0", linearType: "f32" })).rejects.toThrow(
    /--linear-type is for float layers beside ternary ones, and this model is ternary; use --type/,
  );
});

test("four-bit inputs are kept in the file's key: read back, the same quantizers and logits; notes say what others do", async () => {
  const model = modelOf({ quantization: { activations: "absmax4" } });
  const { file, report } = await write(model, { type: "tq2_0" });
  expect(report.notes.join()).toMatch(
    /round the inputs of the layers in ternary with absmax4 inputs .* to int8 in blocks, and the model to int4/,
  );
  const { model: back } = await loadModel(file, runtime);
  expect(back.plan.layers.every(({ activations }) => activations?.name === "absmax4")).toBe(true);
  expect(await logitsOf(back)).toEqual(await logitsOf(model));
});
