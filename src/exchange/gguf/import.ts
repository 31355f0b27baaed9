/**
 * A GGUF file as a model and its tokenizer: what exportGguf writes, and what llama.cpp's and bitnet.cpp's converters and
 * quantisers do. Ternary matrices become master weights from which our own quantiser makes the same codes and scale, so
 * that the model multiplies by what the file holds; a matrix that is not ternary is refused, for such a file computes
 * something that a `bitnet` model here cannot.
 */
import { createDryBackend } from "../../backends/dry.ts";
import { type GgufFile, readGguf } from "../../formats/gguf/index.ts";
import { headWidth, type ModelConfig, modelConfigSchema, presets, Transformer } from "../../model/index.ts";
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import { show } from "../../platform/show.ts";
import { issueWords } from "../../platform/issue.ts";
import { exists, joinPath, openFile, writeAtomically, writeFolderAtomically } from "../../platform/files.ts";
import { masterWeightsOf, ternaryOf } from "../../quant/ternary.ts";
import { type Parameter, Runtime } from "../../tensor/index.ts";
import { loadTokenizer, type Tokenizer } from "../../tokenizer/index.ts";
import { holdsModelAlone, writeModelFiles } from "../../checkpoint/model-folder.ts";
import { ggufArchitectures } from "./architecture.ts";
import { checkModelKeys, type GgufRemarks, layerCount } from "./keys.ts";
import { readLayers } from "./layer-types.ts";
import { ggufNameOf, interleaveRotary, rotaryHeads, scaleNameOf, ternaryKey } from "./names.ts";
import { tokenizerFromGguf } from "./tokenizer-from-gguf.ts";
import { huggingFaceScale } from "../../checkpoint/hf-config.ts";

export interface LoadedGguf {
  /** Owned by the caller: dispose of it. */
  model: Transformer;
  config: ModelConfig;
  tokenizer: Tokenizer | null;
  /** Jinja; null where the file has none. */
  chatTemplate: string | null;
  /** Tokens that the metadata and their names make ends of a text or an answer, in ascending order. */
  endTokens: number[];
  /** What a user should know of how the file was read. */
  notes: string[];
}

export interface GgufOptions {
  /** How byte-level BPE cuts text, by a name of tokenizer.ggml.pre, in place of what the file says. */
  pre?: string;
}

/** The longest published context (2^24 tokens or so) with heads of 16 to 128. */
const maxRotaryValues = 2 ** 28;

/** Does a file begin as GGUF files do? */
export function isGgufFile(path: string): boolean {
  const file = openFile(path);
  try {
    const magic = new Uint8Array(4);
    if (file.sizeBytes < 4) return false;
    file.read(0, magic);
    return String.fromCharCode(...magic) === "GGUF";
  } finally {
    file.close();
  }
}

/**
 * The config of the model in a file, without its weights; what a user should know of it; and its keys that have no effect.
 *
 * @throws as loadGguf
 */
export function describeGguf(path: string, options: GgufOptions = {}): GgufRemarks & { config: ModelConfig } {
  const { file, config, notes, ignored } = openGgufModel(path, options);
  file.close();
  return { config, notes, ignored };
}

/** A file whose tensors are those of the model that it describes, and what it says beside them. */
export interface OpenedGguf {
  /** Owned by the caller: close it. */
  file: GgufFile;
  config: ModelConfig;
  tokenizer: Tokenizer | null;
  /** Jinja; null where the file has none. */
  chatTemplate: string | null;
  /** Tokens that the metadata and their names make ends of a text or an answer, in ascending order. */
  endTokens: number[];
  /** What a user should know of how the file was read, and its keys that have no effect here, each with its reason. */
  notes: string[];
  ignored: string[];
  /** Names, shapes and roles, without memory behind them. */
  parameters: readonly Pick<Parameter, "name" | "shape" | "role">[];
}

/** Opens a file to read a model's tensors from. @throws as loadGguf */
export function openGgufModel(path: string, options: GgufOptions = {}): OpenedGguf {
  const file = readGguf(path);
  try {
    const config = configOf(file);
    const remarks = checkModelKeys(file.metadata, {
      ...{ architecture: file.metadata.text("general.architecture"), headWidth: headWidth(config) },
      ...{ contextLength: config.contextLength, width: config.width },
    });
    const found = tokenizerFromGguf(file.metadata, path, { ...options, beside: () => tokenizerBeside(path) });
    const tokenizer = found?.tokenizer ?? null;
    if (tokenizer && tokenizer.vocabSize > config.vocabSize)
      throw new FormatError(`${path}: has ${tokenizer.vocabSize} tokens, but embeddings of ${config.vocabSize}`);
    const chatTemplate = file.metadata.findText("tokenizer.chat_template") ?? null;
    // Shapes are held against the file before anything of their size is allocated.
    const { parameters } = new Transformer(new Runtime(createDryBackend()), config, null);
    checkTensors(file, parameters);
    return {
      ...{ file, config, tokenizer, chatTemplate, parameters },
      endTokens: found?.endTokens ?? [],
      notes: [...remarks.notes, ...(found?.notes ?? [])],
      ignored: [...remarks.ignored, ...(found?.ignored ?? [])],
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** A tokenizer.json in the file's folder; null where there is none. */
function tokenizerBeside(path: string): Tokenizer | null {
  const beside = joinPath(path, "..", "tokenizer.json");
  return exists(beside) ? loadTokenizer(beside) : null;
}

/**
 * Builds the model in a file.
 *
 * @throws FileError; FormatError naming what is missing or wrong; UnsupportedError for an architecture, a setting, a
 *         tokenizer or a number format that we do not run
 */
export async function loadGguf(path: string, runtime: Runtime, options: GgufOptions = {}): Promise<LoadedGguf> {
  const { file, config, tokenizer, chatTemplate, endTokens, notes } = openGgufModel(path, options);
  try {
    const model = new Transformer(runtime, config, null);
    try {
      for (const parameter of model.parameters) {
        runtime.backend.upload(parameter.tensor.buffer, weightsOf(file, parameter, config));
        parameter.changed();
      }
      for (const layer of model.ternaryLayers) layer.forgetQuantized();
      return { model, config, tokenizer, chatTemplate, endTokens, notes };
    } catch (error) {
      model.dispose();
      throw error;
    }
  } finally {
    file.close();
  }
}

/** float32's shortest decimal: 1e-5, where the file's bits say 0.000009999999747378752. */
const shortest = (x: number): number => {
  for (let digits = 1; digits < 9; digits++) {
    const short = Number(x.toPrecision(digits));
    if (Math.fround(short) === Math.fround(x)) return short;
  }
  return x;
};

function configOf(file: GgufFile): ModelConfig {
  const { metadata, path, tensors } = file;
  const arch = metadata.text("general.architecture");
  const refuse = (what: string): never => {
    throw new UnsupportedError(`${path}: ${what}`);
  };
  if (!(ggufArchitectures as readonly string[]).includes(arch))
    refuse(`is of architecture ${show(arch)}; these can be read: ${ggufArchitectures.join(", ")}`);
  const key = (name: string) => `${arch}.${name}`;
  const count = (name: string) => metadata.count(key(name));
  const heads = layerCount(metadata, key("attention.head_count")) ?? count("attention.head_count");
  const embedding = tensors.get("token_embd.weight");
  if (!embedding) throw new FormatError(`${path}: has no tensor "token_embd.weight"; a vocabulary alone is no model`);
  if (tensors.has("rope_freqs.weight")) refuse("rotary scaling (rope_freqs.weight) is not supported");
  const { initStd, requantizeEvery, recompute } = presets.tiny;
  const ternary = arch !== "llama" || isTernaryLlama(file);
  const config: ModelConfig = {
    variant: ternary ? "bitnet" : "full",
    subNorms: !ternary || arch !== "llama",
    vocabSize: embedding.shape[0],
    width: count("embedding_length"),
    layers: count("block_count"),
    heads,
    kvHeads: layerCount(metadata, key("attention.head_count_kv")) ?? heads,
    hiddenWidth: layerCount(metadata, key("feed_forward_length")) ?? count("feed_forward_length"),
    contextLength: count("context_length"),
    tiedHead: !tensors.has("output.weight"),
    activation: arch === "llama" || arch === "bitnet" ? "silu" : "relu2",
    ropeBase: shortest(metadata.findNumber(key("rope.freq_base")) ?? 10000),
    normEps: shortest(metadata.number(key("attention.layer_norm_rms_epsilon"))),
    initStd,
    // The rule under which master weights are made here; any scale of at least eps is kept to the bit.
    ...huggingFaceScale,
    requantizeEvery,
    recompute,
  };
  const parsed = modelConfigSchema.safeParse(config);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new FormatError(`${path}: as a model, ${issueWords(issue)}`);
  }
  const D = headWidth(config);
  for (const name of ["rope.dimension_count", "attention.key_length", "attention.value_length"]) {
    const size = metadata.findCount(key(name), 1);
    if (size !== undefined && size !== D) refuse(`${key(name)} is ${size}; only width / heads (${D}) can be run`);
  }
  // A table of rotary angles is made for the whole context.
  if (config.contextLength * D > maxRotaryValues)
    throw new FormatError(
      `${path}: ${key("context_length")} is ${config.contextLength}; with heads of ${D} at most ${Math.floor(maxRotaryValues / D)} can be run`,
    );
  // Each block has tensors: a count that the file cannot hold is refused before a model of that size is made.
  if (config.layers > tensors.size)
    throw new FormatError(`${path}: ${key("block_count")} is ${config.layers}, but there are ${tensors.size} tensors`);
  const quantization = readLayers(file, config, ternary);
  return quantization ? { ...config, quantization } : config;
}

/**
 * LLaMA's layers made ternary, without sub-norms: said by ours, and told of others' files by the first matrix of a ternary
 * type, where that holds one magnitude. Blocks of different ones are float weights that a quantiser made ternary.
 */
function isTernaryLlama({ metadata, tensors, readFloats }: GgufFile): boolean {
  const said = metadata.findBool(ternaryKey);
  if (said !== undefined) return said;
  const first = [...tensors.values()].find(
    ({ name, type }) => /^blk\.\d+\./.test(name) && ["TQ1_0", "TQ2_0", "I2_S"].includes(String(type)),
  );
  return first !== undefined && ternaryOf(readFloats(first.name)) !== null;
}

/** @throws FormatError unless the file holds exactly the tensors of the model */
function checkTensors(file: GgufFile, parameters: readonly Parameter[]): void {
  const known = new Set<string>();
  for (const { name: ours, shape, role } of parameters) {
    const name = ggufNameOf(ours);
    const tensor = file.tensor(name);
    if (tensor.shape.join() !== shape.join())
      throw new FormatError(
        `${file.path}: tensor ${show(name)} is [${tensor.shape}]; its metadata makes it [${shape}]`,
      );
    known.add(name);
    if (role === "ternary") known.add(scaleNameOf(name));
  }
  const stranger = [...file.tensors.keys()].find((name) => !known.has(name));
  if (stranger !== undefined)
    throw new UnsupportedError(`${file.path}: holds tensor ${show(stranger)}, which no model here has`);
}

type Named = Pick<Parameter, "name" | "shape" | "role">;

/** How many heads' rows lie in adjacent pairs; null for a tensor whose rows lie as ours. */
export function pairedHeads(file: GgufFile, name: string, config: ModelConfig): number | null {
  const heads = rotaryHeads(name, config);
  return heads !== null && file.metadata.text("general.architecture") === "llama" ? heads : null;
}

function floatsOf(file: GgufFile, { name, shape }: Named, config: ModelConfig): Float32Array {
  const stored = file.readFloats(ggufNameOf(name));
  const heads = pairedHeads(file, name, config);
  return heads === null ? stored : interleaveRotary(stored, heads, shape[1], true);
}

/** What multiplies a ternary matrix beside the scale in its own bytes. @throws FormatError */
export function scaleFactorOf(file: GgufFile, name: string): number {
  const scaleName = scaleNameOf(ggufNameOf(name));
  if (!file.tensors.has(scaleName)) return 1;
  const factor = file.readFloats(scaleName);
  if (factor.length !== 1 || !(factor[0] >= 0) || !Number.isFinite(factor[0]))
    throw new FormatError(
      `${file.path}: tensor ${show(scaleName)} is ${factor[0]} (of ${factor.length} numbers); expected one number above 0`,
    );
  return factor[0];
}

/** A ternary matrix of a file, whatever it is written in. @throws UnsupportedError where it is not ternary; FormatError */
export function readGgufTernary(
  file: GgufFile,
  parameter: Named,
  config: ModelConfig,
): { codes: Uint8Array; scale: number } {
  const where = `${file.path}: tensor ${show(ggufNameOf(parameter.name))}`;
  const ternary = ternaryOf(floatsOf(file, parameter, config));
  if (!ternary)
    throw new UnsupportedError(
      `${where} is not ternary: it holds more than -g, 0 and g; if it was quantised from float weights in blocks, import the model that it was made from`,
    );
  const scale = Math.fround(ternary.scale * scaleFactorOf(file, parameter.name));
  if (!(scale >= 0) || !Number.isFinite(scale))
    throw new FormatError(`${where}: its scale is ${scale}; expected one number above 0`);
  return { codes: ternary.codes, scale };
}

function weightsOf(file: GgufFile, parameter: Named, config: ModelConfig): Float32Array {
  if (parameter.role !== "ternary") return floatsOf(file, parameter, config);
  const { codes, scale } = readGgufTernary(file, parameter, config);
  if (scale > 0 && scale < config.weightEps)
    throw new UnsupportedError(
      `${file.path}: tensor ${show(ggufNameOf(parameter.name))}: its scale is ${scale}; below ${config.weightEps} it would not be kept`,
    );
  return masterWeightsOf({ codes, scale });
}

/**
 * A GGUF file as a model folder that eval, generate and train open: float32 master weights, config, tokenizer, and the
 * chat template where the file has one. Written whole or not at all.
 *
 * @throws as loadGguf; FileError where the folder is there and holds other things than a model
 */
export async function importGguf(
  path: string,
  folder: string,
  runtime: Runtime,
  options: GgufOptions = {},
): Promise<Pick<LoadedGguf, "config" | "tokenizer" | "chatTemplate" | "notes"> & { parameters: number }> {
  const { model, config, tokenizer, chatTemplate, endTokens, notes } = await loadGguf(path, runtime, options);
  try {
    await writeFolderAtomically(
      folder,
      async (temporary) => {
        await writeModelFiles(temporary, model, tokenizer, { endTokens });
        if (chatTemplate !== null) writeAtomically(joinPath(temporary, "chat_template.jinja"), chatTemplate);
      },
      { mayReplace: holdsModelAlone },
    );
    const parameters = model.parameters.reduce((sum, { size }) => sum + size, 0);
    return { config, tokenizer, chatTemplate, notes, parameters };
  } finally {
    model.dispose();
  }
}
