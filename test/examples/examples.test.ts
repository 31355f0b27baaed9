// Every program in examples/ runs as its header says, over the built package, and every extension loads by --extension.
// Oracle: what each prints, beside what the library itself says of the same run.
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createRandom } from "../../src/platform/random.ts";
import { bitnet } from "../support/cli.ts";

const run = promisify(execFile);
const examples = resolve(import.meta.dirname, "../../examples");
const folder = mkdtempSync(join(tmpdir(), "bitnet-examples-"));
afterAll(() => rmSync(folder, { recursive: true }));
const [text, questions] = ["text.txt", "questions.jsonl"].map((name) => join(folder, name));

/** Words of syllables: enough of them for a vocabulary of 512 tokens. */
function sampleText(): string {
  const random = createRandom(1);
  const of = (list: string) => list[random.integer(list.length)];
  const word = () =>
    Array.from({ length: 1 + random.integer(3) }, () => of("bdfgklmnprstvz") + of("aeiou") + of("lmnrst")).join("");
  const words = Array.from({ length: 600 }, word);
  const document = () => Array.from({ length: 60 }, () => words[random.integer(words.length)]).join(" ");
  return Array.from({ length: 150 }, document).join("\n<|endoftext|>\n");
}

const node = async (file: string, ...args: string[]) =>
  (await run(process.execPath, [join(examples, file), ...args], { cwd: folder })).stdout;
const extension = (name: string) => ["--extension", join(examples, name)];

let model = "";
// Against a deadlock alone: each takes a second or two on quiet cores.
const timeout = 300_000;
beforeAll(async () => {
  writeFileSync(text, sampleText());
  writeFileSync(questions, `${JSON.stringify({ question: "ban", choices: ["dos", "kit"], answer: 1 })}\n`.repeat(6));
  const written = await node("train-and-generate.mjs", text, "6");
  model = join(folder, /, in (\S+)$/m.exec(written)![1]);
  expect(written).toMatch(/6 steps, \d+ tokens\/s/);
  expect(written).toMatch(/perplexity [\d.]+ before, [\d.]+ after/);
}, timeout);

const lines = (stdout: string) => stdout.trim().split("\n");

const programs: Record<string, () => Promise<void>> = {
  async "mixed-precision.mjs"() {
    const written = await node("mixed-precision.mjs", text, "2");
    const shares = [...written.matchAll(/(ternary|mixed): ([\d.]+) % of/g)].map(([, , share]) => Number(share));
    expect(shares[1]).toBeLessThan(0.5 * shares[0]);
    expect(written.match(/validation loss \d/g)).toHaveLength(2);
  },
  async "own-quantizer.mjs"() {
    expect(await node("own-quantizer.mjs", text, "2")).toMatch(/"twn-example".*: validation loss \d/);
  },
  async "own-estimator.mjs"() {
    expect(lines(await node("own-estimator.mjs", text, "2"))).toHaveLength(3);
  },
  async "own-objective.mjs"() {
    const written = await node("own-objective.mjs", text, "3");
    expect(written).toMatch(/^step 3: \{"next-token":[\d.]+,"late-tokens-example":[\d.]+\}$/m);
    expect(written).toMatch(/^validation loss \d/m);
  },
  async "distill.mjs"() {
    const written = await node("distill.mjs", text, "3");
    expect(written).toMatch(
      /^step 3: losses \{"next-token":[\d.]+,"distillation":[\d.e-]+\}, gradient norms \{"next-token":/m,
    );
    expect(written.match(/validation loss \d/g)).toHaveLength(3);
  },
  async "own-optimizer.mjs"() {
    expect(await node("own-optimizer.mjs", text, "3")).toMatch(/^validation loss \d/);
  },
  async "own-callback.mjs"() {
    expect(await node("own-callback.mjs", text, "30")).toMatch(/^plateau after step \d+, in /m);
  },
  async "own-task.mjs"() {
    expect(await node("own-task.mjs", model, questions)).toMatch(/^acc [\d.]+ ± [\d.]+ of 6 questions$/m);
  },
  async "own-filter.mjs"() {
    expect(await node("own-filter.mjs", text)).toBe("no-shouting-example: 150 documents in, 150 out\n");
  },
  async "read-metrics.mjs"() {
    const written = await node("read-metrics.mjs", model);
    expect(written).toMatch(/^step 6: loss \d/m);
    expect(written).toMatch(/^step 6: validation loss \d/m);
  },
  async "convert-formats.mjs"() {
    const written = await node("convert-formats.mjs", model, join(folder, "converted"));
    expect(written).toMatch(/read back from GGUF: \d+ tensors, 512 tokens/);
    expect(readdirSync(join(folder, "converted")).sort()).toEqual([
      "hugging-face",
      "model.bitnet",
      "model.gguf",
      "model.onnx",
    ]);
  },
  async "serve-in-app.mjs"() {
    expect(await node("serve-in-app.mjs", model)).toMatch(/^20 tokens written$/m);
  },
};

test("every example has a test, and no other", () => {
  const files = readdirSync(examples).filter((name) => name.endsWith(".mjs"));
  expect(files.sort()).toEqual([...Object.keys(programs), "train-and-generate.mjs"].sort());
});

for (const [name, body] of Object.entries(programs)) test(`${name} runs`, { timeout }, body);

test("extensions give every command their parts, worker threads too", { timeout }, async () => {
  const at = { cwd: folder };
  const sizes = ["--model.width", "64", "--model.hiddenWidth", "96", "--model.layers", "1", "--model.vocabSize", "300"];
  const trained = await bitnet(
    [
      ...[
        "train",
        "tiny",
        "--data",
        text,
        "--steps",
        "2",
        "--train.batch",
        "2",
        "--train.sequence",
        "32",
        "--run-dir",
        "own",
      ],
      ...[...sizes, "--samples.every", "null", ...extension("own-quantizer.mjs"), ...extension("own-estimator.mjs")],
      ...["--model.quantization.weights", "{name: twn-example, threshold: 0.6}"],
      ...["--model.quantization.estimator", "ewgs-example"],
    ],
    at,
  );
  expect(trained.code, trained.stderr).toBe(0);
  const both = [...extension("own-quantizer.mjs"), ...extension("own-estimator.mjs")];
  const without = await bitnet(["inspect", "own"], at);
  expect(without.code).toBe(1);
  expect(without.stderr).toMatch(/unknown weight quantizer "twn-example".*--extension FILE/);
  expect((await bitnet(["inspect", "own", ...both], at)).code).toBe(0);
  const written = await bitnet(["generate", "-m", "own", "-p", "ban", "-n", "4", ...both], at);
  expect(written.code, written.stderr).toBe(0);
  const scored = await bitnet(
    ["eval", "-m", model, "--task", "quiz-example", "--task-data", questions, ...extension("own-task.mjs")],
    at,
  );
  expect(scored.code, scored.stderr).toBe(0);
  expect(scored.stdout).toMatch(/quiz-example/);
  const prepared = await bitnet(
    [
      ...["data", "filter", text, "-o", "kept.jsonl", "--filters", "no-shouting-example"],
      ...extension("own-filter.mjs"),
    ],
    at,
  );
  expect(prepared.code, prepared.stderr).toBe(0);
});

test("bitnet train takes the objectives and callbacks of extensions, prints them, and asks for them on resume", {
  timeout,
}, async () => {
  const at = { cwd: folder };
  const own = [...extension("own-objective.mjs"), ...extension("own-callback.mjs")];
  const options = [
    ...["train", "tiny", "--data", text, "--steps", "2", "--train.batch", "2", "--train.sequence", "32"],
    ...["--model.width", "64", "--model.hiddenWidth", "96", "--model.layers", "1", "--model.vocabSize", "300"],
    ...[
      "--samples.every",
      "null",
      "--run-dir",
      "resumed",
      "--train.callbacks",
      "[{name: plateau-example, factor: 0.25}]",
    ],
    ...["--train.objectives", "[{name: late-tokens-example, weight: 1, from: 0.5}]"],
  ];
  const printed = await bitnet([...options, ...own, "--print-config"], at);
  expect(printed.stdout, printed.stderr).toMatch(/- name: plateau-example\n {6}factor: 0.25\n {6}most: 3\n/);
  const unknown = await bitnet([...options, ...extension("own-objective.mjs"), "--print-config"], at);
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toMatch(
    /train.callbacks\[0\].name is "plateau-example"; expected one of grid-pull, .*--extension FILE/,
  );
  const trained = await bitnet([...options, ...own], at);
  expect(trained.code, trained.stderr).toBe(0);
  const resume = ["train", "--resume", "resumed", "--steps", "3"];
  const without = await bitnet([...resume, ...extension("own-callback.mjs")], at);
  expect(without.code).toBeGreaterThan(0);
  expect(without.stderr.trim().split("\n")).toHaveLength(1);
  expect(without.stderr).toMatch(/objectives\[0\].name is "late-tokens-example"; expected one of .*--extension FILE/);
  const resumed = await bitnet([...resume, ...own], at);
  expect(resumed.code, resumed.stderr).toBe(0);
  expect(resumed.stdout).toMatch(/finished after step 3/);
  const inspected = await bitnet(["inspect", join("resumed", "config.yaml"), ...own], at);
  expect(inspected.code, inspected.stderr).toBe(0);
});

test("an extension that is none is refused in one line", { timeout }, async () => {
  const file = join(folder, "wrong.mjs");
  const refused = async (content: string | null) => {
    if (content !== null) writeFileSync(file, content);
    const { code, stderr } = await bitnet(["inspect", "tiny", "--extension", content === null ? "none.mjs" : file]);
    expect(code).toBeGreaterThan(0);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    return stderr;
  };
  expect(await refused(null)).toMatch(/none\.mjs: no such file/);
  expect(await refused("export const a = 1;")).toMatch(/exports no extension; expected "export default/);
  expect(await refused("export default { quantizers: [] };")).toMatch(/unknown kind of part "quantizers"; kinds are:/);
  expect(await refused("export default { tasks: [{}] };")).toMatch(/a part of tasks has no name/);
  expect(await refused("export default {")).toMatch(/cannot be loaded as a JavaScript module: /);
  const taken = 'export default { estimators: [{ name: "clipped", op: null }] };';
  expect(await refused(taken)).toMatch(/estimator "clipped" exists already/);
});
