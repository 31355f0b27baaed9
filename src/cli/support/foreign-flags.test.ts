// Oracle: the options that each command's help lists, and the table's own rule: accepted where the meaning is the same.
import type { Command } from "commander";
import { expect, test } from "vitest";
import { createProgram, entries } from "../program.ts";
import { layersOf } from "../train.ts";
import { foreignFlags } from "./foreign-flags.ts";
import { describeError, throwErrors } from "./run.ts";

/** What a command was asked for: its options' values, without doing it; or the line for an error. */
async function parse(...args: string[]): Promise<Record<string, unknown> | string> {
  const program = throwErrors(await createProgram(args));
  let found: Record<string, unknown> = {};
  const command = program.commands.find((one) => one.name() === args[0])!;
  command.action((...values: unknown[]) => {
    found = (values.at(-1) as Command).opts();
  });
  try {
    await program.parseAsync(args, { from: "user" });
    return found;
  } catch (error) {
    return describeError(error, args).message;
  }
}

test("a name of another program with the same meaning sets the option, with its checks", async () => {
  expect(await parse("generate", "-m", "x", "--temperature", "0.5", "-t", "3", "--max_new_tokens=7")).toMatchObject({
    temp: 0.5,
    threads: 3,
    nPredict: 7,
  });
  expect(await parse("train", "tiny", "--max-steps", "9", "-t", "1", "--output_dir", "r")).toMatchObject({
    steps: 9,
    threads: 1,
    runDir: "r",
  });
  expect(await parse("eval", "-m", "x", "-d", "y", "--batch_size", "3")).toMatchObject({ batch: 3 });
  expect(await parse("generate", "-m", "x", "--temperature", "-1")).toMatch(/argument '-1' is invalid/);
});

test("a name that the command uses itself keeps its meaning", async () => {
  expect(await parse("export", "x", "-t", "f16")).toMatchObject({ type: "f16" });
  expect(await parse("eval", "-m", "x", "--task", "humaneval", "--temperature", "0.3")).toMatchObject({
    temperature: 0.3,
  });
  expect(await parse("eval", "-m", "x", "-d", "y", "--max-tokens", "5")).toMatchObject({ maxTokens: 5 });
  expect(await parse("perplexity", "-m", "x", "-f", "y", "-c", "64")).toMatchObject({ ctxSize: 64 });
});

test("a value that looks like such a name is a value", async () => {
  expect(await parse("generate", "-m", "x", "-p", "--temperature")).toMatchObject({ prompt: "--temperature" });
});

test.for([
  [
    ["generate", "-m", "x", "--lr", "1"],
    "unknown option '--lr'; bitnet calls it --optimizer.learningRate (bitnet train)",
  ],
  [["generate", "-m", "x", "-c", "4096"], "unknown option '-c'; bitnet calls it the model's context length"],
  [["serve", "-m", "x", "--ctx-size=4096"], "unknown option '--ctx-size'; bitnet calls it the model's context length"],
  [["generate", "-m", "x", "-ngl", "99"], "unknown option '-ngl'; there is no GPU backend"],
  [["inspect", "tiny", "-ngl", "99"], "unknown option '-ngl'; there is no GPU backend"],
  [["generate", "-m", "x", "-n", "gl"], "argument 'gl' is invalid. Expected a whole number from -1."],
  [["inspect", "tiny", "--frobnicate"], "unknown option '--frobnicate'"],
] as const)("%j: %s", async ([args, message]) => {
  expect(await parse(...args)).toContain(message);
});

/** What train makes of words that are no options of its own. */
const patches = async (...args: string[]) =>
  (await layersOf({} as never, { args: ["tiny", ...args], options: [] } as never)).slice(2).map(({ patch }) => patch);

test("train takes such names for keys of the config", async () => {
  expect(await patches("--lr", "1e-3", "--batch_size=8", "--warmup", "20", "--block-size", "64")).toEqual([
    { optimizer: { learningRate: 1e-3 } },
    { train: { batch: 8 } },
    { schedule: { warmupSteps: 20 } },
    { train: { sequence: 64 } },
  ]);
  await expect(patches("--grad-accum", "4")).rejects.toThrow(/unknown option '--grad-accum'; .* --train.microBatch/);
  await expect(patches("-ngl", "4")).rejects.toThrow("there is no GPU backend");
});

test("every name stands once, and every option that is named exists", async () => {
  const names = foreignFlags.flatMap((entry) => entry.names);
  expect(new Set(names).size).toBe(names.length);
  const options = new Set<string | undefined>();
  for (const { load } of entries) for (const { long } of (await load()).options) options.add(long);
  for (const { same = [], hint } of foreignFlags) {
    expect(same.length > 0).toBe(hint === undefined);
    for (const name of same.filter((one) => !one.includes("."))) expect(options, name).toContain(name);
    for (const name of same.filter((one) => one.includes("."))) await patches(name, "1");
  }
});
