// Commands of README and docs/, as a reader copies them. Oracle: the built program. Every one must parse (its options exist
// and take their values); those that need no network, no data but a text, and seconds, are run on a small model.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createProgram, entries } from "../../src/cli/program.ts";
import { sortWords } from "../../src/cli/train.ts";
import { describeError, throwErrors } from "../../src/cli/support/run.ts";
import { parseOverrides } from "../../src/train/index.ts";
import { bitnet } from "../support/cli.ts";

const root = resolve(import.meta.dirname, "../..");
const pages = ["README.md", ...readdirSync(join(root, "docs")).map((name) => `docs/${name}`)].filter((name) =>
  name.endsWith(".md"),
);

/** A command's words, without what the shell takes: comments, pipes, redirections. Two quotes, no escapes. */
function wordsOf(line: string): string[] {
  const words: string[] = [];
  for (const [word] of line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)) {
    if (["#", "|", ">", ">>", "&&"].includes(word) || word.startsWith("#")) break;
    words.push(word.replaceAll(/"([^"]*)"|'([^']*)'/g, "$1$2").replace(/^I\/N$/, "0/4"));
  }
  return words;
}

/** The commands of a text's lines; a column of remarks stands four spaces or more behind its command. */
const commandsIn = (text: string) =>
  text
    .replaceAll(/\\\n\s*/g, "")
    .split("\n")
    .map((line) => /^(?: {2}|\$ )?(?:npx )?bitnet (\S.*)$/.exec(line)?.[1])
    .filter((line) => line !== undefined)
    .map((line) => line.split(/ {4,}/)[0]);

const codeBlocks = (text: string) =>
  [...text.matchAll(/^```[a-z]*\n(.*?)^```/gms)].map(([, block]) => block).join("\n");

const documented = pages.flatMap((page) =>
  commandsIn(codeBlocks(readFileSync(join(root, page), "utf8"))).map((line) => [page, line] as const),
);

/** Of all commands, those in commands too. */
function leavesOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(leavesOf)];
}

async function helpExamples(): Promise<(readonly [string, string])[]> {
  const found: (readonly [string, string])[] = [];
  for (const { name, load } of entries) {
    for (const command of leavesOf(await load())) {
      let text = "";
      command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
      found.push(
        ...commandsIn(text.split("Examples:")[1] ?? "").map((line) => [`bitnet ${name} --help`, line] as const),
      );
    }
  }
  return found;
}

/** What is wrong with a command's words; nothing is run. */
async function faultOf(line: string): Promise<string | null> {
  const args = wordsOf(line);
  try {
    const program = throwErrors(await createProgram(args));
    for (const command of leavesOf(program))
      if (command.commands.length === 0 || command.registeredArguments.length > 0)
        command.action((...values: unknown[]) => {
          const called = values.at(-1) as Command;
          if (called.name() === "train") parseOverrides(sortWords(called.args).overrides, []);
        });
    await program.parseAsync(args, { from: "user" });
    return null;
  } catch (error) {
    return describeError(error).message || String(error);
  }
}

test("every command of README and docs/ has options that exist, with values that they take", async () => {
  expect(documented.length).toBeGreaterThan(70);
  const faults = [];
  for (const [page, line] of documented) {
    const fault = await faultOf(line);
    if (fault) faults.push(`${page}: bitnet ${line}: ${fault}`);
  }
  expect(faults).toEqual([]);
});

test("so has every example of every command's help", async () => {
  const examples = await helpExamples();
  expect(examples.length).toBeGreaterThan(60);
  const faults = [];
  for (const [where, line] of examples) {
    const fault = await faultOf(line);
    if (fault) faults.push(`${where}: bitnet ${line}: ${fault}`);
  }
  expect(faults).toEqual([]);
});

test("an option that does not exist is found", async () => {
  expect(await faultOf("export runs/x --tipe f16")).toMatch(/unknown option '--tipe'/);
  expect(await faultOf("train tiny --data x --train.bach 3")).toMatch(/train.bach/);
});

/** Pages whose commands are run, in the order in which they stand. */
const run = [
  "README.md",
  "docs/formats.md",
  "docs/compact.md",
  "docs/onnx.md",
  "docs/hugging-face.md",
  "docs/generation.md",
];

/** Which commands of those pages are not run, and why. */
const skipped: readonly [RegExp, string][] = [
  [/^serve /, "does not end by itself; test/cli/serve.test.ts runs it"],
  [/^compare /, "trains two models; test/cli/report.test.ts runs it"],
  [/ org\/name/, "needs the hub; test/cli/hub.test.ts has one"],
  [/path\/to\/folder/, "a folder of the reader's own; the lines above it made one by another name"],
  [/^train tiny --from/, "trains at full size; train.test.ts runs --from"],
  [/path\/to\/llama/, "a full-precision model of the reader's own"],
  [/^chat /, "a conversation; src/cli tests have one"],
];
const reasonOf = (line: string) => skipped.find(([pattern]) => pattern.test(line))?.[1];
const toRun = documented.filter(([page, line]) => run.includes(page) && !reasonOf(line));

const folder = mkdtempSync(join(tmpdir(), "bitnet-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
/** The same commands, on a model of one layer trained for two steps, and for five tokens. Widths are those of tiny. */
function madeSmall(line: string): string[] {
  const words = wordsOf(line).map((word) =>
    word.replace("runs/tiny-bitnet-...", "runs/tiny-bitnet-1").replace(/^MODEL$/, "runs/tiny-bitnet-1"),
  );
  if (words[0] === "generate" || words[0] === "run") return [...words, "-n", "5"];
  if (words[0] !== "train") return words;
  const small = "--model.layers 1 --train.batch 2 --train.sequence 32 --model.vocabSize 280 --model.contextLength 64";
  return [...words, "--steps", "2", "--run-dir", "runs/tiny-bitnet-1", ...small.split(" ")];
}

beforeAll(() => {
  const story =
    "Once upon a time there was a cat. The cat sat on the mat, and the rat sat on the cat.\n<|endoftext|>\n";
  writeFileSync(join(folder, "stories.txt"), story.repeat(60));
  writeFileSync(join(folder, "held-out.txt"), story.repeat(4));
  writeFileSync(join(folder, "wiki.test.raw"), story.repeat(20));
});

test("each command that is not run has a reason, and each reason a command", () => {
  const lines = documented.filter(([page]) => run.includes(page)).map(([, line]) => line);
  for (const [pattern] of skipped)
    expect(
      lines.filter((line) => pattern.test(line)),
      String(pattern),
    ).not.toEqual([]);
});

// In order: README's first command trains the model that the others read.
test.each(toRun)("%s: bitnet %s", async (_, line) => {
  const { code, stderr } = await bitnet(madeSmall(line), { cwd: folder });
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
});

test("a folder of runs stands for its newest run, and a note says which", async () => {
  const { code, stderr } = await bitnet(["generate", "-m", "runs", "-p", "Once", "-n", "3"], { cwd: folder });
  expect(code, stderr).toBe(0);
  expect(stderr).toMatch(/tiny-bitnet-1\S*: the newest of 1 run in runs/);
});
