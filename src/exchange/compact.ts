/**
 * A model as one compact file (formats/compact): ternary matrices as codes and one scale, int8 and int4 layers as their numbers,
 * everything else in a number type of choice, config and tokenizer inside. Read back, quantized layers are what they were, to
 * the last bit: float weights are made from which absmean, or the layer's own quantizer of values, makes the same.
 */
import { z } from "zod";
import { createDryBackend } from "../backends/dry.ts";
import {
  type CompactEntry,
  type CompactFile,
  type CompactTensor,
  isTernary,
  openCompact,
  type TernaryEncoding,
  type WrittenTensor,
  writeCompact,
} from "../formats/compact/index.ts";
import { checkQuantization, headWidth, type ModelConfig, modelConfigSchema, Transformer } from "../model/index.ts";
import { FormatError } from "../platform/errors.ts";
import { showText } from "../platform/show.ts";
import { issueWords } from "../platform/issue.ts";
import { baseName, joinPath, writeAtomically, writeFolderAtomically } from "../platform/files.ts";
import type { RowTypeName } from "../quant/row-types.ts";
import { masterWeightsOf } from "../quant/ternary.ts";
import { type ParameterRole, Runtime } from "../tensor/index.ts";
import { createTokenizer, formatTokenizerJson, type Tokenizer } from "../tokenizer/index.ts";
import { holdsModelAlone, type LoadedModel, writeModelFiles } from "../checkpoint/model-folder.ts";
import { checkScale, checkValuesAlone, valuesOf, writtenConfig, writtenParameters } from "./matrix.ts";

/** The number type of every tensor that is not ternary, by what it is. */
export interface CompactTypes {
  embedding: RowTypeName;
  /** Of a head of its own; a tied one is the embedding. */
  head: RowTypeName;
  norm: RowTypeName;
  /** Float linear layers. Those in int8 are stored as the numbers that they multiply with, whatever stands here. */
  linear: RowTypeName;
}

export interface CompactOptions {
  types?: Partial<CompactTypes>;
  /** How ternary matrices are coded; default: each as it is smallest. */
  ternary?: TernaryEncoding | "smallest";
  /** Steps of training behind the model; null where unknown. */
  step?: number | null;
  /** Jinja, for chat; null where there is none. */
  chatTemplate?: string | null;
  /** Ends the writing between two tensors; nothing is left. */
  signal?: AbortSignal;
}

/** The number type that holds a quantizer's values, by the type of GGUF that does. */
const exactTypes = { Q8_0: "q8", Q4_0: "q4", F16: "f16", BF16: "bf16", F32: "f32" } as const;

/** Half precision for what is large, float32 for gains, which are few. */
export const compactTypes: CompactTypes = { embedding: "f16", head: "f16", norm: "f32", linear: "f16" };

/**
 * Writes a model as one file, whole or not at all.
 *
 * @returns the file's size, and of each tensor its encoding, bytes and what rounding changed
 * @throws FileError when the disk refuses
 */
export async function saveCompact(
  path: string,
  model: Transformer,
  tokenizer: Tokenizer | null,
  options: CompactOptions = {},
): Promise<{ sizeBytes: number; tensors: (WrittenTensor & { role: ParameterRole })[] }> {
  const { runtime } = model;
  const types = { ...compactTypes, ...options.types };
  checkValuesAlone(model.plan, "compact");
  const config = writtenConfig(model);
  const tensors = writtenParameters(model).map((parameter): CompactTensor => {
    const { name, shape, role } = parameter;
    const layer = model.byWeight.get(name);
    const quantizer = layer?.spec.weights?.quantizer;
    if (!layer || quantizer?.form !== "ternary") {
      const type =
        quantizer?.form === "values" ? exactTypes[quantizer.ggufType ?? "F32"] : types[role as keyof CompactTypes];
      return { name, shape, type, floats: () => valuesOf(model, parameter) };
    }
    return {
      name,
      shape,
      async ternary() {
        const { codes, scale } = layer.quantized(runtime);
        const [gamma] = await runtime.readFloats(scale);
        const own = (await runtime.read(codes)) as Uint8Array;
        checkScale(layer, own, gamma);
        return { codes: own, scale: gamma };
      },
    };
  });
  const metadata = {
    kind: "bitnet.ts model",
    // Parsed: its fields in the schema's order, so that the same model gives the same bytes.
    config: modelConfigSchema.parse(config),
    step: options.step ?? null,
    tokenizer: tokenizer && rolesOf(tokenizer),
    chatTemplate: options.chatTemplate ?? null,
  };
  const text = tokenizer && formatTokenizerJson(tokenizer.toJson());
  const written = await writeCompact(path, metadata, text, tensors, options);
  const roles = new Map(model.parameters.map(({ name, role }) => [name, role]));
  return { ...written, tensors: written.tensors.map((tensor) => ({ ...tensor, role: roles.get(tensor.name)! })) };
}

const rolesOf = (tokenizer: Tokenizer) => {
  const named = (id: number | null) => (id === null ? null : (tokenizer.tokenOf(id) ?? null));
  const { bos, eos, endOfText } = tokenizer;
  return { bos: named(bos), eos: named(eos), endOfText: named(endOfText) };
};

const metadataSchema = z.strictObject({
  kind: z.literal("bitnet.ts model"),
  config: modelConfigSchema,
  step: z.int().min(0).nullable(),
  tokenizer: z
    .strictObject({
      bos: z.string().nullable(),
      eos: z.string().nullable(),
      endOfText: z.string().nullable(),
    })
    .nullable(),
  chatTemplate: z.string().nullable(),
});

/** What a compact file says of its model, its tensors checked against the config. The caller closes the file. */
export interface OpenedCompact {
  file: CompactFile;
  config: ModelConfig;
  step: number | null;
  chatTemplate: string | null;
  readTokenizer(): Tokenizer | null;
}

/**
 * Opens a compact file and checks that its tensors are those of the model that it describes.
 *
 * @throws FileError; FormatError naming the field and the byte; UnsupportedError for another version
 */
export function openCompactModel(path: string): OpenedCompact {
  const file = openCompact(path);
  try {
    const parsed = metadataSchema.safeParse(file.metadata);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      throw new FormatError(`${path}: byte 48: header: metadata.${issueWords(issue)}`);
    }
    const { config, step, chatTemplate, tokenizer: roles } = parsed.data;
    checkTensors(file, config);
    if ((roles === null) !== (file.tokenizer === null))
      throw new FormatError(
        `${path}: byte 48: header: metadata.tokenizer is ${roles ? "there" : "null"}, but the file has ${file.tokenizer ? "a" : "no"} tokenizer`,
      );
    return { file, config, step, chatTemplate, readTokenizer: () => roles && readTokenizer(file, roles, config) };
  } catch (error) {
    file.close();
    throw error;
  }
}

function readTokenizer(
  file: CompactFile,
  roles: NonNullable<z.infer<typeof metadataSchema>["tokenizer"]>,
  config: ModelConfig,
): Tokenizer {
  const where = `${file.path}: byte ${file.tokenizer!.offset}: tokenizer`;
  let content: unknown;
  try {
    content = JSON.parse(file.readTokenizer()!);
  } catch (cause) {
    if (cause instanceof SyntaxError)
      throw new FormatError(`${where}: is not JSON (${showText(cause.message, 120)})`, { cause });
    throw cause;
  }
  let tokenizer: Tokenizer;
  try {
    tokenizer = createTokenizer(content, { ...roles, name: baseName(file.path) });
  } catch (cause) {
    throw new FormatError(`${where}: ${(cause as Error).message}`, { cause });
  }
  if (tokenizer.vocabSize > config.vocabSize)
    throw new FormatError(
      `${where}: has ${tokenizer.vocabSize} tokens, but the model's vocabulary is ${config.vocabSize}; they do not belong together`,
    );
  return tokenizer;
}

/** Numbers of the table of rotary angles, which is made from the config alone: 512 MiB. No published model comes near. */
const maxRotaryNumbers = 2 ** 27;

/** Tensors of one block: 7 matrices and 2 norms, and 2 sub-norms where it has them. */
const leastTensorsOfBlock = 9;

function checkTensors(file: CompactFile, config: ModelConfig): void {
  const header = `${file.path}: byte 48: header`;
  // Before a model is even counted up: what the config asks for must be in the file.
  if (config.layers * leastTensorsOfBlock > file.tensors.size)
    throw new FormatError(
      `${header}: metadata.config.layers is ${config.layers}, but there are ${file.tensors.size} tensors`,
    );
  if (config.contextLength * headWidth(config) > maxRotaryNumbers)
    throw new FormatError(
      `${header}: metadata.config.contextLength is ${config.contextLength}; with heads of ${headWidth(config)} at most ${Math.floor(maxRotaryNumbers / headWidth(config))} can be run`,
    );
  checkQuantization(config, `${header}: metadata.config`);
  const model = new Transformer(new Runtime(createDryBackend()), config, null);
  const left = new Map(file.tensors);
  for (const { name, shape, role } of model.parameters) {
    const entry = left.get(name);
    if (!entry) throw new FormatError(`${header}: tensors: ${name} is missing`);
    const refuse = (what: string): never => {
      throw new FormatError(`${file.path}: byte ${entry.offset}: tensor ${name}: ${what}`);
    };
    if (String(entry.shape) !== String(shape)) refuse(`is [${entry.shape}]; the model wants [${shape}]`);
    if (isTernary(entry.encoding) !== (role === "ternary"))
      refuse(`is ${entry.encoding}; the model wants ${role === "ternary" ? "ternary weights" : "floats"}`);
    left.delete(name);
  }
  for (const [name, { offset }] of left)
    throw new FormatError(`${file.path}: byte ${offset}: tensor ${name}: the model has no such tensor`);
  model.dispose();
}

/**
 * Writes the model in a compact file as a model folder (model-folder.ts), whole or not at all.
 *
 * @throws as openCompactModel; FileError when the disk refuses, or the folder holds other things
 */
export async function importCompact(
  path: string,
  folder: string,
  runtime: Runtime,
): Promise<{ config: ModelConfig; parameters: number }> {
  const { model, config, tokenizer, chatTemplate } = await loadCompact(path, runtime);
  try {
    await writeFolderAtomically(
      folder,
      async (temporary) => {
        await writeModelFiles(temporary, model, tokenizer);
        if (chatTemplate !== null) writeAtomically(joinPath(temporary, "chat_template.jinja"), chatTemplate);
      },
      { mayReplace: holdsModelAlone },
    );
    return { config, parameters: model.parameters.reduce((sum, { size }) => sum + size, 0) };
  } finally {
    model.dispose();
  }
}

/** Builds the model in a compact file and fills it, tensor by tensor. @throws as openCompactModel */
export async function loadCompact(
  path: string,
  runtime: Runtime,
): Promise<LoadedModel & Pick<OpenedCompact, "step" | "chatTemplate">> {
  const { file, config, step, chatTemplate, readTokenizer } = openCompactModel(path);
  try {
    const tokenizer = readTokenizer();
    const model = new Transformer(runtime, config, null);
    try {
      for (const parameter of model.parameters) {
        const entry = file.tensors.get(parameter.name)!;
        const values =
          parameter.role === "ternary" ? masterWeights(file, entry, config) : file.readFloats(parameter.name);
        runtime.backend.upload(parameter.tensor.buffer, values);
        parameter.changed();
      }
      return { model, config, tokenizer, step, chatTemplate };
    } catch (error) {
      model.dispose();
      throw error;
    }
  } finally {
    file.close();
  }
}

/** Float weights that quantise to exactly the entry's codes and scale, by the config's rule. */
function masterWeights(file: CompactFile, { name, offset }: CompactEntry, config: ModelConfig): Float32Array {
  const { codes, scale } = file.readTernary(name);
  const refuse = (): never => {
    throw new FormatError(
      `${file.path}: byte ${offset}: tensor ${name}: scale ${scale} is of no weights that rule "${config.weightScale}" with ${config.weightEps} makes ternary`,
    );
  };
  const zero = codes.every((code) => code === 1);
  // No weight, no product: whatever the scale is, it multiplies 0.
  if (zero) return new Float32Array(codes.length);
  const mean = config.weightScale === "add" ? Math.fround(scale - Math.fround(config.weightEps)) : scale;
  if (!(mean > 0)) refuse();
  const weights = masterWeightsOf({ codes, scale: mean });
  let sum = 0;
  for (const weight of weights) sum += Math.abs(weight);
  // As ops/weight-quant: the scale they have, and that none of them is rounded to 0.
  if (scaleOf(Math.fround(sum / codes.length), config) !== scale) refuse();
  const threshold = scale * 0.5;
  for (let i = 0; i < codes.length; i++) if (codes[i] !== 1 && !(Math.abs(weights[i]) > threshold)) refuse();
  return weights;
}

/** The scale that ops/weight-quant makes of a mean magnitude. */
function scaleOf(mean: number, { weightScale, weightEps }: ModelConfig): number {
  const eps = Math.fround(weightEps);
  return weightScale === "add" ? Math.fround(mean + eps) : Math.max(mean, eps);
}
