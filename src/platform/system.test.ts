// Oracle: what Node and the package say of themselves; the file as it lies on the disk.
import { readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { openAppend } from "./append-file.ts";
import { FileError } from "./errors.ts";
import { describeMachine, packageVersion, peakResidentBytes, residentBytes, systemClock } from "./system.ts";

test("the machine, the package and memory are described", () => {
  expect(describeMachine()).toMatchObject({ node: process.version, processors: expect.any(Number) });
  const { version, commit } = packageVersion();
  expect(version).toMatch(/^\d+\.\d+\.\d+/);
  if (commit !== null) expect(commit).toMatch(/^[0-9a-f]{40}$/);
  expect(residentBytes()).toBeGreaterThan(1e7);
  expect(peakResidentBytes()).toBeGreaterThanOrEqual(residentBytes() / 2);
  expect(systemClock.monotonicMs()).toBeLessThanOrEqual(systemClock.monotonicMs());
  expect(systemClock.epochMs()).toBeGreaterThan(1.7e12);
});

test("a file is appended to, across openings, and made with its folder", () => {
  const path = join(temporaryFolder(), "a", "b.log");
  const first = openAppend(path, { lines: false });
  expect(first.sizeBytes).toBe(0);
  first.append("one ");
  first.append(new Uint8Array([0x32]));
  first.sync();
  first.close();
  first.close();
  const second = openAppend(path, { lines: false });
  expect(second.sizeBytes).toBe(5);
  second.append(" three");
  second.close();
  expect(readFileSync(path, "utf8")).toBe("one 2 three");
});

test("a path that cannot be written, and a disk that is full, are FileErrors that name it", ({ skip }) => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "file"), "");
  expect(() => openAppend(join(folder, "file", "x"), { lines: true })).toThrow(FileError);
  if (process.platform !== "linux") skip("/dev/full is Linux's");
  const full = join(folder, "full");
  symlinkSync("/dev/full", full);
  const file = openAppend(full, { lines: false });
  expect(() => file.append("x")).toThrow(/full: cannot write: the disk is full/);
  file.close();
});
