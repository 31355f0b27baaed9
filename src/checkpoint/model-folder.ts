/**
 * A model as a folder in Hugging Face's shape: model.safetensors (float32 master weights under Hugging Face's names, a
 * tied head stored once), config.json, tokenizer.json, tokenizer_config.json, generation_config.json. Read here for
 * evaluation, generation and inspection; training-state.ts adds what training needs to go on.
 */
import { readSafetensors, type SafetensorsFile, writeSafetensors } from "../formats/safetensors.ts";
import { type ModelConfig, Transformer } from "../model/index.ts";
import { FileError, FormatError, UsageError } from "../platform/errors.ts";
import { describePath, exists, joinPath, listFolder, readWhole, sha256Of, writeAtomically } from "../platform/files.ts";
import type { Parameter, Runtime } from "../tensor/index.ts";
import { formatTokenizerConfig, formatTokenizerJson, loadTokenizer, type Tokenizer } from "../tokenizer/index.ts";
import { fromHuggingFaceConfig, toGenerationConfig, toHuggingFaceConfig } from "./hf-config.ts";

export const modelFile = "model.safetensors";
export const configFile = "config.json";
const tokenizerFile = "tokenizer.json";
const tokenizerConfigFile = "tokenizer_config.json";
const generationFile = "generation_config.json";

export const modelFiles = [modelFile, configFile, tokenizerFile, tokenizerConfigFile, generationFile];

/** Config files have some kilobytes. */
const maxJsonBytes = 2 ** 24;

/**
 * Writes the model's files into an existing folder (the caller makes the folder whole: see writeFolderAtomically).
 *
 * @returns SHA-256 of each file
 */
export async function writeModelFiles(
  folder: string,
  model: Transformer,
  tokenizer: Tokenizer | null,
): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {};
  const { sha256 } = await writeSafetensors(
    joinPath(folder, modelFile),
    model.parameters.map(({ name, shape, tensor }) => ({
      name,
      dtype: "F32",
      shape,
      data: () => model.runtime.readFloats(tensor),
    })),
    // Hugging Face's loader wants to know which framework's layout this is.
    { format: "pt" },
  );
  hashes[modelFile] = sha256;
  const roles = { bos: tokenizer?.bos ?? null, eos: tokenizer?.eos ?? null };
  const texts: Record<string, string> = {
    [configFile]: jsonText(toHuggingFaceConfig(model.config, roles)),
    [generationFile]: jsonText(toGenerationConfig(model.config, roles)),
  };
  if (tokenizer) {
    texts[tokenizerFile] = formatTokenizerJson(tokenizer.toJson());
    texts[tokenizerConfigFile] = formatTokenizerConfig(tokenizer);
  }
  for (const [name, text] of Object.entries(texts)) {
    writeAtomically(joinPath(folder, name), text);
    hashes[name] = sha256Of(text);
  }
  return hashes;
}

export const jsonText = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** The JSON in a file of ours. @throws FileError, FormatError */
export function readJson(path: string): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(readWhole(path, maxJsonBytes)));
  } catch (cause) {
    if (cause instanceof SyntaxError || cause instanceof TypeError)
      throw new FormatError(`${path}: is not JSON (${cause.message}); is it cut short?`, { cause });
    throw cause;
  }
}

/** The config of the model in a folder. @throws FileError, FormatError, UnsupportedError */
export function readModelConfig(folder: string): ModelConfig {
  const path = joinPath(folder, configFile);
  return fromHuggingFaceConfig(readJson(path), path);
}

/** The tokenizer in a folder, null where there is none. @throws FormatError where it does not belong to the model */
export function readTokenizer(folder: string, config: ModelConfig): Tokenizer | null {
  if (!exists(joinPath(folder, tokenizerFile)) && !exists(joinPath(folder, "tokenizer.model"))) return null;
  const tokenizer = loadTokenizer(folder);
  if (tokenizer.vocabSize > config.vocabSize)
    throw new FormatError(
      `${folder}: the tokenizer has ${tokenizer.vocabSize} tokens, but the model's vocabulary is ${config.vocabSize}; they do not belong together`,
    );
  return tokenizer;
}

export interface LoadedModel {
  /** Owned by the caller: dispose of it. */
  model: Transformer;
  config: ModelConfig;
  tokenizer: Tokenizer | null;
}

/** Builds the model in a folder and fills it. Hashes are checked by `loadModel` in index.ts, not here. */
export async function loadModelFolder(folder: string, runtime: Runtime): Promise<LoadedModel> {
  const config = readModelConfig(folder);
  const tokenizer = readTokenizer(folder, config);
  const model = new Transformer(runtime, config, 0);
  try {
    await restoreWeights(folder, model);
    return { model, config, tokenizer };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * Fills a model with the weights of a folder.
 *
 * @throws FormatError for a tensor that is missing, of another shape, or of no parameter of this model
 */
export async function restoreWeights(folder: string, model: Transformer): Promise<void> {
  const file = await readSafetensors(joinPath(folder, modelFile));
  try {
    checkTensors(
      file,
      model.parameters.map(({ name, shape }) => ({ name, shape })),
      "the model",
    );
    for (const parameter of model.parameters) await fillParameter(file, parameter, model.runtime);
  } finally {
    file.close();
  }
  for (const layer of model.ternaryLayers) layer.forgetQuantized();
}

async function fillParameter(file: SafetensorsFile, parameter: Parameter, runtime: Runtime): Promise<void> {
  const values = await file.read(parameter.name);
  if (!(values instanceof Float32Array))
    throw new FormatError(`${file.path}: tensor ${parameter.name} holds integers; expected float weights`);
  runtime.backend.upload(parameter.tensor.buffer, values);
  parameter.changed();
}

/** Tables that old exporters put among the weights; they are computed. */
const isComputed = (name: string) => name.endsWith(".rotary_emb.inv_freq");

/** @throws FormatError unless the file holds exactly the tensors wanted */
export function checkTensors(
  file: SafetensorsFile,
  wanted: readonly { name: string; shape: readonly number[] }[],
  what: string,
): void {
  for (const { name, shape } of wanted) {
    const entry = file.tensors.get(name);
    if (!entry)
      throw new FormatError(`${file.path}: has no tensor ${name}, which ${what} has; is it of another model?`);
    if (entry.shape.join() !== shape.join())
      throw new FormatError(
        `${file.path}: tensor ${name} is [${entry.shape}]; ${what} wants [${shape}]; is it of another model?`,
      );
  }
  const known = new Set(wanted.map(({ name }) => name));
  const stranger = [...file.tensors.keys()].find((name) => !known.has(name) && !isComputed(name));
  if (stranger !== undefined)
    throw new FormatError(`${file.path}: holds tensor ${stranger}, which ${what} has not; is it of another model?`);
}

/** @throws FileError, UsageError where `path` is no folder with a model in it */
export function checkModelFolder(path: string): void {
  if (!exists(path)) throw new FileError(`${path}: no such file or folder; expected a checkpoint folder`);
  if (describePath(path).kind !== "folder")
    throw new UsageError(`${path}: is a file; expected the checkpoint's folder, with ${modelFile} and ${configFile}`);
  for (const name of [modelFile, configFile])
    if (!exists(joinPath(path, name))) {
      const held = listFolder(path).slice(0, 5).join(", ") || "nothing";
      throw new FormatError(`${path}: is not a model's folder: has no ${name} (it holds ${held})`);
    }
}
