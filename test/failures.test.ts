// Every write, flush, rename and removal of what a model, a checkpoint or a page is saved by, made to fail once: by a full disk,
// by a broken one, and by the end of the process (from there on nothing is written or removed). Oracle: the bytes of the
// earlier content and of the new one, each written without a failure. One of them stands after each, never neither.
import * as fs from "node:fs";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { saveCheckpoint } from "../src/checkpoint/index.ts";
import { saveModelFolder } from "../src/checkpoint/save-folder.ts";
import { saveCompact } from "../src/exchange/compact.ts";
import { saveOnnx } from "../src/exchange/onnx.ts";
import { recoverFolder, writeAtomically } from "../src/platform/files.ts";
import { createSmallEngine } from "./support/small-model.ts";
import { temporaryFolder } from "./support/temporary-folder.ts";

const calls = ["openSync", "writeSync", "fsyncSync", "renameSync", "rmSync", "mkdirSync"] as const;
vi.mock("node:fs", async (original) => {
  const actual = await original<typeof import("node:fs")>();
  const names = ["openSync", "writeSync", "fsyncSync", "renameSync", "rmSync", "mkdirSync"] as const;
  return { ...actual, ...Object.fromEntries(names.map((name) => [name, vi.fn(actual[name] as () => unknown)])) };
});
const actual = await vi.importActual<typeof import("node:fs")>("node:fs");

const mocked = new Map(Object.entries(fs));
const mockOf = (name: string) => vi.mocked(mocked.get(name) as (...args: unknown[]) => unknown);

/** Fails the n-th call (from 1) of any of these functions; a kill all that follow too. Returns how many there were. */
function failAt(n: number, how: "ENOSPC" | "EIO" | "kill"): () => number {
  let seen = 0;
  for (const name of calls)
    mockOf(name).mockImplementation((...args) => {
      if (++seen === n || (how === "kill" && seen > n))
        throw Object.assign(new Error(`${how}: injected, ${name}`), { code: how === "kill" ? "EIO" : how });
      // A flush that succeeds would only take time.
      return name === "fsyncSync" ? undefined : (actual[name] as (...args: unknown[]) => unknown)(...args);
    });
  return () => seen;
}
const heal = () => {
  for (const name of calls)
    mockOf(name).mockImplementation(name === "fsyncSync" ? () => undefined : (actual[name] as () => unknown));
};
const ownPid = process.pid;
const pidOf = (pid: number) => Object.defineProperty(process, "pid", { value: pid, configurable: true });
afterEach(() => {
  heal();
  pidOf(ownPid);
});

const small = { width: 8, hiddenWidth: 8, vocabSize: 12, contextLength: 8, heads: 1, kvHeads: 1 };
const models = [1, 2].map((seed) => createSmallEngine(small, seed).model);
const subjects: Record<string, (path: string, of: 0 | 1) => Promise<unknown> | unknown> = {
  "a checkpoint": (path, of) =>
    saveCheckpoint(path, {
      model: models[of],
      tokenizer: null,
      optimizer: { kind: "none", state: [] },
      step: of,
      training: { of },
    }),
  "a model's folder": (path, of) => saveModelFolder(path, models[of], null),
  "a compact file": (path, of) => saveCompact(path, models[of], null),
  "an ONNX file": (path, of) => saveOnnx(path, models[of], null),
  "an ONNX file with its weights beside it": (path, of) => saveOnnx(path, models[of], null, { externalData: true }),
  "a page": (path, of) => writeAtomically(path, `report ${of}`.repeat(1000)),
};

/** What a reader of `path` finds: its bytes, and of ONNX those of the file that it names. */
function contentOf(path: string): string | null {
  if (!existsSync(path)) return null;
  if (statSync(path).isDirectory())
    return readdirSync(path)
      .map((name) => `${name}\n${readFileSync(join(path, name), "latin1")}`)
      .join("\n");
  const text = readFileSync(path, "latin1");
  const data = /target\.[0-9a-f]{16}\.data/.exec(text)?.[0];
  const beside = data === undefined ? "" : join(path, "..", data);
  return text + (data === undefined ? "" : existsSync(beside) ? readFileSync(beside, "latin1") : "MISSING");
}

test.for(Object.keys(subjects))("%s is the earlier one or the new one after every failure", async (name) => {
  const write = subjects[name];
  const parent = temporaryFolder();
  const folder = join(parent, "work");
  const path = join(folder, "target");
  let next = "";
  const begin = async () => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder);
    await write(path, 0);
  };
  await begin();
  const old = contentOf(path);
  const count = failAt(0, "EIO");
  await write(path, 1);
  heal();
  const fresh = contentOf(path);
  const points = count();
  expect(points).toBeGreaterThan(3);
  expect(fresh).not.toBe(old);
  for (const how of ["ENOSPC", "EIO", "kill"] as const)
    for (let n = 1; n <= points; n += how === "EIO" ? 4 : 1) {
      await begin();
      next = join(parent, `${how}-${n}`);
      // A process of this number is gone when the next one looks.
      if (how === "kill") pidOf(4194305);
      failAt(n, how);
      const error = await Promise.resolve()
        .then(() => write(path, 1))
        .then(
          () => null,
          (thrown) => thrown as Error,
        );
      heal();
      pidOf(ownPid);
      const where = `${how} at call ${n} of ${points}: ${error?.message}`;
      recoverFolder(path);
      expect([old, fresh].includes(contentOf(path)!), where).toBe(true);
      if (error === null) expect(contentOf(path), where).toBe(fresh);
      // The next write is as if nothing had been. Another folder's name, as to another process: one process lists each once.
      rmSync(next, { recursive: true, force: true });
      actual.renameSync(folder, next);
      await write(join(next, "target"), 1);
      expect(contentOf(join(next, "target")), where).toBe(fresh);
      if (how === "kill")
        expect(
          readdirSync(next).filter((one) => one.includes(".tmp-") || one.includes(".replaced-")),
          where,
        ).toEqual([]);
    }
});
