/**
 * A run's folder: runs/<id>/{config.yaml, meta.json, tokenizer.json, metrics/, samples/, checkpoints/, report/}. It only
 * grows. config.yaml is the resolved config, meta.json says what the run was made of and on which machines.
 */
import { z } from "zod";
import {
  checkpointsFolder,
  type FoundCheckpoint,
  findNewestCheckpoint,
  verifyCheckpoint,
} from "../checkpoint/index.ts";
import { FileError, FormatError, UsageError } from "../platform/errors.ts";
import {
  absolutePath,
  baseName,
  exists,
  joinPath,
  listFolder,
  readWhole,
  removePath,
  makeFolder,
  writeAtomically,
} from "../platform/files.ts";
import { type FolderLock, takeLock } from "../platform/lock.ts";
import type { MachineFacts } from "../platform/system.ts";
import { parseConfig } from "./config.ts";
import type { RunConfigPatch } from "./config-schema.ts";

/** The paths in a run's folder. */
export function runPaths(folder: string) {
  const at = (...parts: string[]) => joinPath(folder, ...parts);
  return {
    folder,
    config: at("config.yaml"),
    meta: at("meta.json"),
    tokenizer: at("tokenizer.json"),
    metrics: at("metrics"),
    scalars: at("metrics", "scalars.jsonl"),
    samples: at("samples", "samples.jsonl"),
    checkpoints: at(checkpointsFolder),
    report: at("report"),
    lock: at("run.lock"),
  };
}

/** One process that worked on the run. */
export interface Session {
  startedMs: number;
  fromStep: number;
  backend: string;
  isa: string;
  threads: number;
  precision: string;
  machine: MachineFacts;
  version: string;
  commit: string | null;
}

/** What meta.json says. */
export interface RunMeta {
  format: "bitnet.ts run";
  version: 1;
  preset: string;
  createdMs: number;
  /** Runs in one folder are numbered as they begin: the newest is told by this, since a clock may jump. Absent in older runs. */
  order?: number;
  parameters: { total: number; ternary: number };
  derived: { steps: number; tokensPerStep: number; stepsPerEpoch: number; warmupSteps: number; microBatch: number };
  tokenizer: { name: string; vocabSize: number; hash: string };
  data: { identity: string; tokens: number; documents: number; validationTokens: number; validation: string };
  sessions: Session[];
}

const metaSchema = z.looseObject({
  format: z.literal("bitnet.ts run"),
  version: z.literal(1),
  preset: z.string(),
  createdMs: z.number(),
  order: z.int().min(0).optional(),
  sessions: z.array(
    z.looseObject({ isa: z.string(), threads: z.number(), precision: z.string(), backend: z.string() }),
  ),
});

/** meta.json of a run; null where there is none yet. @throws FormatError where it is damaged */
export function readMeta(folder: string): RunMeta | null {
  const { meta: path } = runPaths(folder);
  if (!exists(path)) return null;
  try {
    return metaSchema.parse(JSON.parse(new TextDecoder().decode(readWhole(path)))) as unknown as RunMeta;
  } catch (cause) {
    throw new FormatError(`${path}: is damaged (${(cause as Error).message.split("\n")[0]})`, { cause });
  }
}

export function writeMeta(folder: string, meta: RunMeta): void {
  writeAtomically(runPaths(folder).meta, `${JSON.stringify(meta, null, 2)}\n`);
}

/** The config that a run was started with. @throws FileError, UsageError */
export function readRunConfig(folder: string): RunConfigPatch {
  const { config: path } = runPaths(folder);
  return parseConfig(new TextDecoder().decode(readWhole(path, 2 ** 20)), path);
}

export const isRun = (folder: string): boolean => exists(runPaths(folder).config);

/** runs/tiny-bitnet-20260131-235959, in UTC; -2, -3, ... where it is taken. */
export function newRunFolder(parent: string, name: string, epochMs: number): string {
  const time = new Date(epochMs)
    .toISOString()
    .replace(/[-:]|\..*$/g, "")
    .replace("T", "-");
  const base = joinPath(parent, `${name}-${time}`);
  let folder = base;
  for (let n = 2; exists(folder); n++) folder = `${base}-${n}`;
  return folder;
}

/**
 * Makes the folder of a new run, before anything costly is done, so that a disk that refuses says so at once.
 *
 * @param claim locks the folder, once it is there
 * @returns undoes it, for a run that ends before its first step: what it wrote is removed, so that the next attempt finds the
 *   folder as this one did. Checkpoints stay, and what they need
 * @throws UsageError where there is something already; FileError where the disk refuses
 */
export function makeRunFolder(folder: string, claim: (folder: string) => void): () => void {
  const there = exists(folder);
  const refuseRun = () => {
    if (!isRun(folder)) return;
    const what = hasCheckpoints(folder)
      ? "holds a run already; go on with it"
      : "holds a run without a checkpoint; begin it again";
    throw new UsageError(`${folder}: ${what} by --resume ${folder}, or name another folder`);
  };
  // What a process killed while it began the run may leave.
  const begun = (name: string) => /^((meta|tokenizer)\.json|run\.lock|config\.yaml\.tmp-)/.test(name);
  refuseRun();
  if (there && !listFolder(folder).every(begun))
    throw new UsageError(`${folder}: is not empty; name another folder for the run`);
  makeFolder(folder);
  claim(folder);
  // Another process may have begun and ended one until then.
  refuseRun();
  return () => {
    if (hasCheckpoints(folder)) return;
    const { config, meta, tokenizer, metrics, samples, checkpoints } = runPaths(folder);
    for (const path of [config, meta, tokenizer, metrics, joinPath(samples, ".."), checkpoints])
      if (exists(path)) removePath(path);
    if (!there && listFolder(folder).every((name) => name.startsWith("run.lock"))) removePath(folder);
  };
}

const hasCheckpoints = (folder: string): boolean => {
  const { checkpoints } = runPaths(folder);
  return exists(checkpoints) && listFolder(checkpoints).length > 0;
};

/**
 * Takes a run's folder for this process, for as long as it trains there.
 *
 * @throws UsageError naming the process that is at work in it
 */
export const lockRun = (folder: string, onNote?: (text: string) => void): FolderLock =>
  takeLock(runPaths(folder).lock, `the run ${folder}`, onNote);

/** Where a run is to go on. */
export interface ResumePoint extends FoundCheckpoint {
  folder: string;
}

/**
 * What `--resume` means: "auto" is the run in `runFolder`, or else the newest run in `parent` (of this preset, if one is
 * named); a path is a checkpoint, or a run. null: there is nothing to go on from, and "auto" begins anew.
 *
 * @param options.claim told of the run's folder before its checkpoints are read: another process may add to them until then
 * @throws FormatError where a run has checkpoints but none is whole, or the one named is not; UsageError where a path
 *   names neither
 */
export function findResumePoint(
  resume: string,
  options: { runFolder?: string; parent: string; preset?: string; claim?: (folder: string) => void },
): ResumePoint | null {
  if (resume !== "auto" && !isRun(resume)) {
    const path = absolutePath(resume);
    const folder = absolutePath(joinPath(path, "..", ".."));
    if (!exists(path) || !/^step_\d+$/.test(baseName(path)) || !isRun(folder))
      throw new UsageError(
        `--resume ${resume}: is neither a run's folder (with config.yaml) nor a checkpoint in one (checkpoints/step_...)`,
      );
    options.claim?.(folder);
    return { folder, checkpoint: { path, state: verifyCheckpoint(path) }, refused: [] };
  }
  const folder = resume === "auto" ? (options.runFolder ?? newestRun(options.parent, options.preset)) : resume;
  if (!folder || !isRun(folder)) return null;
  options.claim?.(folder);
  const found = findNewestCheckpoint(runPaths(folder).checkpoints);
  if (!found.checkpoint && found.refused.length > 0)
    throw new FormatError(
      `${folder}: no checkpoint of this run is whole: ${found.refused.map(({ reason }) => reason).join("; ")}`,
    );
  return { folder, ...found };
}

/** The run in `parent` that was begun last: by its number; among older runs, which have none, by their clocks. */
function newestRun(parent: string, preset: string | undefined): string | undefined {
  if (!exists(parent)) return undefined;
  const runs = listFolder(parent).flatMap((name) => {
    const folder = joinPath(parent, name);
    const meta = isRun(folder) ? readMeta(folder) : null;
    return meta && (preset === undefined || meta.preset === preset) ? [{ folder, meta }] : [];
  });
  runs.sort((a, b) => (a.meta.order ?? 0) - (b.meta.order ?? 0) || a.meta.createdMs - b.meta.createdMs);
  return runs.at(-1)?.folder;
}

/** The number of a run that begins now, beside the others in its parent folder. Those that are damaged do not count. */
export function nextOrder(folder: string): number {
  let last = 0;
  const parent = joinPath(absolutePath(folder), "..");
  for (const name of listFolder(parent)) {
    try {
      last = Math.max(last, readMeta(joinPath(parent, name))?.order ?? 0);
    } catch (error) {
      if (!(error instanceof FormatError || error instanceof FileError)) throw error;
    }
  }
  return last + 1;
}
