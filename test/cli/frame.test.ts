// The frame of the command line: help, errors, exit codes, signals, closed and full outputs. Oracle: the contract that
// `bitnet --help` states (0 done, 1 failed, 2 called wrongly, 130 after Ctrl-C; what was asked for on the standard output).
import { existsSync, openSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { spawnSync } from "node:child_process";
import { dirname, join, resolve } from "node:path";
import { expect, test } from "vitest";
import { createProgram, entries } from "../../src/cli/program.ts";
import { backendNames } from "../../src/backends/registry.ts";
import { describeError, throwErrors } from "../../src/cli/support/run.ts";
import { DataError, FileError, UsageError } from "../../src/platform/errors.ts";
import { bitnet } from "../support/cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

test("help and no arguments at all list every command with its line, and exit 0", async () => {
  for (const args of [["--help"], []]) {
    const { code, stdout, stderr } = await bitnet(args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    for (const { name, summary } of entries) expect(stdout).toContain(`  ${name.padEnd(14)} ${summary}`);
    expect(stdout).toContain("Examples:");
  }
});

test.for(entries.map((entry) => entry.name))(
  "%s has help with examples, and the line that the list has",
  async (name) => {
    const entry = entries.find((one) => one.name === name)!;
    const command = await entry.load();
    expect(command.name()).toBe(name);
    expect(command.summary()).toBe(entry.summary);
    const { code, stdout } = await bitnet([name, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(new RegExp(`^Usage: bitnet ${name}`));
    expect(stdout).toContain("Examples:");
    // A long option that no help text explains would be one that nobody finds.
    for (const option of command.options) expect(option.description, option.flags).not.toBe("");
  },
);

test("every command file is in the list", () => {
  // A command is a file, or a folder of a command with commands of its own (data/).
  const commands = readdirSync(resolve(import.meta.dirname, "../../src/cli"))
    .map((name) => name.replace(/\.ts$/, ""))
    .filter((name) => name !== "main" && name !== "program" && name !== "support" && !name.endsWith(".test"));
  expect(entries.map(({ name }) => name).sort()).toEqual(commands.sort());
});

test("the version names this package's and the backends that work here", async () => {
  const { code, stdout } = await bitnet(["--version"]);
  const { version } = JSON.parse(readFileSync(resolve(import.meta.dirname, "../../package.json"), "utf8"));
  expect(code).toBe(0);
  expect(stdout).toContain(`bitnet.ts ${version}`);
  expect(stdout).toContain("reference typescript: works here");
});

test.for([
  [["frobnicate"], "unknown command 'frobnicate'"],
  [["evla"], "unknown command 'evla' (Did you mean eval?)"],
  [["help", "frobnicate"], 'unknown command "frobnicate"; commands are: quickstart, train, eval'],
  [["--frobnicate"], "unknown option '--frobnicate'"],
  [["inspect", "tiny", "--frobnicate"], "unknown option '--frobnicate'"],
  [["inspect"], "missing required argument 'what'"],
  [["inspect", "tiny", "more"], "too many arguments for 'inspect'"],
  [["inspect", "tiny", "--batch", "0"], "argument '0' is invalid. Expected a whole number from 1."],
  [["inspect", "tiny", "--batch", "many"], "argument 'many' is invalid. Expected a whole number from 1."],
  [
    ["inspect", "tinny"],
    '"tinny" is neither a preset, a file or folder, nor a name on the hub (org/name); presets are: arithmetic, tiny',
  ],
  [["inspect", process.execPath], "is no config file, and no model that is inspected; those are folders, GGUF files"],
  [["bench", "-m", "nowhere", "--variant", "full"], "--variant is of a preset; a model has its own"],
  [["import", "nowhere", "-o", "x"], "nowhere: no such file or folder, nor a name on the hub (org/name)"],
  [["generate"], "required option '-m, --model <model>' not specified"],
  [["generate", "-m", "x", "--temp", "-1"], "argument '-1' is invalid. Expected a number from 0."],
  [["generate", "-m", "x", "--top-p", "1.5"], "Expected a number from 0 to 1."],
  [["generate", "-m", "x", "--backend", "gpu"], `Allowed choices are ${backendNames.join(", ")}.`],
  [["eval", "-m", "x"], "say what to score: a text with --data PATH, or a task with --task NAME"],
  [["eval", "-d", "x"], "say which model, with -m MODEL"],
  [["eval", "-m", "x", "--task", "arc"], 'unknown task "arc"; expected one of arc_easy, arc_challenge, hellaswag'],
  [["eval", "-m", "x", "--task", "humaneval"], "say that you want it with --allow-code-execution"],
  [["eval", "-m", "x", "--task", "piqa", "-d", "y"], "its file goes with --task-data"],
  [["eval", "-m", "x", "--task", "wikitext"], "--task wikitext needs the file: --data wiki.test.raw"],
  [
    ["eval", "-m", "x", "-d", "y", "--task", "wikitext", "--stride", "8"],
    "--stride has no meaning for --task wikitext",
  ],
] as const)("%j is called wrongly: one line, exit 2", async ([args, message]) => {
  const error = await createProgram(args)
    .then((program) => throwErrors(program).parseAsync([...args], { from: "user" }))
    .catch((error) => error);
  expect(describeError(error).code).toBe(2);
  expect(describeError(error).message).toContain(message);
  expect(describeError(error).message).not.toContain("\n");
});

test.for([
  [["frobnicate"], "unknown command 'frobnicate'", 2],
  [["inspect", "tiny", "--batch", "0"], "argument '0' is invalid. Expected a whole number from 1.", 2],
  [["generate", "-m", "nowhere"], "nowhere: no such file or folder", 1],
] as const)(
  "%j: one line on the standard error, nothing on the other, and its exit code",
  async ([args, message, exit]) => {
    const { code, stdout, stderr } = await bitnet(args, { cwd: temporaryFolder() });
    expect({ code, stdout }).toEqual({ code: exit, stdout: "" });
    expect(stderr).toMatch(/^bitnet: [^\n]+\n$/);
    expect(stderr).toContain(message);
  },
);

test("with --debug an error brings its stack, anywhere among the words", async () => {
  for (const args of [
    ["--debug", "inspect", "tinny"],
    ["inspect", "tinny", "--debug"],
  ]) {
    const { code, stderr } = await bitnet(args);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^bitnet: "tinny" is neither/);
    expect(stderr).toMatch(/\n {4}at .*inspect\.js/);
  }
});

test("errors that we foresaw keep their words; one of Node's that names a path says what to do", () => {
  expect(describeError(new UsageError("a"))).toEqual({ message: "a", code: 2 });
  expect(describeError(new DataError("a\n  b"))).toEqual({ message: "a b", code: 1 });
  expect(describeError(new FileError("a"))).toEqual({ message: "a", code: 1 });
  const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", path: "x/y" });
  expect(describeError(full)).toEqual({
    message: "x/y: cannot use: the disk is full; free some space and run it again",
    code: 1,
  });
  expect(describeError("thrown text")).toEqual({ message: "thrown text", code: 1 });
});

test("a reader that goes away early (head) is no error", async () => {
  const { code, stderr } = await bitnet(["inspect", "2b4t", "--json"], {
    meanwhile: (child) => child.stdout!.once("data", () => child.stdout!.destroy()),
  });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
});

test.skipIf(!existsSync("/dev/full"))("a full disk behind the standard output is told, exit 1", () => {
  const program = resolve(import.meta.dirname, "../../dist/cli/main.js");
  const { status, stderr } = spawnSync(process.execPath, [program, "inspect", "presets"], {
    stdio: ["ignore", openSync("/dev/full", "w"), "pipe"],
    encoding: "utf8",
  });
  expect(status).toBe(1);
  expect(stderr).toBe("bitnet: standard output: cannot write: the disk is full; free some space and run it again\n");
});

test("help loads neither the addon nor zod nor a model", async () => {
  // Every module that main.js imports without being asked for a command, read off the sources.
  const root = resolve(import.meta.dirname, "../../src");
  const seen = new Set<string>();
  const packages = new Set<string>();
  const visit = (file: string) => {
    if (seen.has(file)) return;
    seen.add(file);
    const text = readFileSync(file, "utf8").replace(/^import type .*$/gm, "");
    for (const [, specifier] of text.matchAll(/^(?:import|export)[^;]*? from "([^"]+)"/gm))
      if (specifier.startsWith(".")) visit(resolve(dirname(file), specifier));
      else packages.add(specifier);
  };
  visit(join(root, "cli/main.ts"));
  const rooms = new Set([...seen].map((file) => file.slice(root.length + 1).split("/")[0]));
  expect([...rooms].sort()).toEqual(["cli", "platform"]);
  expect([...packages].filter((name) => !name.startsWith("node:"))).toEqual(["commander"]);
  expect((await createProgram(["--help"])).commands.map((command) => command.name())).toEqual(
    entries.map(({ name }) => name),
  );
});

test("a config file is inspected with the micro-batch and sequence that it says", async () => {
  const folder = temporaryFolder();
  const file = join(folder, "mine.yaml");
  writeFileSync(file, "preset: tiny\nmodel:\n  layers: 2\ntrain:\n  batch: 6\n  microBatch: 3\n  sequence: 64\n");
  const { code, stdout } = await bitnet(["inspect", file, "--json"]);
  const described = JSON.parse(stdout);
  expect(code).toBe(0);
  expect(described.training).toMatchObject({ batch: 3, sequence: 64 });
  expect(described.total).toBe(2048 * 384 + 384 + 2 * 1_771_776);
  const { stdout: full } = await bitnet(["inspect", file, "--json", "--variant", "full"]);
  expect(JSON.parse(full)).toMatchObject({ ternary: 0, total: described.total - 2 * (384 + 1152) });
});

test("an optimiser with moments of eight bits is inspected as such, from a config or by --optimizer", async () => {
  const file = join(temporaryFolder(), "mine.yaml");
  writeFileSync(file, "preset: tiny\noptimizer:\n  kind: adamw8bit\n");
  // tiny: 8 bytes of embedding and gains, 2 and the scales' share (2 x 4 bytes for 256 weights) of the blocks' matrices.
  const matrices = 6 * (2 * 384 * 384 + 2 * 192 * 384 + 3 * 1152 * 384);
  const expected = 8 * (11_417_472 - matrices) + 2 * matrices + (8 * matrices) / 256;
  expect(JSON.parse((await bitnet(["inspect", file, "--json"])).stdout).training.optimizerBytes).toBe(expected);
  const shown = `AdamW's moments, of 8 bits where it pays +${(expected / 2 ** 20).toFixed(1)} MiB`;
  expect((await bitnet(["inspect", "tiny", "--optimizer", "adamw8bit"])).stdout).toMatch(new RegExp(shown));
});

test("docs/cli.md shows what inspect prints", async () => {
  const page = readFileSync(resolve(import.meta.dirname, "../../docs/cli.md"), "utf8");
  const shown = page.split("$ bitnet inspect tiny\n")[1].split("```")[0];
  expect((await bitnet(["inspect", "tiny"])).stdout).toBe(shown);
});
