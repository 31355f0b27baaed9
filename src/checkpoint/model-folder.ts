/**
 * A model as a folder in Hugging Face's shape: model.safetensors (float32 master weights under Hugging Face's names, a
 * tied head stored once), config.json, tokenizer.json, tokenizer_config.json, generation_config.json. Read here for
 * evaluation, generation and inspection; training-state.ts adds what training needs to go on.
 */
import { type SafetensorsFile, writeSafetensors } from "../formats/safetensors.ts";
import { hasSafetensors } from "../formats/safetensors-shards.ts";
import { type ModelConfig, Transformer } from "../model/index.ts";
import { FileError, FormatError, UnsupportedError, UsageError } from "../platform/errors.ts";
import { describePath, exists, joinPath, listFolder, sha256Of, writeAtomically } from "../platform/files.ts";
import type { Runtime } from "../tensor/index.ts";
import { formatTokenizerConfig, formatTokenizerJson, loadTokenizer, type Tokenizer } from "../tokenizer/index.ts";
import { checkConfigSize } from "./config-check.ts";
import { fromHuggingFaceConfig, toGenerationConfig, toHuggingFaceConfig } from "./hf-config.ts";
import { openWeights, type OpenWeightsOptions } from "./hf-weights.ts";
import { configFile, generationFile, jsonText, readJson } from "./json-file.ts";
import { besideTokenizer, tokenizerTexts } from "./tokenizer-files.ts";

export { configFile, jsonText, readJson } from "./json-file.ts";

const modelFile = "model.safetensors";
const tokenizerFile = "tokenizer.json";
const tokenizerConfigFile = "tokenizer_config.json";

export const modelFiles = [
  modelFile,
  configFile,
  tokenizerFile,
  tokenizerConfigFile,
  generationFile,
  ...besideTokenizer,
];

/** Whether a model's files are all that a folder holds: then an import may put another model in its place. */
export const holdsModelAlone = (folder: string): boolean =>
  listFolder(folder).every((name) => modelFiles.includes(name));

export interface ModelFilesOptions {
  /** The folder that the model came from: what its tokenizer's files say beyond ours, such as a chat template, is kept. */
  source?: string;
  /** Every token that ends a text or an answer, where there are more than the tokenizer's own. */
  endTokens?: readonly number[];
}

/**
 * Writes the model's files into an existing folder (the caller makes the folder whole: see writeFolderAtomically).
 *
 * @returns SHA-256 of each file
 */
export async function writeModelFiles(
  folder: string,
  model: Transformer,
  tokenizer: Tokenizer | null,
  { source, endTokens }: ModelFilesOptions = {},
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
    [generationFile]: jsonText(toGenerationConfig(model.config, roles, endTokens)),
  };
  if (tokenizer) {
    texts[tokenizerFile] = formatTokenizerJson(tokenizer.toJson());
    if (source === undefined) texts[tokenizerConfigFile] = formatTokenizerConfig(tokenizer);
    else Object.assign(texts, tokenizerTexts(tokenizer, source));
  }
  for (const [name, text] of Object.entries(texts)) {
    writeAtomically(joinPath(folder, name), text);
    hashes[name] = sha256Of(text);
  }
  return hashes;
}

/** The config of the model in a folder. @throws FileError, FormatError, UnsupportedError */
export function readModelConfig(folder: string): ModelConfig {
  const path = joinPath(folder, configFile);
  const config = fromHuggingFaceConfig(readJson(path), path);
  if (hasSafetensors(folder)) checkConfigSize(config, folder, path);
  return config;
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
  const model = new Transformer(runtime, config, null);
  try {
    await restoreWeights(folder, model);
    return { model, config, tokenizer };
  } catch (error) {
    model.dispose();
    throw error;
  }
}

/**
 * Fills a model with the weights of a folder. As the start of a run, what the folder's quantizers did not learn begins by the
 * weights.
 *
 * @throws FormatError for a tensor that is missing, of another shape, or of no parameter of this model
 */
export async function restoreWeights(
  folder: string,
  model: Transformer,
  options: OpenWeightsOptions = {},
): Promise<void> {
  const { runtime, parameters, config } = model;
  const weights = await openWeights(folder, config, parameters, options);
  try {
    for (const parameter of parameters) {
      if (weights.missing.has(parameter.name)) continue;
      runtime.backend.upload(parameter.tensor.buffer, await weights.read(parameter));
      parameter.changed();
    }
  } finally {
    weights.close();
  }
  for (const layer of model.linearLayers) {
    layer.forgetQuantized();
    await layer.initializeLearned(runtime, (name) => weights.missing.has(name));
  }
}

/** @throws FormatError unless the file holds exactly the tensors wanted */
export function checkTensors(
  file: Pick<SafetensorsFile, "path" | "tensors">,
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
  const stranger = [...file.tensors.keys()].find((name) => !known.has(name));
  if (stranger !== undefined)
    throw new FormatError(`${file.path}: holds tensor ${stranger}, which ${what} has not; is it of another model?`);
}

/** @throws FileError, UsageError where `path` is no folder with a model in it */
export function checkModelFolder(path: string): void {
  if (!exists(path))
    throw new FileError(
      `${path}: no such file or folder; expected a run, a checkpoint, a model folder, or a .gguf or .bitnet file`,
    );
  if (describePath(path).kind !== "folder")
    throw new UsageError(`${path}: is a file; expected the checkpoint's folder, with ${modelFile} and ${configFile}`);
  const held = () => listFolder(path).slice(0, 5).join(", ") || "nothing";
  for (const [name, there] of [
    [modelFile, hasSafetensors(path)],
    [configFile, exists(joinPath(path, configFile))],
  ] as const)
    if (!there) {
      const pickled =
        name === modelFile && listFolder(path).find((one) => /^(pytorch_model.*\.bin|.*\.pt|.*\.pth)$/.test(one));
      if (pickled)
        throw new UnsupportedError(
          `${path}: its weights are in ${pickled}, a Python pickle, which is not read; convert it to safetensors (most models on the hub have them)`,
        );
      throw new FormatError(`${path}: is not a model's folder: has no ${name} (it holds ${held()})`);
    }
}
