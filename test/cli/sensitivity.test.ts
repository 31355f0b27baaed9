// sensitivity, calibrate and overrides files from the command line, as processes. Oracle: eval, which scores the same model;
// the files' own contents; for bad input the line that is promised.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bitnet } from "../support/cli.ts";

const root = mkdtempSync(join(tmpdir(), "bitnet-cli-sensitivity-"));
afterAll(() => rmSync(root, { recursive: true }));
const run = async (...args: string[]) => {
  const result = await bitnet(args, { cwd: root });
  expect(result, args.join(" ")).toMatchObject({ code: 0 });
  return result.stdout;
};
const json = async (...args: string[]) => JSON.parse(await run(...args, "--json"));
const refusal = async (...args: string[]) => {
  const { code, stderr } = await bitnet(args, { cwd: root });
  expect(code, args.join(" ")).toBeGreaterThan(0);
  expect(stderr.trim().split("\n")).toHaveLength(1);
  return stderr;
};

const sizes = {
  ...{ vocabSize: 270, width: 64, layers: 2, heads: 2, kvHeads: 1, hiddenWidth: 128, contextLength: 32 },
};
const shape = Object.entries(sizes).flatMap(([key, value]) => [`--model.${key}`, String(value)]);
const steps = ["--train.batch", "4", "--train.sequence", "32", "--threads", "1"];
const sample = ["--data", "held-out.txt", "--max-tokens", "256", "--threads", "1"];

beforeAll(async () => {
  const words = ["the", "cat", "sat", "on", "a", "mat", "dog", "ran", "to", "red", "hill"];
  const texts = (from: number, n: number) =>
    Array.from({ length: n }, (_, i) =>
      Array.from({ length: 20 }, (_, k) => words[((from + i) * 7 + k * k + 3 * k) % words.length]).join(" "),
    ).join(".<|endoftext|>");
  writeFileSync(join(root, "text.txt"), texts(0, 120));
  writeFileSync(join(root, "held-out.txt"), texts(200, 30));
  writeFileSync(join(root, "short.txt"), "the cat");
  await run("train", "tiny", "--data", "text.txt", "--steps", "6", "--run-dir", "a", ...steps, ...shape);
  await run(
    ...["train", "tiny", "--data", "text.txt", "--variant", "full", "--steps", "20", "--run-dir", "full"],
    ...steps,
    ...shape,
  );
}, 240_000);

test("sensitivity ranks the layers; as a table it fits 100 columns", async () => {
  const found = await json("sensitivity", "a", ...sample);
  expect(found).toMatchObject({ data: ["held-out.txt"], group: "layer", asIf: null, plan: "ternary", sequences: 8 });
  expect(found.rows).toHaveLength(14);
  expect(found.rows[0].scores["leave-one-out"]).toEqual({
    value: expect.any(Number),
    standardError: expect.any(Number),
    rank: 1,
  });
  const text = await run("sensitivity", "a", ...sample, "--html", "page.html");
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(readFileSync(join(root, "page.html"), "utf8")).toContain("<h2>Every layer</h2>");
  const roles = await json("sensitivity", "a", ...sample, "--group", "role", "--measures", "fisher");
  expect(roles.rows.map(({ name }: { name: string }) => name)).toContain("down_proj");
});

test("a budget's overrides are what eval scores, what train begins with, and what export writes", async () => {
  const { budget } = await json("sensitivity", "full", ...sample, "--budget-bytes", "70000", "-o", "o.yaml");
  expect(budget.output).toBe("o.yaml");
  expect(budget.bytes).toBeLessThanOrEqual(70000);
  const lossOf = async (...more: string[]) => (await json("eval", "full", "--data", "held-out.txt", ...more)).loss;
  const [float, mixed] = [await lossOf(), await lossOf("--overrides", "o.yaml")];
  expect(mixed).not.toBe(float);
  expect(Math.abs(mixed - budget.loss.lossNats)).toBeLessThan(0.5);
  const config = await run(
    "train",
    "tiny",
    "--data",
    "text.txt",
    "--overrides",
    "o.yaml",
    "--print-config",
    ...steps,
    ...shape,
  );
  expect(budget.raised.length).toBeGreaterThan(0);
  const { overrides } = budget.quantization;
  for (const { layers, weights } of overrides)
    expect(config).toMatch(new RegExp(`- layers: "?${layers.replace(/\*/g, "\\*")}"?\n +weights: ${weights}\n`));
  await run("export", "full", "--format", "gguf", "--type", "f32", "--overrides", "o.yaml", "-o", "m.gguf");
  const exported = (await json("eval", "m.gguf", "--data", "held-out.txt")).loss;
  expect(Math.abs(exported - mixed)).toBeLessThan(1e-3);
}, 240_000);

test("calibrate shows inputs and effects; its fixed scales and its ternary folder are models that eval takes", async () => {
  const found = await json("calibrate", "a", ...sample);
  expect(found.inputs).toHaveLength(8);
  expect(found.inputs[0]).toMatchObject({ width: 64, layers: expect.any(Array), sqnrDb: expect.any(Number) });
  expect(found.static).toHaveLength(4);
  expect(found.temperature.temperature).toBeGreaterThan(0.2);
  const text = await run("calibrate", "a", ...sample, "--static", "mse", "-o", "static.yaml");
  expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
  expect(text).toContain("wrote static.yaml");
  await run("eval", "a", "--data", "held-out.txt", "--overrides", "static.yaml");
  await run("calibrate", "full", ...sample, "--ternarize", "absmean", "--scales", "least-squares", "-o", "rounded");
  expect(await run("inspect", "rounded")).toContain("(bitnet)");
  await run("eval", "rounded", "--data", "held-out.txt");
}, 240_000);

test("bad input is one line that says what to do", async () => {
  const lines: [string[], RegExp][] = [
    [
      ["sensitivity", "a", "--data", "short.txt"],
      /a sequence of 32 tokens needs 33 tokens of text, but the data have \d/,
    ],
    [
      ["calibrate", "a", "--data", "short.txt"],
      /a sequence of 32 tokens needs 33 tokens of text, but the data have \d/,
    ],
    [["sensitivity", "a"], /say on which text to measure, with --data FILE/],
    [["sensitivity", "--data", "held-out.txt"], /say which model: bitnet sensitivity MODEL --data FILE/],
    [["sensitivity", "a", ...sample, "--measures", "trace"], /unknown measure "trace"; measures are: leave-one-out/],
    [["sensitivity", "a", ...sample, "-o", "x.yaml"], /-o is where a budget's overrides are written/],
    [
      ["sensitivity", "a", ...sample, "--budget-bytes", "10"],
      /a budget of 10 bytes cannot be met: .* takes \d+, which is the least/,
    ],
    [
      ["sensitivity", "full", ...sample, "--budget-loss", "0.01"],
      /a loss of 0\.01 .* cannot be met: the least that was found is/,
    ],
    [["calibrate", "a", ...sample, "--ternarize", "absmean"], /the model is ternary already/],
    [["calibrate", "a", ...sample, "--static", "mse"], /--static says what -o writes; give -o PATH too/],
    [["calibrate", "a", ...sample, "-o", "x"], /-o writes fixed input scales \(--static METHOD\) or a model folder/],
    [["eval", "a", "--data", "held-out.txt", "--overrides", "text.txt"], /text\.txt: expected an overrides file/],
  ];
  for (const [args, message] of lines) expect(await refusal(...args), args.join(" ")).toMatch(message);
}, 240_000);
