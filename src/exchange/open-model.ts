/**
 * Opens a model of any form that is read here: a checkpoint, a run's folder, a model folder from elsewhere, a name on the
 * hub, a compact file, a GGUF file. Called by whatever takes a model's name or path.
 */
import { resolveModelFolder } from "../checkpoint/find.ts";
import { checkModelFolder, type LoadedModel, loadModelFolder, readModelConfig } from "../checkpoint/model-folder.ts";
import { stateFile, verifyCheckpoint } from "../checkpoint/training-state.ts";
import { isCompactFile } from "../formats/compact/index.ts";
import { type QuantizationConfig, requantize, withQuantization } from "../model/index.ts";
import { UsageError } from "../platform/errors.ts";
import { describePath, exists, joinPath } from "../platform/files.ts";
import type { Runtime } from "../tensor/index.ts";
import { loadCompact, openCompactModel } from "./compact.ts";
import { describeGguf, type GgufOptions, isGgufFile, loadGguf } from "./gguf/index.ts";
import { downloadModel, type HubOptions, isHubName } from "./hub.ts";

export interface OpenedModel extends LoadedModel {
  /** The folder that was read, or the file: compact, or GGUF. */
  folder: string;
  /** Steps of training behind it; null for a model that came without that knowledge. */
  step: number | null;
  /** Newer checkpoints of the run that were not whole, and why. */
  refused: { path: string; reason: string }[];
  /** The chat template (Jinja) of a file that holds one in itself, null where it has none; absent: look beside the model. */
  chatTemplate?: string | null;
  /** Tokens that a file names as ends of a text or an answer; absent: look beside the model. */
  endTokens?: readonly number[];
  /** What a user should know of how the model was read. */
  notes?: readonly string[];
}

export interface LoadOptions extends HubOptions {
  /** Other quantizers, laid over the model's own (an overrides file: overrides-file.ts). */
  overrides?: QuantizationConfig;
  /** Of a GGUF file: how its byte-level BPE cuts text, by a name of tokenizer.ggml.pre. */
  pre?: string;
}

/**
 * Opens a model to run it: a checkpoint, a run's folder (its newest whole checkpoint), a model folder from elsewhere, a
 * compact file, or a GGUF file.
 * Where there are hashes, every file is checked first.
 *
 * @throws FileError, FormatError, UnsupportedError or UsageError, saying what is wrong where
 */
export async function loadModel(nameOrPath: string, runtime: Runtime, options: LoadOptions = {}): Promise<OpenedModel> {
  const { pre, overrides, ...hub } = options;
  const path = await localModel(nameOrPath, hub);
  const opened = await openAsItIs(path, runtime, pre);
  return overrides ? withOverrides(opened, overrides) : opened;
}

/** The model with other quantizers, in place of the one opened. */
async function withOverrides(opened: OpenedModel, overrides: QuantizationConfig): Promise<OpenedModel> {
  const { model } = opened;
  try {
    const config = withQuantization(model.config, overrides);
    return { ...opened, model: await requantize(model, config), config };
  } finally {
    model.dispose();
  }
}

async function openAsItIs(path: string, runtime: Runtime, pre: string | undefined): Promise<OpenedModel> {
  if (isGgufPath(path)) return { ...(await loadGguf(path, runtime, { pre })), folder: path, step: null, refused: [] };
  refusePre(path, pre);
  if (isCompactPath(path)) return { ...(await loadCompact(path, runtime)), folder: path, refused: [] };
  const { folder, step, refused, notes } = checkedFolder(path);
  return { ...(await loadModelFolder(folder, runtime)), folder, step, refused, notes };
}

/**
 * The path that a model is at: the path itself, or the folder of a name on the hub, downloaded if need be.
 *
 * @throws as downloadModel
 */
export async function localModel(nameOrPath: string, options: HubOptions = {}): Promise<string> {
  return isHubName(nameOrPath) ? downloadModel(nameOrPath, options) : nameOrPath;
}

/** A file that begins as a compact model does. Anything else is the other loaders' to judge. */
export const isCompactPath = (path: string): boolean =>
  exists(path) && describePath(path).kind === "file" && isCompactFile(path);

/** A file that begins as a GGUF file does, or is called one: then what is wrong with it is told. */
export const isGgufPath = (path: string): boolean =>
  exists(path) && describePath(path).kind === "file" && (/\.gguf$/i.test(path) || isGgufFile(path));

/** @throws UsageError for a `pre` that the model has no use for */
export function refusePre(path: string, pre: string | undefined): void {
  if (pre !== undefined)
    throw new UsageError(`${path}: --pre is of GGUF files; this is another kind of model, whose tokenizer says it all`);
}

/** What a path's model is, without its weights: for `inspect`. @throws as loadModel */
export function describeModel(
  path: string,
  { pre }: GgufOptions = {},
): Pick<OpenedModel, "folder" | "step" | "refused" | "config"> & {
  /** Kind of the optimiser that trained it; null where that is not known. */
  optimizer: string | null;
  /** What a user should know of how the model is read, and a file's keys that have no effect, each with its reason. */
  notes: string[];
  ignored: string[];
} {
  if (isGgufPath(path))
    return { folder: path, step: null, refused: [], optimizer: null, ...describeGguf(path, { pre }) };
  refusePre(path, pre);
  if (isCompactPath(path)) {
    const { file, config, step } = openCompactModel(path);
    file.close();
    return { folder: path, step, refused: [], config, optimizer: null, notes: [], ignored: [] };
  }
  const found = checkedFolder(path);
  return { ...found, config: readModelConfig(found.folder), ignored: [] };
}

function checkedFolder(
  path: string,
): Pick<OpenedModel, "folder" | "step" | "refused"> & { notes: string[]; optimizer: string | null } {
  const { folder, refused, notes } = resolveModelFolder(path);
  checkModelFolder(folder);
  const isCheckpoint = exists(joinPath(folder, stateFile)) || exists(joinPath(folder, "optimizer.safetensors"));
  const { step, optimizer } = isCheckpoint ? verifyCheckpoint(folder) : { step: null, optimizer: null };
  return { folder, refused, notes, step, optimizer };
}
