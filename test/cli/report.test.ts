// `bitnet compare`, `report`, `bench` and `audit` as processes, on twins of a few thousand weights trained here for a few
// steps. Oracle: the contract of docs/report.md; the runs' own metrics; nothing is timed.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Report } from "../../src/report/index.ts";
import { bitnet } from "../support/cli.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-report-"));
afterAll(() => rmSync(root, { recursive: true }));
const story = (i: number) =>
  `Once there was a cat number ${i}. It sat on a mat ${i * 7} times, and ran home ${i % 5} times.`;
const small = [
  ...["--model.vocabSize", "300", "--model.width", "32", "--model.layers", "2", "--model.heads", "2"],
  ...["--model.kvHeads", "1", "--model.hiddenWidth", "64", "--model.contextLength", "32", "--train.sequence", "32"],
  ...["--train.batch", "4", "--samples.every", "null", "--metrics.tensorboard", "false", "--backend", "reference"],
];
const compare = (...more: string[]) =>
  bitnet(["compare", "tiny", "--data", "train.txt", "--val-data", "valid.txt", "--steps", "4", ...small, ...more], {
    cwd: root,
  });
const readReport = (folder: string): Report => JSON.parse(readFileSync(join(root, folder, "report.json"), "utf8"));
let first: Awaited<ReturnType<typeof bitnet>>;

beforeAll(async () => {
  const stories = (from: number, to: number) =>
    Array.from({ length: to - from }, (_, i) => story(from + i)).join("<|endoftext|>");
  writeFileSync(join(root, "train.txt"), stories(0, 120));
  writeFileSync(join(root, "valid.txt"), stories(120, 150));
  writeFileSync(join(root, "empty.txt"), "");
  mkdirSync(join(root, "bad"));
  const item = { query: "The cat sat because", choices: ["it was tired", "it was red"] };
  const bad = [
    { ...item, gold: 0 },
    { ...item, gold: 2 },
  ]
    .map((row) => `${JSON.stringify(row)}\n`)
    .join("");
  writeFileSync(join(root, "bad", "copa.jsonl"), bad);
  first = await compare("-o", "out", "--no-speed");
});

test("compare trains both variants on the same tokens, measures both, and writes page, JSON and Markdown", () => {
  expect(first.stderr + String(first.code)).toMatch(/0$/);
  expect(readdirSync(join(root, "out")).sort()).toEqual([
    ...["measurements", "report.html", "report.json", "report.md", "runs"],
  ]);
  const { models, comparison, notes } = readReport("out");
  expect(models.map(({ config }) => config.variant)).toEqual(["bitnet", "full"]);
  expect(models[0].training!.data.identity).toBe(models[1].training!.data.identity);
  expect(models[0].training!.totalTokens).toBe(4 * 4 * 32);
  expect(comparison.rows.find(({ name }) => name === "bits per byte")!.delta).not.toBeNull();
  expect(notes.join()).toContain("speed was not asked for");
  // What validation said at the end, over the same text in the same windows.
  const last = models[0].training!.validation.at(-1)!;
  expect(models[0].text!.lossNats).toBeCloseTo(last.lossNats, 1);
  expect(first.stdout).toContain("written: out/report.html");
});

test("called again, compare trains and measures nothing twice", async () => {
  const before = readReport("out");
  const again = await compare("-o", "out", "--no-speed");
  expect(again.code).toBe(0);
  const after = readReport("out");
  expect(after.models.map(({ text }) => text)).toEqual(before.models.map(({ text }) => text));
  expect(again.stderr).not.toContain("scoring the text");
});

test("report times models that are there, takes labels, and tells two runs of one name apart", async () => {
  const { code, stderr } = await bitnet(
    [
      ...["report", "out/runs/bitnet", "out/runs/full", "out/runs/bitnet/checkpoints/step_000004", "-o", "timed"],
      ...[
        "--data",
        "valid.txt",
        "--label",
        "ternary",
        "--samples",
        "2",
        "--max-tokens",
        "200",
        "--backend",
        "reference",
      ],
    ],
    { cwd: root },
  );
  expect(stderr + String(code)).toMatch(/0$/);
  const { models, others, comparison } = readReport("timed");
  expect(models.map(({ name }) => name)).toEqual(["ternary", "full", "bitnet (2)"]);
  expect(models.every(({ speed }) => speed !== null && speed.prompt.mean > 0)).toBe(true);
  expect(models[0].text).toMatchObject({ tokens: 200, whole: false });
  expect(others.map(({ a, b }) => [a, b])).toEqual([["bitnet (2)", "full"]]);
  expect(comparison.rows.filter(({ category }) => category === "Speed")).toHaveLength(3);
});

test("a run without a checkpoint is reported by its curves, with a word", async () => {
  const cut = join(root, "cut");
  const { cpSync } = await import("node:fs");
  cpSync(join(root, "out", "runs", "full"), cut, { recursive: true });
  rmSync(join(cut, "checkpoints"), { recursive: true });
  const { code, stdout } = await bitnet(["report", "out/runs/bitnet", "cut", "-o", "cut-report", "--no-speed"], {
    cwd: root,
  });
  expect(code).toBe(0);
  expect(stdout).toContain("text was measured of bitnet only");
  expect(readReport("cut-report").notes.join()).toContain("no checkpoint yet");
});

test.for([
  [["report", "out/runs/bitnet", "--data", "empty.txt", "-o", "x", "--no-speed"], /empty|no (text|documents|tokens)/],
  [["report", "nowhere", "-o", "x"], /nowhere/],
  [["report", "out/runs/bitnet", "--task", "arc", "-o", "x"], /unknown task "arc"/],
  [["report", "out/runs/bitnet", "--limit", "3", "-o", "x"], /no meaning without --task/],
  [["report", "out/runs/bitnet", "--task", "all", "-o", "x"], /say where the tasks' files are/],
  [["report", "out/runs/bitnet", "--task", "humaneval", "-o", "x"], /--allow-code-execution/],
  [["report", "out/runs/bitnet", "--task", "copa", "--task-data", "bad", "-o", "x"], /copa\.jsonl: line 2: .*gold/],
  [["report", "out/runs/bitnet", "--results", "train.txt", "-o", "x", "--no-speed"], /train\.txt: is not JSON/],
  [["report", "out/runs/bitnet", "--results", "a.json", "--results", "b.json", "-o", "x"], /one file more than/],
  [["compare", "tiny", "--data", "train.txt", "--task", "copa", "--task-data", "bad", "-o", "x"], /line 2: .*gold/],
  [["compare", "tiny", "--random-weights", "--steps", "3", "-o", "x"], /--steps is of training/],
  [["compare", "tiny", "--random-weights", "--weights", "hf", "-o", "x"], /one of --random-weights and --weights/],
  [["report", "out/runs/bitnet", "--label", "a", "--label", "b", "-o", "x"], /2 labels came for 1 models/],
  [["report", "out/runs/bitnet", "--name", "../y", "-o", "x"], /--name \.\.\/y: expected a name for files/],
  [["report", "out/runs/bitnet", "-o", "train.txt"], /-o train\.txt: is a file/],
  [["compare", "tiny", "--data", "train.txt", "-o", "train.txt"], /-o train\.txt: is a file/],
  [["report", "out/runs/bitnet", "--fresh-speed", "--no-speed", "-o", "x"], /leave one out/],
  [["compare", "tiny", "--data", "train.txt", "--eval-data", "missing.txt", "-o", "x"], /missing\.txt/],
  [["compare", "tiny", "--data", "train.txt", "--model.variant", "full", "-o", "x"], /leave out the variant/],
  [["audit", "out/runs/bitnet", "--data", "empty.txt", "--backend", "reference"], /the text is empty/],
] as const)("%j is refused in one line, and leaves no report", async ([args, message]) => {
  const { code, stderr } = await bitnet([...args], { cwd: root });
  expect([1, 2]).toContain(code);
  expect(stderr.trim().split("\n").at(-1)).toMatch(message);
  expect(existsSync(join(root, "x", "report.html"))).toBe(false);
});

test("tasks are run on both models, files of results are taken, chance is said, and a second report runs nothing again", async () => {
  const questions = Array.from({ length: 12 }, (_, i) => ({
    query: `Where did the cat number ${i} sit?`,
    choices: ["on a mat", "on a hat"],
    gold: i % 2,
  }));
  mkdirSync(join(root, "tasks"));
  writeFileSync(join(root, "tasks", "openbookqa.jsonl"), questions.map((q) => `${JSON.stringify(q)}\n`).join(""));
  writeFileSync(join(root, "tasks", "wiki.valid.raw"), " \n = A cat = \n \n A cat sat @-@ on a mat . \n");
  const results = { results: { piqa: { "acc,none": 0.6, "acc_stderr,none": 0.01 } } };
  writeFileSync(join(root, "elsewhere.json"), JSON.stringify(results));
  const args = [
    ...["report", "out/runs/bitnet", "out/runs/full", "-o", "tasked", "--no-speed", "--backend", "reference"],
    ...["--task", "all", "--task-data", "tasks", "--results", "full=elsewhere.json"],
  ];
  const { code, stderr, stdout } = await bitnet(args, { cwd: root });
  expect(stderr + String(code)).toMatch(/0$/);
  const { models, comparison, summary } = readReport("tasked");
  const names = comparison.rows.filter(({ category }) => category === "Tasks").map(({ name }) => name);
  expect(names).toEqual([
    "openbookqa acc",
    "openbookqa acc_norm",
    "wikitext word_perplexity",
    "wikitext byte_perplexity",
    "wikitext bits_per_byte",
    "piqa acc",
  ]);
  expect(models[0].tasks[0]).toMatchObject({ items: 12, withinNoise: true, source: join("tasks", "openbookqa.jsonl") });
  expect(stdout).toContain("at chance");
  expect(summary.join(" ")).toMatch(/at chance are 2 of 2 accuracies of bitnet/);
  expect(comparison.rows.at(-1)?.name).not.toBe("piqa acc"); // tasks stand together
  expect(comparison.rows.find(({ name }) => name === "piqa acc")).toMatchObject({ a: null, delta: null });
  const again = await bitnet(args, { cwd: root });
  expect(again.stderr).not.toContain("openbookqa");
  expect(readReport("tasked").models[0].tasks).toEqual(models[0].tasks);
});

test("compare without a training: random weights are timed and weighed, a folder's also scored, and each is called so", async () => {
  const shape = small.slice(0, 12);
  const flags = ["--samples", "2", "--backend", "reference"];
  const random = await bitnet(["compare", "tiny", "--random-weights", ...shape, ...flags, "-o", "random"], {
    cwd: root,
  });
  expect(random.stderr + String(random.code)).toMatch(/0$/);
  const drawn = readReport("random");
  expect(drawn.models.map(({ weights, text }) => [weights, text])).toEqual([
    ["random", null],
    ["random", null],
  ]);
  expect(drawn.comparison.rows.map(({ category }) => category)).not.toContain("Quality");
  expect(drawn.summary.join(" ")).toContain("Quality was not measured: that needs trained weights");
  expect(random.stdout).toContain("BitNet (random weights)");

  const exported = await bitnet(["export", "out/runs/full", "--format", "hf", "-o", "hf"], { cwd: root });
  expect(exported.code).toBe(0);
  const given = ["compare", "tiny", "--weights", "hf", "--eval-data", "valid.txt", ...shape, ...flags, "-o", "given"];
  const weighed = await bitnet(given, { cwd: root });
  expect(weighed.stderr + String(weighed.code)).toMatch(/0$/);
  const { models, comparison } = readReport("given");
  expect(models.map(({ name, weights }) => [name, weights])).toEqual([
    ["BitNet (rounded, not trained)", "rounded"],
    ["full precision", undefined],
  ]);
  // The folder's own loss is the run's; rounded, it is another model's.
  const trained = readReport("out").models[1].text!;
  expect(models[1].text!.lossNats).toBeCloseTo(trained.lossNats, 4);
  expect(comparison.rows.find(({ name }) => name === "loss")!.delta).not.toBeNull();

  const other = await bitnet(["compare", "nano", "--weights", "hf", "-o", "x"], { cwd: root });
  expect(other.stderr).toMatch(/hf: its vocabSize is \d+, the preset nano has 32000/);
});

test("eval takes a compact or GGUF file, by itself or with -m, and runs tasks on the packed engine", async () => {
  for (const [format, file] of [
    ["gguf", "model.gguf"],
    ["compact", "model.bitnet"],
  ]) {
    const made = await bitnet(["export", "out/runs/bitnet", "--format", format, "-o", file], { cwd: root });
    expect(made.stderr + String(made.code)).toMatch(/0$/);
  }
  const task = ["--task", "openbookqa", "--task-data", "tasks", "--json", "--backend", "reference"];
  const read = async (args: string[]) => {
    const { stdout, stderr, code } = await bitnet(["eval", ...args, ...task], { cwd: root });
    expect(stderr + String(code)).toMatch(/0$/);
    return JSON.parse(stdout);
  };
  const run = await read(["-m", "out/runs/bitnet"]);
  expect(run.bitnet).toMatchObject({ engine: "packed", variant: "bitnet" });
  for (const file of ["model.gguf", "model.bitnet"])
    expect((await read([file])).results.openbookqa["acc,none"]).toBe(run.results.openbookqa["acc,none"]);
  const two = await bitnet(["eval", "model.gguf", "-m", "out/runs/bitnet", ...task], { cwd: root });
  expect(two.stderr).toContain("eval takes one model, but model.gguf and out/runs/bitnet came");
});

test("report reads a GGUF file as --pre says, and gives tasks the start token that was asked for", async () => {
  const report = (folder: string, ...args: string[]) =>
    bitnet(["report", ...args, "--no-speed", "--backend", "reference", "-o", folder], { cwd: root });
  const task = ["--task", "openbookqa", "--task-data", "tasks"];
  const files = ["out/runs/full", "model.gguf"];
  const labels = ["--label", "full", "--label", "file"];
  const pre = await report("pre", ...files, ...labels, "--pre", "file=llama-bpe", ...task);
  expect(pre.stderr + String(pre.code)).toMatch(/0$/);
  const wrong = await report("pre", ...files, ...labels, "--pre", "file=nonesuch", ...task);
  expect(wrong.stderr).toContain('"nonesuch"');
  const ofRun = await report("pre", ...files, "--pre", "gpt-2");
  expect(ofRun.stderr).toContain("--pre is of GGUF files");
  const plain = await report("start", "out/runs/full", ...task);
  const none = await report("start", "out/runs/full", ...task, "--no-start-token");
  expect([plain.code, none.code]).toEqual([0, 0]);
  // Kept under another key, so it was scored again.
  expect(none.stderr).toContain("openbookqa");
  const alone = await report("start", "out/runs/full", "--no-start-token");
  expect(alone.stderr).toContain("--start-token has no meaning without --task");
});

test("audit passes what was trained here, prints every figure, and gives the same as JSON", async () => {
  const args = ["audit", "out/runs/bitnet", "--data", "valid.txt", "--backend", "reference"];
  const { code, stdout } = await bitnet([...args, "--layers"], { cwd: root });
  expect(stdout).toContain("0 failed");
  expect(code).toBe(0);
  expect(stdout).toContain("model.layers.1.mlp.down_proj.weight");
  const { stdout: json } = await bitnet([...args, "--json"], { cwd: root });
  expect(JSON.parse(json).checks).toHaveLength(12);
});

test("bench times a model beside the same shape in full precision, whose weights are said to be random", async () => {
  const { code, stdout, stderr } = await bitnet(
    ["bench", "-m", "out/runs/bitnet", "--compare-model", "full", "--samples", "2", "--json", "--backend", "reference"],
    { cwd: root },
  );
  expect(stderr + String(code)).toMatch(/0$/);
  const { models } = JSON.parse(stdout);
  expect(models.map((m: { randomWeights: boolean; variant: string }) => [m.variant, m.randomWeights])).toEqual([
    ["bitnet", false],
    ["full", true],
  ]);
  expect(models[0].loadedBytes).toBeLessThan(models[1].loadedBytes);
});
