/**
 * Names of what is not finished, and what is done with it when its process is gone. files.ts and lock.ts write by these.
 *
 *   NAME.tmp-PID-N       a file or folder that is being written; worthless without its process
 *   NAME.replaced-PID-N  what NAME was, between the two renames that replace a folder; the only copy while NAME is missing
 *
 * A name is given by one rename, so it is its own journal: it is there or it is not, and is never cut short.
 */
import * as fs from "node:fs";
import * as nodePath from "node:path";

let temporaries = 0;
/** The resolved path, so that "folder/" is "folder". */
export const temporaryName = (path: string): string => `${nodePath.resolve(path)}.tmp-${process.pid}-${++temporaries}`;
const replacedName = (path: string): string => `${nodePath.resolve(path)}.replaced-${process.pid}-${++temporaries}`;

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Entries beside `path` named `path` plus this suffix, of processes that are gone. */
function leftBeside(path: string, suffix: "tmp" | "replaced"): string[] {
  const folder = nodePath.dirname(nodePath.resolve(path));
  const start = `${nodePath.basename(nodePath.resolve(path))}.${suffix}-`;
  return namesIn(folder)
    .filter((name) => name.startsWith(start) && isAbandoned(name.slice(start.length)))
    .sort()
    .map((name) => nodePath.join(folder, name));
}

/** None where it cannot be listed: what is asked of it next says why. */
function namesIn(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

const isAbandoned = (ending: string): boolean => {
  const pid = Number(/^(\d+)-\d+$/.exec(ending)?.[1]);
  return pid > 0 && pid !== process.pid && !isRunning(pid);
};

/**
 * Finishes what a killed process left of the replacement of `path`: where nothing has the name, the earlier content gets
 * it back; else that is removed. Harmless at any time: for whoever is about to open or write a folder.
 */
export function recoverReplaced(path: string): void {
  for (const left of leftBeside(path, "replaced"))
    if (fs.existsSync(path)) fs.rmSync(left, { recursive: true, force: true });
    else fs.renameSync(left, path);
}

/** Removes unfinished files and folders of this name that killed processes left; an only copy is put back first. */
export function sweepLeftovers(path: string): void {
  recoverReplaced(path);
  for (const left of leftBeside(path, "tmp")) fs.rmSync(left, { recursive: true, force: true });
}

/** A process lists each folder once: one of many thousand files would otherwise be listed as often. */
const leftInFolder = new Map<string, Map<string, string[]>>();

/** As sweepLeftovers, for a file: of what was in its folder when this process first wrote there. */
export function sweepFileLeftovers(path: string): void {
  const folder = nodePath.dirname(nodePath.resolve(path));
  let left = leftInFolder.get(folder);
  if (!left) {
    left = new Map();
    for (const name of namesIn(folder)) {
      const match = /^(.+)\.tmp-(\d+-\d+)$/.exec(name);
      if (match && isAbandoned(match[2])) left.set(match[1], [...(left.get(match[1]) ?? []), name]);
    }
    leftInFolder.set(folder, left);
  }
  const base = nodePath.basename(path);
  for (const name of left.get(base) ?? []) fs.rmSync(nodePath.join(folder, name), { recursive: true, force: true });
  left.delete(base);
}

/**
 * Gives the folder `from` the name `to`. What had that name steps aside and is removed afterwards; where the second rename
 * fails, it gets its name back. No system call of Node exchanges two folders, so there is a moment in which nothing has
 * the name; a process killed in it has left NAME.replaced-PID-N, which recoverReplaced puts back.
 */
export function putInPlace(from: string, to: string, flush: (folder: string) => void): void {
  const old = fs.existsSync(to) ? replacedName(to) : undefined;
  if (old) fs.renameSync(to, old);
  try {
    fs.renameSync(from, to);
  } catch (error) {
    if (old) fs.renameSync(old, to);
    throw error;
  }
  // Before the old one goes: without this a power failure could leave neither.
  flush(nodePath.dirname(nodePath.resolve(to)));
  if (old) fs.rmSync(old, { recursive: true, force: true });
}
