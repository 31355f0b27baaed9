/**
 * The runs in a folder, as their files tell: how far each came, its best validation loss, its size on disk. Reads only; a run
 * that cannot be read is listed with the reason. Called by `bitnet runs` (cli/runs.ts).
 */
import { listCheckpoints } from "../checkpoint/index.ts";
import { FileError, FormatError, UsageError } from "../platform/errors.ts";
import { describePath, exists, joinPath, listFolder } from "../platform/files.ts";
import { isLocked } from "../platform/lock.ts";
import { isRun, readMeta, runPaths } from "./run-folder.ts";
import { readScalars } from "./scalars.ts";

/**
 * running: a process trains it now; finished: all its steps are done; stopped: it ended or was ended before, and can be
 * resumed (so is a run that stopped early); damaged: its files cannot be read.
 */
export type RunState = "running" | "finished" | "stopped" | "damaged";

export interface ListedRun {
  folder: string;
  state: RunState;
  /** Null where the run has no meta.json yet. */
  preset: string | null;
  createdMs: number | null;
  /** Steps done, and in all. */
  step: number;
  steps: number | null;
  /** The lowest val_loss, in nats a token, and its step; null without validation. */
  best: { loss: number; step: number } | null;
  /** Steps of the checkpoints that are there. */
  checkpoints: number[];
  sizeBytes: number;
  /** Why it is damaged. */
  reason: string | null;
}

/**
 * The runs in `parent`, in the order in which they were begun.
 *
 * @throws UsageError where there is no such folder
 */
export function listRuns(parent: string): ListedRun[] {
  if (!exists(parent) || describePath(parent).kind !== "folder")
    throw new UsageError(`${parent}: no such folder; name the folder that holds the runs`);
  const found = listFolder(parent)
    .map((name) => joinPath(parent, name))
    .filter(isRun)
    .map((folder) => ({ ...readRun(folder), order: orderOf(folder) }));
  found.sort((a, b) => a.order - b.order || (a.createdMs ?? 0) - (b.createdMs ?? 0));
  return found.map(({ order: _, ...run }) => run);
}

function orderOf(folder: string): number {
  try {
    return readMeta(folder)?.order ?? 0;
  } catch (error) {
    if (error instanceof FormatError || error instanceof FileError) return 0;
    throw error;
  }
}

function readRun(folder: string): ListedRun {
  const paths = runPaths(folder);
  const checkpoints = listCheckpoints(paths.checkpoints).map(({ step }) => step);
  const run = { folder, checkpoints, sizeBytes: sizeOf(folder) };
  try {
    const meta = readMeta(folder);
    const lines = exists(paths.scalars) ? readScalars(paths.scalars) : [];
    const step = lines.reduce((last, line) => Math.max(last, line.step), checkpoints.at(-1) ?? 0);
    const steps = meta?.derived?.steps ?? null;
    let best: ListedRun["best"] = null;
    for (const { step, val_loss: loss } of lines)
      if (typeof loss === "number" && loss < (best?.loss ?? Number.POSITIVE_INFINITY)) best = { loss, step };
    const state = isLocked(paths.lock) ? "running" : steps !== null && step >= steps ? "finished" : "stopped";
    return {
      ...run,
      state,
      preset: meta?.preset ?? null,
      createdMs: meta?.createdMs ?? null,
      step,
      steps,
      best,
      reason: null,
    };
  } catch (error) {
    if (!(error instanceof FormatError || error instanceof FileError)) throw error;
    const unknown = { preset: null, createdMs: null, steps: null, best: null };
    return { ...run, ...unknown, state: "damaged", step: checkpoints.at(-1) ?? 0, reason: error.message };
  }
}

function sizeOf(path: string): number {
  const { kind, sizeBytes } = describePath(path);
  return kind === "file" ? sizeBytes : listFolder(path).reduce((sum, name) => sum + sizeOf(joinPath(path, name)), 0);
}
