// A real process, really killed (SIGKILL), in a study: amid a trial's line, amid study.json, amid a trial's checkpoint and between
// a trial's line and the end of its tidying. Oracle: the same study, left alone.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readStudy, studyPaths } from "../src/study/folder.ts";
import { type Moment, startBitnet } from "./support/signalled.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-study-kill-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const text = join(folder, "text.txt");
const words = ["one", "two", "three", "four", "five"];
writeFileSync(text, Array.from({ length: 900 }, (_, i) => words[(i * i + (i >> 3)) % 5]).join(" "));
const file = join(folder, "study.yaml");
writeFileSync(
  file,
  `base:
  preset: tiny
  model: { vocabSize: 16, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 32, contextLength: 16 }
  tokenizer: { kind: characters }
  data: { validFraction: 0.1 }
  train: { batch: 4, sequence: 16 }
  evaluation: { every: 4, batches: 1 }
  checkpoints: { every: 3 }
baseline: ternary
steps: 12
seeds: [1]
arms:
  ternary:
  full: { model: { variant: full } }
`,
);

const start = (study: string, moment?: Moment) =>
  startBitnet(
    [
      ...["study", file, "--data", text, "-o", study, "--backend.name", "reference"],
      ...["--data.cacheDir", join(folder, "cache")],
    ],
    moment,
  );
const results = (study: string) =>
  readStudy(study).trials.map(({ arm, seed, final, best, curve, tokens }) => ({
    arm,
    seed,
    final,
    best,
    curve,
    tokens,
  }));

test("a study that is killed goes on with the results of one that was not", async () => {
  const left = join(folder, "left-alone");
  const whole = start(left);
  expect(await whole.ended, whole.said.join("")).toBe(0);

  const study = join(folder, "killed");
  const moments: Moment[] = [
    { call: "writeSync", path: "study.json", count: 1, torn: true },
    // Of the first trial: between two of its checkpoints, and amid one.
    { call: "writeSync", path: "scalars.jsonl", count: 4 },
    { call: "writeSync", path: "/checkpoints/", count: 3, torn: true },
    // It is done, and its line half written.
    { call: "writeSync", path: "trials.jsonl", count: 1, torn: true },
    { call: "renameSync", path: "/full/seed-1/checkpoints/step_", count: 2 },
  ];
  for (const moment of moments) {
    const killed = start(study, moment);
    expect(await killed.ended, `${JSON.stringify(moment)}: ${killed.said.join("")}`).toBe("SIGKILL");
  }
  const last = start(study);
  expect(await last.ended, last.said.join("")).toBe(0);
  expect(results(study)).toEqual(results(left));
  expect(readStudy(study).unfinishedLines).toBe(1);
  for (const arm of ["ternary", "full"])
    expect(existsSync(join(studyPaths(study).run(arm, 1), "checkpoints")), arm).toBe(false);
});

// Windows has no SIGINT to send: there it would be a kill.
test.skipIf(process.platform === "win32")("Ctrl-C saves the trial under way and exits with 130", async () => {
  const study = join(folder, "interrupted");
  const { ended, said } = start(study, { call: "writeSync", path: "scalars.jsonl", count: 2, signal: "SIGINT" });
  expect(await ended, said.join("")).toBe(130);
  expect(said.join("")).toContain("interrupted: 0 trials ended now, 0 of 2 in all; 2 left");
  expect(existsSync(join(studyPaths(study).run("ternary", 1), "checkpoints"))).toBe(true);
});
