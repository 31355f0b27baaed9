/** Checkpoints in a run's folder: their names, the newest that is whole, and why the newer ones are not. */
import { UsageError } from "../platform/errors.ts";
import { describePath, exists, joinPath, listFolder, recoverFolder } from "../platform/files.ts";
import { configFile, readJson } from "./json-file.ts";
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
 * The model folder that a path means: the folder itself; for a run's folder, its newest whole checkpoint; for a folder of
 * runs, that of the run begun last, of those with a checkpoint.
 *
 * @throws UsageError where a run has none
 */
export function resolveModelFolder(path: string): {
  folder: string;
  refused: FoundCheckpoint["refused"];
  /** What a user should know of how the path was read. */
  notes: string[];
} {
  recoverFolder(path);
  const inside = newestRunIn(path);
  if (inside) {
    const { folder, refused } = resolveModelFolder(inside.newest);
    return { folder, refused, notes: [`the newest of ${inside.count} in ${path}`] };
  }
  if (exists(joinPath(path, configFile)) || !exists(joinPath(path, checkpointsFolder)))
    return { folder: path, refused: [], notes: [] };
  const { checkpoint, refused } = findNewestCheckpoint(joinPath(path, checkpointsFolder));
  if (checkpoint) return { folder: checkpoint.path, refused, notes: [] };
  const why = refused.map(({ reason }) => reason).join("; ");
  throw new UsageError(`${path}: this run has no ${why ? "whole " : ""}checkpoint${why ? ` (${why})` : " yet"}`);
}

/** The run begun last of those in a folder that is no model and no run itself; null where it holds none with a checkpoint. */
function newestRunIn(parent: string): { newest: string; count: string } | null {
  if (!exists(parent) || describePath(parent).kind !== "folder") return null;
  const names = listFolder(parent);
  if (names.some((name) => name === configFile || name === checkpointsFolder || name.endsWith(".safetensors")))
    return null;
  const runs = names
    .map((name) => joinPath(parent, name))
    .filter((folder) => listCheckpoints(joinPath(folder, checkpointsFolder)).length > 0)
    .map((folder) => ({ folder, ...beginningOf(folder) }))
    .sort((a, b) => a.order - b.order || a.createdMs - b.createdMs);
  const last = runs.at(-1);
  return last ? { newest: last.folder, count: `${runs.length} ${runs.length === 1 ? "run" : "runs"}` } : null;
}

/** When a run began, by its meta.json (train/run-folder.ts); a damaged one counts as the oldest. */
function beginningOf(folder: string): { order: number; createdMs: number } {
  const numberOf = (value: unknown) => (typeof value === "number" && Number.isFinite(value) ? value : 0);
  try {
    const { order, createdMs } = readJson(joinPath(folder, "meta.json")) as Record<string, unknown>;
    return { order: numberOf(order), createdMs: numberOf(createdMs) };
  } catch {
    return { order: 0, createdMs: 0 };
  }
}
