// Oracle: the system's own list of processes (a child that runs, one that has ended) and files written as a lock says.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { UsageError } from "./errors.ts";
import { takeLock } from "./lock.ts";

const lockOf = (folder: string) => join(folder, "run.lock");
const refused = (path: string) => {
  try {
    takeLock(path, "the run runs/a").release();
    return null;
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    return (error as Error).message;
  }
};

test("a second owner is refused in one line that names the first; after its release the lock is free", () => {
  const path = lockOf(temporaryFolder());
  const lock = takeLock(path, "the run runs/a");
  const { since } = JSON.parse(readFileSync(path, "utf8"));
  expect(refused(path)).toBe(
    `another process is at work in the run runs/a (process ${process.pid}, since ${since}); wait for it or end it`,
  );
  lock.release();
  lock.release();
  expect(existsSync(path)).toBe(false);
  expect(refused(path)).toBe(null);
});

test("the lock of a process that is gone is taken over with a note, and of one that runs is not, whatever its time says", () => {
  const folder = temporaryFolder();
  const path = lockOf(folder);
  const note = vi.fn();
  const { pid: gone } = spawnSync(process.execPath, ["-e", ""]);
  // A clock that jumped ahead, and one that fell back.
  for (const since of ["2099-01-01T00:00:00.000Z", "1970-01-01T00:00:00.000Z"]) {
    writeFileSync(path, JSON.stringify({ host: hostname(), pid: gone, since, began: null }));
    takeLock(path, "this run", note).release();
    expect(note).toHaveBeenLastCalledWith(`${path}: taken over from process ${gone}, which is gone`);
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
    writeFileSync(path, JSON.stringify({ host: hostname(), pid: child.pid, since, began: null }));
    expect(refused(path)).toContain(`process ${child.pid}, since ${since}`);
    child.kill("SIGKILL");
  }
  expect(note).toHaveBeenCalledTimes(2);
  expect(readdirSync(folder)).toEqual(["run.lock"]);
});

test.skipIf(process.platform !== "linux")(
  "a process that has the number of one that is gone does not hold its lock (skipped where the system does not tell)",
  () => {
    const path = lockOf(temporaryFolder());
    const since = "2026-01-01T00:00:00.000Z";
    writeFileSync(path, JSON.stringify({ host: hostname(), pid: process.pid, since, began: "another start 1" }));
    expect(refused(path)).toBe(null);
  },
);

test("the lock of another machine stands, and the refusal says what to do; one cut short is taken over", () => {
  const path = lockOf(temporaryFolder());
  const since = "2026-01-01T00:00:00.000Z";
  writeFileSync(path, JSON.stringify({ host: "elsewhere", pid: 4194305, since, began: null }));
  expect(refused(path)).toContain(
    `(process 4194305 on elsewhere, since ${since}); wait for it; if it is gone, remove ${path}`,
  );
  for (const text of ["", '{"host": "a']) {
    writeFileSync(path, text);
    expect(refused(path)).toBe(null);
  }
});

test("a lock that another process took meanwhile is not removed by who held it before", () => {
  const path = lockOf(temporaryFolder());
  const lock = takeLock(path, "this run");
  writeFileSync(path, "another's");
  lock.release();
  expect(readFileSync(path, "utf8")).toBe("another's");
});
