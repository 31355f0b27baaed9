// Studies really run, on the reference backend. Oracle: `train` alone with the same config and seed, to the last bit; and a
// study left alone, for one that was stopped, aborted or cut short.
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { steppingClock } from "../../test/support/small-run.ts";
import { takeLock } from "../platform/lock.ts";
import { readScalars, train } from "../train/index.ts";
import { readStudy, studyPaths } from "./folder.ts";
import { studyResults } from "./results.ts";
import { runStudy, type StudyOptions } from "./run.ts";
import { parseStudy, resolveStudy, type StudyFile } from "./spec.ts";
import { summarizeStudy } from "./summary.ts";

const folder = mkdtempSync(join(tmpdir(), "bitnet-study-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const text = join(folder, "text.txt");
const words = ["one", "two", "three", "four", "five"];
writeFileSync(text, Array.from({ length: 900 }, (_, i) => words[(i * i + (i >> 3)) % 5]).join(" "));

const base = {
  preset: "tiny",
  model: { vocabSize: 16, width: 16, layers: 1, heads: 2, kvHeads: 1, hiddenWidth: 32, contextLength: 16 },
  tokenizer: { kind: "characters" },
  data: { files: [text], cacheDir: join(folder, "cache"), validFraction: 0.1 },
  train: { batch: 4, sequence: 16 },
  evaluation: { every: 3, batches: 1 },
  checkpoints: { every: 2 },
  backend: { name: "reference" },
};
const studyOf = (changes: Partial<StudyFile> = {}): StudyFile => ({
  name: "small",
  base,
  baseline: "ternary",
  steps: 6,
  seeds: [1, 2],
  arms: { ternary: null, faster: { optimizer: { learningRate: 5e-3 } }, full: { model: { variant: "full" } } },
  ...changes,
});
let made = 0;
const newFolder = () => join(folder, `study-${++made}`);
const run = (at: string, options: Partial<StudyOptions> = {}) => runStudy({ study: studyOf(), folder: at, ...options });
/** What must repeat: not times, and not how often it was begun. */
const results = (at: string) =>
  readStudy(at).trials.map(({ arm, seed, status, steps, tokens, final, best, curve, configHash, exportedBytes }) => ({
    ...{ arm, seed, status, steps, tokens, final, best, curve, configHash, exportedBytes },
  }));

const whole = newFolder();

test("trains every arm with every seed, seeds outside, and keeps each run's metrics without its checkpoints", async () => {
  const outcome = await run(whole, { command: "bitnet study small.yaml" });
  expect([outcome.reason, outcome.ended, outcome.left]).toEqual(["done", 6, 0]);
  const { trials, commands } = outcome.study;
  expect(trials.map(({ arm, seed }) => `${arm} ${seed}`)).toEqual([
    ...["ternary 1", "faster 1", "full 1"],
    ...["ternary 2", "faster 2", "full 2"],
  ]);
  expect(commands).toEqual(["bitnet study small.yaml"]);
  for (const { arm, seed, steps, tokens, curve, parameters, peakTensorBytes, peakResidentBytes } of trials) {
    expect([steps, tokens, curve.map(({ step }) => step)]).toEqual([6, 6 * 4 * 16, [0, 3, 6]]);
    expect(parameters.ternary > 0).toBe(arm !== "full");
    expect(peakTensorBytes).toBeGreaterThan(4 * 4 * parameters.total);
    expect(peakResidentBytes).toBeNull();
    const at = studyPaths(whole).run(arm, seed);
    expect([existsSync(join(at, "checkpoints")), existsSync(join(at, "config.yaml"))]).toEqual([false, true]);
  }
  // A ternary model of the same sizes is smaller as published.
  expect(trials[0].exportedBytes).toBeLessThan(trials[2].exportedBytes);
});

test("a trial is the run that train makes of the same config and seed, to the last bit", async () => {
  const { arms } = resolveStudy(studyOf(), { from: "small" });
  for (const { name, layers } of arms) {
    const alone = join(folder, `alone-${name}`);
    const layered = [...layers(2), { from: "test", patch: { evaluation: { batches: null } } }];
    const report = await train({ config: layered, runFolder: alone });
    const trial = readStudy(whole).trials.find(({ arm, seed }) => arm === name && seed === 2)!;
    expect(trial.final).toEqual({ lossNats: report.after!.loss, bitsPerByte: report.after!.bitsPerByte });
    const losses = (at: string) =>
      readScalars(join(at, "metrics", "scalars.jsonl")).map(({ step, loss }) => [step, loss]);
    expect(losses(studyPaths(whole).run(name, 2))).toEqual(losses(alone));
  }
});

test("goes on where it was: after so many trials, with some arms and seeds, amid a trial, and after a half-written line", async () => {
  const at = newFolder();
  expect(await run(at, { maxTrials: 1 })).toMatchObject({ reason: "enough trials", ended: 1, left: 5 });
  expect(await run(at, { arms: ["full"], seeds: [2] })).toMatchObject({ reason: "done", ended: 1, left: 4 });
  const controller = new AbortController();
  const stopped = await run(at, {
    signal: controller.signal,
    callbacks: ({ arm, seed }) => [
      {
        name: "stop",
        on(event) {
          if (event.type === "step" && arm.name === "faster" && seed === 1 && event.step === 4) controller.abort();
        },
      },
    ],
  });
  expect(stopped).toMatchObject({ reason: "interrupted", ended: 0, left: 4 });
  const { trials: path } = studyPaths(at);
  const before = readFileSync(path, "utf8");
  appendFileSync(path, before.split("\n")[0].slice(0, 100));
  const notes: string[] = [];
  expect(await run(at, { onNote: (note) => notes.push(note) })).toMatchObject({ reason: "done", ended: 4, left: 0 });
  expect(notes.join("\n")).toContain("passed over 1 unfinished line");
  expect(notes.join("\n")).toContain("going on with");
  expect(readStudy(at)).toMatchObject({ unfinishedLines: 1 });
  const sort = (list: ReturnType<typeof results>) =>
    list.sort((a, b) => (`${a.arm}${a.seed}` < `${b.arm}${b.seed}` ? -1 : 1));
  expect(sort(results(at))).toEqual(sort(results(whole)));
  expect(readStudy(at).trials.find(({ arm, seed }) => arm === "faster" && seed === 1)!.sessions).toBe(2);
  expect(await run(at)).toMatchObject({ reason: "done", ended: 0, left: 0 });
});

test("a call that is out of time saves the trial under way, and the next one goes on with it", async () => {
  const at = newFolder();
  // The clock moves by 10 ms whenever it is asked.
  const outcome = await run(at, { maxMs: 200, clock: steppingClock() });
  expect(outcome).toMatchObject({ reason: "out of time", ended: 0 });
  expect(existsSync(join(studyPaths(at).run("ternary", 1), "checkpoints"))).toBe(true);
  await run(at);
  expect(results(at)).toEqual(results(whole));
});

test("in a process of its own a trial has the same results, and its resident memory", async () => {
  const at = newFolder();
  expect(await run(at, { isolate: true, maxTrials: 2 })).toMatchObject({ ended: 2 });
  expect(results(at)).toEqual(results(whole).slice(0, 2));
  for (const { peakResidentBytes } of readStudy(at).trials) expect(peakResidentBytes).toBeGreaterThan(2 ** 24);
});

test("what is wrong in a process of its own is thrown here", async () => {
  const at = newFolder();
  await run(at, { isolate: true, maxTrials: 1 });
  const path = studyPaths(at).tokenizer(Object.keys(readStudy(at).data)[0]);
  writeFileSync(path, "{}");
  await expect(run(at, { isolate: true })).rejects.toMatchObject({ name: "FormatError" });
});

test("a trial that diverges is recorded as such, and the study goes on", async () => {
  const at = newFolder();
  const wild = { optimizer: { kind: "sgd", learningRate: 1e30, clipNorm: null }, schedule: { kind: "constant" } };
  const file = studyOf({ seeds: [1], arms: { ternary: null, wild, full: { model: { variant: "full" } } } });
  expect(await runStudy({ study: file, folder: at })).toMatchObject({ reason: "done", ended: 3 });
  const { trials } = readStudy(at);
  expect(trials.map(({ status }) => status)).toEqual(["finished", "diverged", "finished"]);
  expect(trials[1]).toMatchObject({ final: null, reason: expect.stringContaining("diverged") });
  const { failures, arms } = summarizeStudy(readStudy(at));
  expect(failures).toMatchObject([{ arm: "wild", seed: 1 }]);
  expect(arms[1]).toMatchObject({ finished: 0, diverged: 1, final: null, difference: null, missing: [] });
});

describe("a study's folder", () => {
  const bad: [string, Partial<StudyFile>, string][] = [
    [
      "another base",
      { base: { ...base, train: { ...base.train, batch: 8 } } },
      'train.batch 4 in arm "ternary", but 8',
    ],
    [
      "another arm of the same name",
      { arms: { ternary: null, faster: { optimizer: { learningRate: 6e-3 } } } },
      'optimizer.learningRate 0.005 in arm "faster", but 0.006',
    ],
    ["another budget", { steps: 7 }, 'train.steps 6 in arm "ternary", but 7'],
  ];
  test.for(bad)("of %s is refused, and the key named", async ([, changes, message]) => {
    await expect(runStudy({ study: studyOf(changes), folder: whole })).rejects.toThrow(message);
    expect(readStudy(whole).trials).toHaveLength(6);
  });

  test("takes arms and seeds that were added, and keeps those that the file no longer has", async () => {
    const at = newFolder();
    await run(at, { arms: ["ternary"], seeds: [1] });
    const file = studyOf({ seeds: [1, 3], arms: { ternary: null, slower: { optimizer: { learningRate: 1e-4 } } } });
    const outcome = await runStudy({ study: file, folder: at });
    expect(outcome.study.trials.map(({ arm, seed }) => `${arm} ${seed}`)).toEqual([
      ...["ternary 1", "slower 1", "ternary 3", "slower 3"],
    ]);
    expect(outcome.study.arms.map(({ name }) => name)).toEqual(["ternary", "faster", "full", "slower"]);
    expect(outcome.study.seeds).toEqual([1, 2, 3]);
  });

  test("refuses another text, a folder of something else, and two processes", async () => {
    const at = newFolder();
    await run(at, { maxTrials: 1 });
    const other = join(folder, "other.txt");
    writeFileSync(other, `${readFileSync(text, "utf8").slice(0, 3000)} five`);
    const changes = [{ from: "--data", patch: { data: { files: [other] } } }];
    await expect(run(at, { changes })).rejects.toThrow("its trials had another training text");
    await expect(run(folder)).rejects.toThrow("is not empty");
    const lock = takeLock(studyPaths(at).lock, "the study");
    await expect(run(at)).rejects.toThrow("another process is at work in the study");
    lock.release();
  });

  test("with a damaged line or file is refused, and the line named", async () => {
    const at = newFolder();
    await run(at, { maxTrials: 1 });
    const { trials, study } = studyPaths(at);
    const line = readFileSync(trials, "utf8");
    writeFileSync(trials, line.replace('"status":"finished"', '"status":"won"'));
    expect(() => readStudy(at)).toThrow(/trials\.jsonl: line 1: is damaged: status/);
    writeFileSync(trials, line + line);
    expect(() => readStudy(at)).toThrow(/line 2: arm "ternary" with seed 1 is there twice/);
    writeFileSync(trials, line);
    writeFileSync(study, "{");
    expect(() => readStudy(at)).toThrow(/study\.json: is damaged/);
    expect(() => readStudy(join(folder, "none"))).toThrow("holds no study");
  });

  test("unknown arms and seeds are refused, and a study without validation text", async () => {
    await expect(run(newFolder(), { arms: ["ful"] })).rejects.toThrow('unknown arm "ful"; did you mean "full"?');
    await expect(run(newFolder(), { seeds: [9] })).rejects.toThrow("seed 9 is none of the study's (1, 2)");
    const file = studyOf({ base: { ...base, data: { ...base.data, validFraction: 0 } } });
    await expect(runStudy({ study: file, folder: newFolder() })).rejects.toThrow("there is no validation text");
  });
});

test("the results file has what a table needs and no path of this machine", () => {
  const made = JSON.parse(JSON.stringify(studyResults(readStudy(whole))));
  const { file, ...rest } = made;
  expect(JSON.stringify(rest)).not.toContain(folder);
  expect(rest.summary.arms).toHaveLength(3);
  expect(rest.machine.processors).toBeGreaterThan(0);
  expect(parseStudy(JSON.stringify(file), "file")).toEqual(studyOf());
});
