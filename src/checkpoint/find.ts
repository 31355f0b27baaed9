/** Checkpoints in a run's folder: their names, the newest that is whole, and why the newer ones are not. */
import { UsageError } from "../platform/errors.ts";
import { exists, joinPath, listFolder, recoverFolder } from "../platform/files.ts";
import { configFile } from "./model-folder.ts";
import { type TrainerStateFile, verifyCheckpoint } from "./training-state.ts";

/** Where a run keeps them, in its folder. */
export const checkpointsFolder = "checkpoints";

/** step_000500: six digits at least, so that names sort as numbers up to a million steps. */
export const checkpointName = (step: number): string => `step_${String(step).padStart(6, "0")}`;

/** Folders of the name that a checkpoint has, by step. Whether they are whole is another question. */
export function listCheckpoints(folder: string): { step: number; path: string }[] {
  if (!exists(folder)) return [];
  for (const name of listFolder(folder)) {
    const replaced = /^(step_\d{6,15})\.replaced-/.exec(name);
    if (replaced) recoverFolder(joinPath(folder, replaced[1]));
  }
  return listFolder(folder)
    .flatMap((name) => {
      const match = /^step_(\d{6,15})$/.exec(name);
      return match ? [{ step: Number(match[1]), path: joinPath(folder, name) }] : [];
    })
    .sort((a, b) => a.step - b.step);
}

export interface FoundCheckpoint {
  /** The newest whole one; null where there is none. */
  checkpoint: { path: string; state: TrainerStateFile } | null;
  /** Newer ones that cannot be used, and why. */
  refused: { path: string; reason: string }[];
}

/** The newest checkpoint of a folder that stands every check. */
export function findNewestCheckpoint(folder: string): FoundCheckpoint {
  const refused: FoundCheckpoint["refused"] = [];
  for (const { path } of listCheckpoints(folder).reverse()) {
    try {
      return { checkpoint: { path, state: verifyCheckpoint(path) }, refused };
    } catch (error) {
      refused.push({ path, reason: (error as Error).message });
    }
  }
  return { checkpoint: null, refused };
}

/**
 * The model folder that a path means: the folder itself, or, for a run's folder, its newest whole checkpoint.
 *
 * @throws UsageError where a run has none
 */
export function resolveModelFolder(path: string): { folder: string; refused: FoundCheckpoint["refused"] } {
  recoverFolder(path);
  if (exists(joinPath(path, configFile)) || !exists(joinPath(path, checkpointsFolder)))
    return { folder: path, refused: [] };
  const { checkpoint, refused } = findNewestCheckpoint(joinPath(path, checkpointsFolder));
  if (checkpoint) return { folder: checkpoint.path, refused };
  const why = refused.map(({ reason }) => reason).join("; ");
  throw new UsageError(`${path}: this run has no ${why ? "whole " : ""}checkpoint${why ? ` (${why})` : " yet"}`);
}
