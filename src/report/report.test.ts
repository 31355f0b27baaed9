// Oracle: measurements with chosen numbers (test/support/measurements.ts) and what follows from them by hand; of the page,
// the rules of HTML (what must be escaped, what reaches outside).
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { madeUpMeasurement } from "../../test/support/measurements.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { UsageError } from "../platform/errors.ts";
import { type Clock, systemClock } from "../platform/system.ts";
import { provenanceOf } from "./provenance.ts";
import { othersShare } from "./store.ts";
import {
  buildReport,
  chartsOf,
  compare,
  createStore,
  type ModelMeasurement,
  toHtml,
  toMarkdown,
  writeReport,
} from "./index.ts";

const bitnet = (changes: Partial<ModelMeasurement> = {}) => madeUpMeasurement("bitnet", changes);
const full = (changes: Partial<ModelMeasurement> = {}) => madeUpMeasurement("full", changes);
const build = (...models: ModelMeasurement[]) =>
  buildReport(models, { createdMs: 1.7e12, command: "bitnet report a b" });
const rowOf = (report: ReturnType<typeof build>, name: string) =>
  report.comparison.rows.find((row) => row.name === name)!;

test("the first bitnet model is compared with the first full one, in whatever order they come", () => {
  const { comparison } = build(full(), bitnet());
  expect([comparison.a, comparison.b]).toEqual(["tiny-bitnet", "tiny-full"]);
  expect(comparison.caveats).toEqual([]);
});

test("deltas are positive where the ternary model is better: a smaller file, a higher rate, and negative for its loss", () => {
  const report = build(bitnet(), full());
  expect(rowOf(report, "file (compact)").delta).toBeCloseTo((23 - 4) / 23, 10);
  expect(rowOf(report, "file (compact)").interpretation).toBe("major win");
  expect(rowOf(report, "writing (tg128)").delta).toBeCloseTo(700 / 300 - 1, 10);
  expect(rowOf(report, "loss").delta).toBeCloseTo(-0.05, 10);
  expect(rowOf(report, "time for an epoch").delta).toBeCloseTo(100 / 700, 10);
});

test("losses on the same windows are judged by their paired error, accuracies by both errors", () => {
  const report = build(bitnet(), full());
  // Each window differs by the same 0.1 nats: the difference is certain, though each loss has an error of 0.02.
  expect(rowOf(report, "loss").interpretation).toBe("minor gap");
  expect(rowOf(report, "arc_easy acc").interpretation).toBe("within noise");
});

test("a difference of two accuracies that are both at chance is within noise, however large", () => {
  const scored = (of: ModelMeasurement, value: number, withinNoise: boolean) => ({
    ...of,
    tasks: of.tasks.map((score) => (score.task === "boolq" ? { ...score, value, withinNoise } : score)),
  });
  const word = (chance: boolean) =>
    rowOf(build(scored(bitnet(), 0.4, true), scored(full(), 0.6, chance)), "boolq acc").interpretation;
  expect([word(true), word(false)]).toEqual(["within noise", "significant deficiency"]);
});

test("an accuracy far below what needs no model is called below chance, not taken for knowledge", () => {
  const low = (of: ModelMeasurement) => ({
    ...of,
    tasks: of.tasks.map((score) => (score.task === "arc_easy" ? { ...score, value: 0.15, withinNoise: false } : score)),
  });
  const report = build(low(bitnet()), full());
  expect(toMarkdown(report)).toContain("15.00 % ± 2.00, below chance");
  expect(report.summary.join(" ")).toMatch(/at chance are \d+ \(and 1 below\) of \d+ accuracies of tiny-bitnet/);
});

test("models of different tokenizers are compared by bits per byte alone, and the report says so", () => {
  const other = full({ tokenizer: { name: "other", vocabSize: 4096, hash: "ff".repeat(32) } });
  const { comparison } = build(bitnet(), other);
  const quality = comparison.rows.filter(({ category }) => category === "Quality").map(({ name }) => name);
  expect(quality).toEqual(["bits per byte"]);
  expect(comparison.caveats.join()).toContain("different tokenizers");
});

test("what was scored on different texts has no delta, and the report says so", () => {
  const other = full({ text: { ...full().text!, sha256: "11".repeat(32) } });
  const report = build(bitnet(), other);
  expect(rowOf(report, "bits per byte")).toMatchObject({ delta: null, interpretation: "not compared" });
  expect(rowOf(report, "file (compact)").delta).not.toBeNull();
  expect(report.comparison.caveats.join()).toContain("did not score the same text");
});

test("a model without a twin is reported alone: every delta is missing, and the summary says why", () => {
  const report = build(bitnet());
  expect(report.comparison.b).toBeNull();
  expect(report.comparison.rows.every(({ delta }) => delta === null)).toBe(true);
  expect(report.summary.join(" ")).toContain("no full-precision twin");
  expect(toHtml(report)).toContain("no twin");
});

test("beside random weights a trained model keeps its quality rows, and the summary says whose quality it is", () => {
  const random = full({ name: "twin", weights: "random", tokenizer: null, training: null, text: null, tasks: [] });
  const report = build(bitnet(), random);
  expect(rowOf(report, "loss")).toMatchObject({ b: null, interpretation: "not compared" });
  expect(report.summary.join(" ")).toMatch(
    /measured of tiny-bitnet only, 0\.\d+ bits per byte: the weights of twin are random/,
  );
  expect(report.comparison.caveats.join()).not.toContain("tokenizers");
  const both = build(bitnet({ weights: "random", tokenizer: null, training: null, text: null, tasks: [] }), random);
  expect(both.summary.join(" ")).toContain("Quality was not measured: that needs trained weights");
});

test("schedules of runs are drawn; lambda and temperature only where a run has them", () => {
  const point = (step: number, more: object) => ({
    ...{ step, tokens: 100 * step, learningRate: 0.001 * step, weightDecay: 0.1 },
    ...{ quantLambda: null, quantTemperature: null, ...more },
  });
  const training = (more: object) => ({ ...bitnet().training!, schedule: [1, 2, 3].map((step) => point(step, more)) });
  const ids = (...models: ModelMeasurement[]) =>
    chartsOf(models).flatMap(({ id }) => (["learning-rate", "quantization", "temperature"].includes(id) ? [id] : []));
  expect(ids(bitnet({ training: training({}) }))).toEqual(["learning-rate"]);
  const annealed = bitnet({ training: training({ quantLambda: 0.5, quantTemperature: 0 }) });
  expect(ids(annealed, full())).toEqual(["learning-rate", "quantization", "temperature"]);
  expect(toHtml(build(annealed))).toContain("Progressive quantization");
  // Measurements of before have no schedule.
  expect(ids(bitnet({ training: { ...bitnet().training!, schedule: undefined } }))).toEqual([]);
});

test("a run that was cut short is reported as far as it went, and said to be", () => {
  const training = { ...full().training!, steps: 50, totalTokens: 409_600, finished: false };
  const report = build(bitnet(), full({ training, text: null, size: null, speed: null, step: null }));
  expect(report.comparison.caveats.join()).toContain("cut short: 50 of 120 steps");
  expect(report.comparison.caveats.join()).toContain("text was measured of tiny-bitnet only");
  expect(rowOf(report, "loss").interpretation).toBe("not compared");
  expect(toMarkdown(report)).toContain("not measured");
});

test("metrics that end before the checkpoint, damaged lines and skipped steps are said, and no tokens that were not counted", () => {
  const training = { ...bitnet().training!, steps: 12, totalTokens: 98_304, finished: false };
  const lost = build(bitnet({ training }), full());
  expect(lost.comparison.caveats.join()).toContain("its metrics end at step 12, but the checkpoint is of step 120");
  expect(lost.summary[0]).toContain("trained for 120 steps.");
  expect(lost.summary.join(" ")).not.toContain("cut short");
  const damaged = { ...bitnet().training!, damagedLines: 2, skippedSteps: 3 };
  const alone = build(bitnet({ training: damaged })).notes.join("\n");
  expect(alone).toMatch(/3 steps were skipped, since loss or gradient was not finite/);
  expect(alone).toMatch(/2 lines of metrics\/scalars.jsonl, no JSON/);
});

test("two models of one name, or none, are refused", () => {
  expect(() => build(bitnet(), bitnet())).toThrow(UsageError);
  expect(() => build()).toThrow(/no run/);
});

test("further models are compared with the same baseline", () => {
  const report = build(bitnet(), full(), bitnet({ name: "third" }));
  expect(report.others.map(({ a, b }) => [a, b])).toEqual([["third", "tiny-full"]]);
  expect(toHtml(report)).toContain("third against tiny-full");
  const tokenizer = { name: "other", vocabSize: 9, hash: "ee".repeat(32) };
  const other = build(bitnet(), full(), bitnet({ name: "third", tokenizer }));
  expect(other.comparison.caveats).toEqual([]);
  for (const page of [toHtml(other), toMarkdown(other)])
    expect(page).toContain("To be read with care: the models have different tokenizers");
});

test("keys in which the configs differ are listed with both values", () => {
  const { configDifferences } = build(bitnet(), full());
  expect(configDifferences.map(({ key }) => key).sort()).toEqual(["model.variant", "optimizer.learningRate"]);
});

test("different data, shapes or lengths of training are caveats", () => {
  const x = bitnet();
  const training = { ...x.training!, totalTokens: 5, data: { ...x.training!.data, identity: "x" } };
  const { caveats } = compare(x, full({ training, config: { ...x.config, variant: "full", layers: 5 } }));
  expect(caveats.join("\n")).toMatch(
    /different shapes: layers 6 and 5[\s\S]*different data[\s\S]*983,040 and 5 tokens/,
  );
});

test("the page reaches nothing outside: no script, address, import or font", () => {
  const html = toHtml(build(bitnet(), full()));
  expect(html).not.toMatch(/<script|<link rel="stylesheet|@import|@font-face|<img|<iframe/i);
  const addresses = html.match(/(?:https?:)?\/\/[^\s"'<]+/g) ?? [];
  expect(addresses.filter((address) => address !== "http://www.w3.org/2000/svg")).toEqual([]);
  for (const query of ["prefers-color-scheme:dark", "@media print", "max-width:700px"]) expect(html).toContain(query);
});

test("names and notes from outside are escaped in the page and in Markdown", () => {
  const evil = '<img src=x onerror=alert(1)>|"&';
  const report = build(bitnet({ name: evil, notes: [evil] }), full());
  expect(toHtml(report)).not.toContain("<img");
  expect(toMarkdown(report)).not.toContain("<img");
  expect(toMarkdown(report)).toContain("\\|");
});

test("every chart is drawn wide and narrow, with both axes labelled, and no number in it is broken", () => {
  const html = toHtml(build(bitnet(), full()));
  for (const words of [
    "tokens trained on",
    "loss, nats per token",
    "probability of the likeliest token",
    "tokens a second",
  ])
    expect(html.split(words).length).toBeGreaterThan(2);
  expect(html).not.toMatch(/NaN|Infinity|undefined/);
});

test("the three files are written, and the JSON is the report", () => {
  const folder = temporaryFolder();
  const report = build(bitnet(), full());
  const paths = writeReport(join(folder, "deep"), "latest", report);
  expect(paths.map((path) => path.split("/").at(-1))).toEqual(["latest.html", "latest.json", "latest.md"]);
  expect(JSON.parse(readFileSync(paths[1], "utf8"))).toEqual(JSON.parse(JSON.stringify(report)));
});

test("a kept part is taken up under its key, and measured again for another, for damage, or on request", async () => {
  const folder = join(temporaryFolder(), "measurements");
  let measured = 0;
  const ask = async (key: string, fresh = false) => {
    const of = { model: "a/b", part: "text", key: { key }, backend: { name: "native", isa: "avx2", threads: 2 } };
    return (await createStore(folder, { clock: systemClock, fresh }).part(of, async () => ++measured)).value;
  };
  expect([await ask("x"), await ask("x"), await ask("y"), await ask("x"), await ask("x", true)]).toEqual([
    1, 1, 2, 3, 4,
  ]);
  const path = join(folder, "a_b.text.json");
  expect(existsSync(path)).toBe(true);
  const { writeFileSync } = await import("node:fs");
  writeFileSync(path, '{"key": "cut');
  expect(await ask("x")).toBe(5);
});

test("named parts are measured again, and the others taken up", async () => {
  const folder = temporaryFolder();
  let measured = 0;
  const ask = (part: string, fresh: readonly string[]) => {
    const of = { model: "a", part, key: 1, backend: { name: "native", isa: "avx2", threads: 2 } };
    return createStore(folder, { clock: systemClock, fresh }).part(of, async () => ++measured);
  };
  const values = [];
  for (const part of ["text", "speed", "text", "speed"]) values.push((await ask(part, ["speed"])).value);
  expect(values).toEqual([1, 2, 1, 3]);
});

test("a kept part keeps when, where and for how long it was measured, whoever asks for it later", async () => {
  const folder = temporaryFolder();
  const clockAt = (ms: number): Clock => ({ epochMs: () => ms, monotonicMs: () => ms });
  const ask = (clock: Clock, isa: string) =>
    createStore(folder, { clock }).part(
      { model: "a", part: "text", key: 1, backend: { name: "native", isa, threads: 2 } },
      async () => "measured",
    );
  const first = await ask(clockAt(1000), "avx2");
  expect(first.made).toMatchObject({ startedMs: 1000, elapsedMs: 0, backend: { isa: "avx2" }, othersShare: null });
  expect(await ask(clockAt(9000), "avx512")).toEqual(first);
});

test("other programs' share is what was busy without this process, of all processors' time", () => {
  const before = { allMs: 10_000, busyMs: 4000, ownMs: 100 };
  expect(othersShare(before, { allMs: 12_000, busyMs: 5500, ownMs: 600 })).toBeCloseTo(1000 / 2000, 12);
  expect(othersShare(before, { allMs: 12_000, busyMs: 4500, ownMs: 650 })).toBe(0);
  expect(othersShare(before, { allMs: 10_020, busyMs: 4020, ownMs: 100 })).toBeNull();
});

test("the report says when each part was measured and what else ran, and warns of speeds beside other programs", () => {
  const quiet = build(bitnet(), full());
  const rows = new Map(provenanceOf(quiet));
  expect(rows.get("tiny-bitnet: measured: text, size, 2 tasks")).toMatch(
    /^from 2020-09-13T12:26:40.000Z, 2:00 min in all; other programs took 50 % of the processors meanwhile; A Processor/,
  );
  expect(rows.get("tiny-bitnet: measured: speed")).toContain("30.0 s in all; other programs took 1 %");
  expect(quiet.comparison.caveats).toEqual([]);
  const { speed } = bitnet().made;
  const busy = build(bitnet({ made: { speed: { ...speed, othersShare: 0.25 } } }), full());
  expect(busy.summary.join()).toContain("other programs took 25 % of the processors while the models were timed");
});
