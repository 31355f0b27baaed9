/**
 * A model as a Hugging Face folder that `transformers` opens: weights in a chosen type, one file or shards, config.json,
 * generation and tokenizer files, a model card. Called by `bitnet export --format hf`.
 *
 * A ternary model is written for Hugging Face's quantiser, s = max(mean|W|, 1e-5), whatever rule it was trained with:
 * its float weights are fitted (quant/fit-ternary.ts) so that codes and scales stay what they are here, to the last bit.
 */
import { hasSafetensors, writeSafetensorsFolder } from "../formats/safetensors-shards.ts";
import type { SafetensorsTensor } from "../formats/safetensors.ts";
import { describeLayer, finalNormEpsOf, type ModelConfig, type Transformer } from "../model/index.ts";
import { UnsupportedError, UsageError } from "../platform/errors.ts";
import { exists, joinPath, listFolder, writeAtomically, writeFolderAtomically } from "../platform/files.ts";
import { quantizeWeights } from "../ops/weight-quant/reference.ts";
import { toBfloat16Bits } from "../quant/bfloat16.ts";
import { bfloat16Grid, fitTernary, float16Grid, float32Grid, type NumberGrid } from "../quant/fit-ternary.ts";
import { toFloat16Bits } from "../quant/float16.ts";
import { canPackRows, packHuggingFace } from "../quant/hf-pack.ts";
import type { Parameter } from "../tensor/index.ts";
import { formatTokenizerJson, type Tokenizer, withPrefixToken } from "../tokenizer/index.ts";
import {
  type FloatDType,
  huggingFaceScale,
  toGenerationConfig,
  toHuggingFaceConfig,
  transformersRuns,
} from "../checkpoint/hf-config.ts";
import { configFile, generationFile, jsonText } from "../checkpoint/json-file.ts";
import { tokenizerTexts } from "../checkpoint/tokenizer-files.ts";
import { checkAbsmean, checkScale, onnxHolds, writtenConfig, writtenParameters } from "./matrix.ts";

export const huggingFaceTypes = ["f32", "bf16", "f16", "packed"] as const;
export type HuggingFaceType = (typeof huggingFaceTypes)[number];
export type HuggingFaceFloatType = Exclude<HuggingFaceType, "packed">;

export interface HuggingFaceExport {
  /** How weights are stored; packed: ternary matrices as two-bit codes, the rest as `floatType`. */
  type: HuggingFaceType;
  /** Of embedding, norms and head, where `type` is packed. Default f32. */
  floatType?: HuggingFaceFloatType;
  /** The most that one file of weights holds. Default 5 GB, as Hugging Face's own. */
  shardBytes?: number;
  /** Text of README.md, given what was written; absent: no card. */
  card?: (written: Omit<HuggingFaceWritten, "files">) => string;
  /** The folder that the model came from: what its tokenizer_config.json says beyond ours (a chat template) is kept. */
  source?: string;
  /** The token that the tokenizer's files put before a text; null: none; absent: as they do already. */
  startToken?: number | null;
  /** Every token that ends a text, for generation_config.json, where there are more than the tokenizer's own. */
  endTokens?: readonly number[];
  signal?: AbortSignal;
}

export interface HuggingFaceWritten {
  config: ModelConfig;
  type: HuggingFaceType;
  floatType: HuggingFaceFloatType;
  tensorBytes: number;
  parameters: number;
  /** Weights of the ternary matrices, and how many of them are 0. */
  ternaryWeights: number;
  zeroWeights: number;
  /** Ternary matrices whose float weights were moved, to keep codes and scale in this type and for this rule. */
  fittedMatrices: number;
  files: string[];
}

const floats: Record<HuggingFaceFloatType, { dtype: "F32" | "F16" | "BF16"; name: FloatDType; grid: NumberGrid }> = {
  f32: { dtype: "F32", name: "float32", grid: float32Grid },
  bf16: { dtype: "BF16", name: "bfloat16", grid: bfloat16Grid },
  f16: { dtype: "F16", name: "float16", grid: float16Grid },
};

const defaultShardBytes = 5e9;

/**
 * Writes the folder, whole or not at all.
 *
 * @throws UsageError for a type that the model cannot have; UnsupportedError naming the tensor that does not fit the type;
 *   FileError
 */
export async function exportHuggingFace(
  model: Transformer,
  own: Tokenizer | null,
  path: string,
  options: HuggingFaceExport,
): Promise<HuggingFaceWritten> {
  const { type, shardBytes = defaultShardBytes, source, startToken, endTokens, signal } = options;
  const tokenizer = own && startToken !== undefined ? withPrefixToken(own, startToken) : own;
  const { plan } = model;
  const others = `${onnxHolds(plan) ? "gguf, onnx" : "gguf"} or compact`;
  if (type !== "packed")
    checkAbsmean(plan, `hf, type ${type}`, `use type packed, which holds codes and scales, or export it as ${others}`);
  const other = plan.layers.find((layer) => !transformersRuns(layer));
  if (other)
    throw new UnsupportedError(
      `hf: layer ${other.name} is ${describeLayer(other)}, which transformers' BitNet quantizer does not run; it has ternary weights with int8 inputs, and float layers. Export it as ${others}`,
    );
  if (finalNormEpsOf(model.config) !== model.config.normEps)
    throw new UnsupportedError(
      `config.json has one epsilon for all norms (rms_norm_eps), and this model's last norm has its own (finalNormEps ${model.config.finalNormEps}); it cannot be written for transformers`,
    );
  if (type === "packed" && !plan.anyTernary)
    throw new UsageError(
      `type packed is for ternary models; this one is the full-precision twin: use f32, bf16 or f16`,
    );
  if (type !== "packed" && options.floatType !== undefined)
    throw new UsageError(`the type of embedding, norms and head is for type packed; with ${type} all are ${type}`);
  const floatType = type === "packed" ? (options.floatType ?? "f32") : type;
  const config: ModelConfig = plan.anyTernary ? { ...writtenConfig(model), ...huggingFaceScale } : model.config;
  const counts = { ternaryWeights: 0, zeroWeights: 0, fittedMatrices: 0 };
  return writeFolderAtomically(
    path,
    async (folder) => {
      const tensors = writtenParameters(model).flatMap((parameter) =>
        tensorsOf(model, parameter, { type, floatType, counts, signal }),
      );
      const { tensorBytes } = await writeSafetensorsFolder(folder, tensors, { shardBytes, metadata: { format: "pt" } });
      const roles = { bos: tokenizer?.bos ?? null, eos: tokenizer?.eos ?? null };
      const layout = type === "packed" ? "packed" : "float";
      const texts: Record<string, string> = {
        [configFile]: jsonText(toHuggingFaceConfig(config, roles, { layout, dtype: floats[floatType].name })),
        [generationFile]: jsonText(toGenerationConfig(config, roles, endTokens)),
        ...(tokenizer
          ? { "tokenizer.json": formatTokenizerJson(tokenizer.toJson()), ...tokenizerTexts(tokenizer, source) }
          : {}),
      };
      const parameters = writtenParameters(model).reduce((sum, { size }) => sum + size, 0);
      const written = { config, type, floatType, tensorBytes, parameters, ...counts };
      if (options.card) texts["README.md"] = options.card(written);
      for (const [name, text] of Object.entries(texts)) writeAtomically(joinPath(folder, name), text);
      return { ...written, files: listFolder(folder) };
    },
    { mayReplace: isExport },
  );
}

/** A folder that this command wrote, or an empty one. */
function isExport(path: string): boolean {
  const names = listFolder(path);
  if (names.length === 0) return true;
  const known = /^(model(-\d{5}-of-\d{5})?\.safetensors|.*\.json|README\.md|chat_template\.jinja)$/;
  return (
    hasSafetensors(path) && !exists(joinPath(path, "trainer_state.json")) && names.every((name) => known.test(name))
  );
}

interface Storing {
  type: HuggingFaceType;
  floatType: HuggingFaceFloatType;
  counts: Pick<HuggingFaceWritten, "ternaryWeights" | "zeroWeights" | "fittedMatrices">;
  signal?: AbortSignal;
}

function tensorsOf(model: Transformer, parameter: Parameter, storing: Storing): SafetensorsTensor[] {
  const { name, shape, role } = parameter;
  const { dtype, grid } = floats[storing.floatType];
  const values = () => {
    storing.signal?.throwIfAborted();
    return model.runtime.readFloats(parameter.tensor);
  };
  if (role !== "ternary")
    return [{ name, dtype, shape, data: async () => stored(await values(), storing.floatType, name) }];
  const layer = model.byWeight.get(name)!;
  const codes = async () => (await model.runtime.read(layer.quantized(model.runtime).codes)) as Uint8Array;
  const scaleOf = async () => {
    const [scale] = await model.runtime.readFloats(layer.quantized(model.runtime).scale);
    if (scale > 0 && Number.isFinite(scale)) {
      checkScale(layer, await codes(), scale);
      return scale;
    }
    throw new UnsupportedError(`tensor ${name}: its scale is ${scale}; the weights are not finite`);
  };
  const codesOf = async () => {
    const own = await codes();
    storing.counts.ternaryWeights += own.length;
    for (const code of own) if (code === 1) storing.counts.zeroWeights++;
    return own;
  };
  if (storing.type === "packed") {
    if (!canPackRows(shape[0]))
      throw new UnsupportedError(
        `tensor ${name} has ${shape[0]} rows; transformers packs four rows into one: use f32, bf16 or f16`,
      );
    return [
      // Of the scale's own type, float32: in 16 bits it would be another.
      { name: `${name}_scale`, dtype: "F32", shape: [1], data: async () => Float32Array.of(await scaleOf()) },
      {
        name,
        dtype: "U8",
        shape: [shape[0] / 4, shape[1]],
        data: async () => {
          storing.signal?.throwIfAborted();
          return packHuggingFace(await codesOf());
        },
      },
    ];
  }
  const fitted = async () => {
    const weights = await values();
    const [codes, scale] = [await codesOf(), await scaleOf()];
    const rounded = roundTo(weights, grid);
    if (quantizesTo(rounded, codes, scale)) return stored(rounded, storing.floatType, name);
    storing.counts.fittedMatrices++;
    const moved = fitTernary(weights, codes, scale, grid);
    if (!moved || !quantizesTo(moved, codes, scale))
      throw new UnsupportedError(
        `tensor ${name}: ${grid.name} has no numbers from which Hugging Face's quantiser makes its codes and its scale of ${scale}; use type packed`,
      );
    return stored(moved, storing.floatType, name);
  };
  return [{ name, dtype, shape, data: fitted }];
}

function roundTo(values: Float32Array, grid: NumberGrid): Float32Array {
  if (grid === float32Grid) return values;
  return values.map((value) => Math.sign(value) * grid.fromBits(grid.toBits(Math.abs(value))));
}

/** Does Hugging Face's rule make these codes and this scale of the weights, to the last bit? */
function quantizesTo(weights: Float32Array, codes: Uint8Array, scale: number): boolean {
  const found = new Uint8Array(codes.length);
  const foundScale = new Float32Array(1);
  quantizeWeights(weights, found, foundScale, huggingFaceScale.weightScale, huggingFaceScale.weightEps);
  // Where every code is 0, the scale multiplies nothing.
  return found.every((code, i) => code === codes[i]) && (foundScale[0] === scale || found.every((code) => code === 1));
}

/** Values as they are written. @throws UnsupportedError for a finite one that becomes infinite */
function stored(values: Float32Array, type: HuggingFaceFloatType, name: string): Float32Array | Uint16Array {
  if (type === "f32") return values;
  const toBits = type === "f16" ? toFloat16Bits : toBfloat16Bits;
  const infinite = type === "f16" ? 0x7c00 : 0x7f80;
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    bits[i] = toBits(values[i]);
    if ((bits[i] & 0x7fff) === infinite && Number.isFinite(values[i]))
      throw new UnsupportedError(`tensor ${name}: ${values[i]} is beyond what ${floats[type].name} can hold; use f32`);
  }
  return bits;
}
