/**
 * One process at a time in a folder: a lock file that names its owner. A second process is refused in one line; a lock whose
 * process is gone is taken over.
 *
 * Whether the owner lives is asked of the system, by process id and, on Linux, by the moment the process began, counted
 * from the start of the machine: no clock that can be set decides. An owner on another machine cannot be asked, so its lock
 * stands until it is removed. train/run-folder.ts, corpus/prepare-shards.ts and
 * corpus/dedup/dedup.ts lock.
 */
import * as fs from "node:fs";
import { hostname } from "node:os";
import * as nodePath from "node:path";
import { FileError, UsageError } from "../errors.ts";
import { toFileError } from "../file-error.ts";
import { makeFolder } from "./files.ts";
import { isRunning, temporaryName } from "./leftovers.ts";

export interface FolderLock {
  /** Removes the lock. Harmless a second time. */
  release(): void;
}

/** Who holds a lock, as its file says. */
interface Owner {
  host: string;
  pid: number;
  /** For people: when it was taken, by that machine's clock. */
  since: string;
  /** When the process began: the machine's start and clock ticks since; null where the system does not tell. */
  began: string | null;
}

/** The start of the machine and of a process on it; null where the system does not tell, or there is no such process. */
function beginning(pid: number): string | null {
  try {
    const boot = fs.readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    // proc(5): field 22. The second, the program's name, is in parentheses and may hold spaces.
    return `${boot} ${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]}`;
  } catch {
    return null;
  }
}

/** Null for a file that names no owner: it was cut short by a power failure. */
function parseOwner(text: string): Owner | null {
  try {
    const { host, pid, since, began } = JSON.parse(text) as Partial<Owner>;
    if (typeof host !== "string" || !Number.isInteger(pid) || typeof since !== "string") return null;
    return { host, pid: pid!, since, began: typeof began === "string" ? began : null };
  } catch {
    return null;
  }
}

function isAlive({ host, pid, began }: Owner): boolean {
  if (host !== hostname()) return true;
  if (!isRunning(pid)) return false;
  const now = beginning(pid);
  return began === null || now === null || began === now;
}

/**
 * Takes the lock, or takes it over from a process that is gone.
 *
 * @param path   the lock's file; its folder exists
 * @param what   what is locked, for messages: "this run"
 * @param onNote hears that a lock was taken over
 * @throws UsageError naming the process that holds it
 */
export function takeLock(path: string, what: string, onNote: (text: string) => void = () => {}): FolderLock {
  const own = JSON.stringify({
    host: hostname(),
    pid: process.pid,
    since: new Date().toISOString(),
    began: beginning(process.pid),
  } satisfies Owner);
  try {
    // Each round either takes the lock, or takes away one whose owner is gone; another process may be as quick.
    for (let round = 0; round < 10; round++) {
      if (create(path, own)) return held(path, own);
      const text = read(path);
      if (text === null) continue;
      const owner = parseOwner(text);
      if (owner && isAlive(owner)) throw refusal(path, what, owner);
      if (takeAway(path, text))
        onNote(
          `${path}: taken over from ${owner ? `process ${owner.pid}, which is gone` : "a process that did not finish writing it"}`,
        );
    }
  } catch (cause) {
    throw toFileError("lock", path, cause);
  }
  throw new FileError(`${path}: cannot lock: other processes take it again and again; run it again later`);
}

/** Whether a process that lives holds the lock; nothing is changed. */
export function isLocked(path: string): boolean {
  const text = read(path);
  const owner = text === null ? null : parseOwner(text);
  return owner !== null && isAlive(owner);
}

function refusal(path: string, what: string, { host, pid, since }: Owner): UsageError {
  const here = host === hostname();
  const who = `process ${pid}${here ? "" : ` on ${host}`}, since ${since}`;
  const then = here
    ? "wait for it or end it"
    : `wait for it; if it is gone, remove ${path} (a process of another machine cannot be asked)`;
  return new UsageError(`another process is at work in ${what} (${who}); ${then}`);
}

/** Whether the lock is ours now. It appears whole: a link to a finished file fails where there is one already. */
function create(path: string, content: string): boolean {
  const temporary = temporaryName(path);
  fs.writeFileSync(temporary, content, { flag: "wx" });
  try {
    try {
      fs.linkSync(temporary, path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") throw error;
      // A file system without links.
      fs.copyFileSync(temporary, path, fs.constants.COPYFILE_EXCL);
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  } finally {
    fs.rmSync(temporary, { force: true });
  }
}

function read(path: string): string | null {
  try {
    return fs.readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

/** Removes a stale lock; false where another process was first, whose lock then stays. */
function takeAway(path: string, stale: string): boolean {
  const aside = temporaryName(path);
  try {
    fs.renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
  const moved = fs.readFileSync(aside, "utf8");
  if (moved === stale) {
    fs.rmSync(aside, { force: true });
    return true;
  }
  // Between our look and the rename another process took it over: it is that one's again.
  create(path, moved);
  fs.rmSync(aside, { force: true });
  return false;
}

function held(path: string, own: string): FolderLock {
  let open = true;
  const release = () => {
    if (!open) return;
    open = false;
    process.off("exit", release);
    // Somebody may have removed it, and another process taken it, or the folder may be gone with it.
    if (read(path) === own) fs.rmSync(path, { force: true });
  };
  process.on("exit", release);
  return { release };
}

/**
 * Locks folders that may not exist yet, or are replaced as one: by NAME.lock beside each. A work folder NAME.work belongs to
 * NAME, and has its lock.
 *
 * @throws UsageError naming the process that holds one; none is locked then
 */
export function lockFolders(folders: readonly string[], onNote?: (text: string) => void): FolderLock {
  const locks: FolderLock[] = [];
  const release = () => {
    for (const lock of locks) lock.release();
  };
  try {
    const names = folders.map((folder) => nodePath.resolve(folder).replace(/\.work$/, ""));
    // In one order everywhere, so that two processes with the same folders do not refuse each other.
    for (const name of [...new Set(names)].sort()) {
      makeFolder(nodePath.dirname(name));
      locks.push(takeLock(`${name}.lock`, name, onNote));
    }
    return { release };
  } catch (error) {
    release();
    throw error;
  }
}
