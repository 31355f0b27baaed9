/** Models and training runs as folders (`bitnet.ts/checkpoint`): saved whole or not at all, checked when loaded. */
import { exists, joinPath } from "../platform/files.ts";
import type { Runtime } from "../tensor/index.ts";
import { resolveModelFolder } from "./find.ts";
import { checkModelFolder, type LoadedModel, loadModelFolder, readModelConfig } from "./model-folder.ts";
import { stateFile, verifyCheckpoint } from "./training-state.ts";

export {
  checkpointName,
  checkpointsFolder,
  type FoundCheckpoint,
  findNewestCheckpoint,
  listCheckpoints,
  resolveModelFolder,
} from "./find.ts";
export { fromHuggingFaceConfig, toHuggingFaceConfig } from "./hf-config.ts";
export { type LoadedModel, readModelConfig, readTokenizer, writeModelFiles } from "./model-folder.ts";
export {
  restoreCheckpoint,
  type SavedOptimizer,
  saveCheckpoint,
  type TrainerStateFile,
  verifyCheckpoint,
} from "./training-state.ts";

export interface OpenedModel extends LoadedModel {
  /** The folder that was read. */
  folder: string;
  /** Steps of training behind it; null for a model that came without that knowledge. */
  step: number | null;
  /** Newer checkpoints of the run that were not whole, and why. */
  refused: { path: string; reason: string }[];
}

/**
 * Opens a model to run it: a checkpoint, a run's folder (its newest whole checkpoint), or a model folder from elsewhere.
 * Where there are hashes, every file is checked first.
 *
 * @throws FileError, FormatError, UnsupportedError or UsageError, saying what is wrong where
 */
export async function loadModel(path: string, runtime: Runtime): Promise<OpenedModel> {
  const { folder, step, refused } = checkedFolder(path);
  return { ...(await loadModelFolder(folder, runtime)), folder, step, refused };
}

/** What a path's model is, without its weights: for `inspect`. @throws as loadModel */
export function describeModel(path: string): Pick<OpenedModel, "folder" | "step" | "refused" | "config"> {
  const found = checkedFolder(path);
  return { ...found, config: readModelConfig(found.folder) };
}

function checkedFolder(path: string): Pick<OpenedModel, "folder" | "step" | "refused"> {
  const { folder, refused } = resolveModelFolder(path);
  checkModelFolder(folder);
  const isCheckpoint = exists(joinPath(folder, stateFile)) || exists(joinPath(folder, "optimizer.safetensors"));
  return { folder, refused, step: isCheckpoint ? verifyCheckpoint(folder).step : null };
}
