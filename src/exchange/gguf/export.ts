/**
 * A model and its tokenizer as one GGUF file for llama.cpp and bitnet.cpp. Ternary layers are written as they multiply,
 * gamma · Wq, never as the latent weights they were made from. Which tensor stands where is names.ts; what cannot be
 * written is refused in architecture.ts and tokenizer-to-gguf.ts.
 */
import { bool, float, type GgufTensorSource, type GgufValue, text, u32, writeGguf } from "../../formats/gguf/index.ts";
import { headWidth, type ModelConfig, type ModelPlan, type Transformer } from "../../model/index.ts";
import { hasTernaryWeights, isBitLinear } from "../../nn/index.ts";
import { DivergenceError, UnsupportedError } from "../../platform/errors.ts";
import { type BlockTypeName, codecOf, ggmlBytes, type GgmlTypeName } from "../../quant/ggml-types.ts";
import { encodeI2S } from "../../quant/i2-s.ts";
import { roundToFloat16 } from "../../quant/float16.ts";
import type { Parameter } from "../../tensor/index.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { checkValuesAlone, type Matrix, matrixOf, writtenParameters } from "../matrix.ts";
import {
  fileTypes,
  type GgufArchitecture,
  type GgufEmbeddingType,
  type GgufExportType,
  type GgufLinearType,
  type GgufPlan,
  ggmlNameOf,
  planGguf,
} from "./architecture.ts";
import { ggmlTypeOf, layerKeys, layerNotes } from "./layer-types.ts";
import { ggufNameOf, interleaveRotary, rotaryHeads, scaleNameOf, ternaryKey } from "./names.ts";
import { tokenizerToGguf } from "./tokenizer-to-gguf.ts";

export interface GgufExportOptions {
  /** Format of the blocks' matrices; "auto" (the default): the smallest ternary type that llama.cpp loads for these widths. */
  type?: GgufExportType | "auto";
  /** Format of the embedding and of a head of its own; by default that of the matrices, float16 beside ternary ones. */
  embeddingType?: GgufEmbeddingType;
  /** Format of float layers beside ternary ones; by default float16, or `type` where that is a float type. */
  linearType?: GgufLinearType;
  /** By default the one that computes what the model does. */
  architecture?: GgufArchitecture;
  /** general.name. */
  name?: string;
  /** The token before a text; null for none. By default the tokenizer's begin-of-text, else its end-of-text. */
  startToken?: number | null;
  /** Jinja. */
  chatTemplate?: string | null;
  signal?: AbortSignal;
}

export interface GgufExportReport extends GgufPlan {
  sizeBytes: number;
  sha256: string;
  tensors: number;
  /** Bits of the tensors, scales included, over the model's parameters. */
  bitsPerWeight: number;
  /** What a user should know: what the file does not hold exactly. */
  notes: string[];
}

/**
 * Writes the file, whole or not at all.
 *
 * @throws UnsupportedError saying why this model, type or tokenizer cannot be written; UsageError for options at odds;
 *         DivergenceError for weights that are not finite; FileError
 */
export async function exportGguf(
  path: string,
  model: Transformer,
  tokenizer: Tokenizer | null,
  options: GgufExportOptions = {},
): Promise<GgufExportReport> {
  const { config } = model;
  const name = options.name ?? "model";
  const plan = planGguf(config, { ...options, type: options.type ?? "auto" }, name);
  if (!tokenizer)
    throw new UnsupportedError(
      `${name}: has no tokenizer; a GGUF file without a vocabulary loads in llama.cpp and ends it at the first text`,
    );
  const { signal, startToken = tokenizer.bos ?? tokenizer.endOfText, chatTemplate } = options;
  const vocabulary = tokenizerToGguf(tokenizer, {
    vocabSize: config.vocabSize,
    startToken,
    chatTemplate: chatTemplate ?? undefined,
  });
  checkValuesAlone(model.plan, "gguf");
  const tensors = writtenParameters(model).flatMap((parameter) => sourcesOf(model, parameter, plan, signal));
  const metadata = [...modelKeys(model, plan, name), ...vocabulary.entries];
  const { sizeBytes, sha256 } = await writeGguf(path, metadata, tensors);
  const tensorBytes = tensors.reduce((sum, { type, shape }) => sum + ggmlBytes(type, sizeOf(shape)), 0);
  return {
    ...plan,
    sizeBytes,
    sha256,
    tensors: tensors.length,
    bitsPerWeight: (8 * tensorBytes) / writtenParameters(model).reduce((sum, { size }) => sum + size, 0),
    notes: [...plan.notes, ...notesOf(model.plan, plan), ...layerNotes(model.plan, plan), ...vocabulary.notes],
  };
}

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

function notesOf(model: ModelPlan, plan: GgufPlan): string[] {
  const roundsScale = model.anyTernary && !plan.scaleTensors && plan.type !== "f32" && plan.type !== "i2_s";
  return [
    ...(roundsScale
      ? [
          `architecture "${plan.architecture}" has no scale tensors: each matrix's scale is rounded to ${plan.type === "bf16" ? "bfloat16" : "float16"}`,
        ]
      : []),
    ...(model.layers.some(isBitLinear) && plan.type !== "i2_s"
      ? [
          plan.type.startsWith("tq") || plan.type.startsWith("q")
            ? "those programs quantise activations in blocks here, not one scale for each token: logits differ a little from bitnet.ts's"
            : "those programs do not quantise activations to int8 here: logits differ a little from bitnet.ts's",
        ]
      : []),
  ];
}

/** A model's sizes as llama.cpp's keys, "bitnet.block_count" and the like. */
export function sizeKeys(config: ModelConfig, arch: GgufArchitecture): [string, GgufValue][] {
  const keys: [string, GgufValue][] = [
    ["vocab_size", u32(config.vocabSize)],
    ["context_length", u32(config.contextLength)],
    ["embedding_length", u32(config.width)],
    ["block_count", u32(config.layers)],
    ["feed_forward_length", u32(config.hiddenWidth)],
    ["attention.head_count", u32(config.heads)],
    ["attention.head_count_kv", u32(config.kvHeads)],
    ["attention.layer_norm_rms_epsilon", float(config.normEps)],
    ["rope.dimension_count", u32(headWidth(config))],
    ["rope.freq_base", float(config.ropeBase)],
  ];
  return keys.map(([key, value]) => [`${arch}.${key}`, value]);
}

function modelKeys({ config, plan: model }: Transformer, plan: GgufPlan, name: string): [string, GgufValue][] {
  const { architecture: arch, type } = plan;
  return [
    ["general.architecture", text(arch)],
    ["general.type", text("model")],
    ["general.name", text(name)],
    ["general.file_type", u32(fileTypes[type])],
    ["general.quantization_version", u32(2)],
    ...sizeKeys(config, arch),
    ...(arch === "llama" && model.anyTernary ? [[ternaryKey, bool(true)] as [string, GgufValue]] : []),
    ...layerKeys(model, plan),
  ];
}

/** A parameter as one tensor, or two where its scale has one of its own. */
function sourcesOf(model: Transformer, parameter: Parameter, plan: GgufPlan, signal?: AbortSignal): GgufTensorSource[] {
  const { name: ours, shape, role } = parameter;
  const name = ggufNameOf(ours);
  const layer = model.plan.byWeight.get(ours);
  const type: GgmlTypeName = layer ? ggmlTypeOf(layer, plan) : role === "norm" ? "F32" : ggmlNameOf(plan.embeddingType);
  const read = async (): Promise<Matrix> => {
    signal?.throwIfAborted();
    const matrix = await matrixOf(model, parameter);
    const heads = rotaryHeads(ours, model.config);
    if (plan.architecture !== "llama" || heads === null) return matrix;
    if (matrix instanceof Float32Array) return interleaveRotary(matrix, heads, shape[1]);
    return { ...matrix, codes: interleaveRotary(matrix.codes, heads, shape[1]) };
  };
  const source: GgufTensorSource = {
    name,
    type,
    shape,
    data: async () => encodeMatrix(await read(), type, plan, `${name}: ${ours}`),
  };
  if (!layer || !hasTernaryWeights(layer) || !plan.scaleTensors) return [source];
  const scale = async () => {
    const matrix = await matrixOf(model, parameter);
    return new Uint8Array(Float32Array.of(matrix instanceof Float32Array ? 1 : matrix.scale).buffer);
  };
  return [source, { name: scaleNameOf(name), type: "F32", shape: [1], data: scale }];
}

function encodeMatrix(matrix: Matrix, type: GgmlTypeName, plan: GgufPlan, where: string): Uint8Array {
  const notFinite = (what: string) =>
    new DivergenceError(
      `${where} ${what}; the model is damaged or its training diverged, export an earlier checkpoint`,
    );
  if (matrix instanceof Float32Array) {
    const bad = matrix.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) throw notFinite(`holds ${matrix[bad]} at ${bad}`);
    const largest =
      type === "F16" || type === "Q8_0" || type === "Q6_K" ? matrix.findIndex((x) => Math.abs(x) >= 65520) : -1;
    if (largest >= 0)
      throw new UnsupportedError(`${where} holds ${matrix[largest]}, too large for ${type}; use bf16 or f32`);
    const bytes = new Uint8Array(ggmlBytes(type, matrix.length));
    codecOf(type as BlockTypeName).encode!(matrix, bytes);
    return bytes;
  }
  const { codes, scale } = matrix;
  if (!Number.isFinite(scale)) throw notFinite(`has scale ${scale}`);
  if (type === "I2_S") return encodeI2S(codes, scale);
  const codec = codecOf(type as BlockTypeName);
  const bytes = new Uint8Array(ggmlBytes(type, codes.length));
  const unit = plan.scaleTensors ? 1 : scale;
  if (codec.encodeTernary) {
    if (roundToFloat16(unit) === 0)
      throw new UnsupportedError(`${where} has scale ${scale}, too small for ${type}; use i2_s or f32`);
    codec.encodeTernary(codes, unit, bytes);
  } else {
    codec.encode!(
      Float32Array.from(codes, (code) => (code - 1) * unit),
      bytes,
    );
  }
  return bytes;
}
