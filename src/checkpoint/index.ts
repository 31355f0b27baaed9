/**
 * Models and training runs as folders: saved whole or not at all, checked when loaded. `bitnet.ts/checkpoint` is this and
 * exchange/ (entry/checkpoint.ts).
 */
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
export { saveModelFolder } from "./save-folder.ts";
export {
  restoreCallbackTensors,
  restoreCheckpoint,
  type SavedOptimizer,
  saveCheckpoint,
  type TrainerStateFile,
  verifyCheckpoint,
} from "./training-state.ts";
