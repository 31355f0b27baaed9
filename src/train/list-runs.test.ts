// Oracle: run folders written by hand, with what their files say.
import { hostname } from "node:os";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { resolveModelFolder } from "../checkpoint/index.ts";
import { UsageError } from "../platform/errors.ts";
import { listRuns } from "./list-runs.ts";

function writeRun(parent: string, name: string, order: number, steps: number, done: number): string {
  const folder = join(parent, name);
  mkdirSync(join(folder, "metrics"), { recursive: true });
  writeFileSync(join(folder, "config.yaml"), "preset: tiny\n");
  const meta = {
    format: "bitnet.ts run",
    version: 1,
    preset: "tiny",
    createdMs: 5,
    order,
    sessions: [],
    derived: { steps },
  };
  writeFileSync(join(folder, "meta.json"), JSON.stringify(meta));
  const lines = [
    { step: 0, val_loss: 5 },
    { step: 1, loss: 4 },
    { step: 1, val_loss: 3.5 },
    { step: done, val_loss: 4 },
  ];
  writeFileSync(join(folder, "metrics", "scalars.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return folder;
}

test("runs come in the order in which they were begun, with state, steps, best loss and size", () => {
  const parent = temporaryFolder();
  const stopped = writeRun(parent, "b", 2, 10, 4);
  const finished = writeRun(parent, "c", 1, 10, 10);
  const running = writeRun(parent, "a", 3, 10, 2);
  const owner = { host: hostname(), pid: process.pid, since: "now", began: null };
  writeFileSync(join(running, "run.lock"), JSON.stringify(owner));
  mkdirSync(join(parent, "cache"));
  const runs = listRuns(parent);
  expect(runs.map(({ folder, state, step }) => ({ folder, state, step }))).toEqual([
    { folder: finished, state: "finished", step: 10 },
    { folder: stopped, state: "stopped", step: 4 },
    { folder: running, state: "running", step: 2 },
  ]);
  expect(runs[1]).toMatchObject({
    preset: "tiny",
    steps: 10,
    best: { loss: 3.5, step: 1 },
    checkpoints: [],
    reason: null,
  });
  expect(runs[1].sizeBytes).toBeGreaterThan(150);
});

test("a damaged run is listed with the reason; a lock that a dead process left does not count", () => {
  const parent = temporaryFolder();
  writeFileSync(join(writeRun(parent, "a", 1, 10, 2), "meta.json"), "{");
  const left = writeRun(parent, "b", 2, 10, 2);
  writeFileSync(join(left, "run.lock"), JSON.stringify({ host: hostname(), pid: 2 ** 30, since: "then", began: null }));
  const runs = listRuns(parent);
  expect(runs[0]).toMatchObject({ state: "damaged", reason: expect.stringContaining("meta.json: is damaged") });
  expect(runs[1].state).toBe("stopped");
});

test("a folder that is not there is refused", () => {
  expect(() => listRuns(join(temporaryFolder(), "no"))).toThrow(UsageError);
});

test("as a model, a folder of runs without checkpoints stays what it is", () => {
  const parent = temporaryFolder();
  writeRun(parent, "a", 1, 10, 2);
  expect(resolveModelFolder(parent)).toEqual({ folder: parent, refused: [], notes: [] });
});
