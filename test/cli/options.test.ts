// Every option of every command: read by the command that has it, and, where a command does several things, applied or refused
// by name in each. Oracles: the commands' own option lists; their sources, in which an option that is only declared shows; the
// tables of eval and inspect.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import type { Command, Option } from "commander";
import { afterAll, describe, expect, test } from "vitest";
import { createProgram, entries } from "../../src/cli/program.ts";
import { evalOptions, type EvalKind, kindsOf, refuseOtherOptions } from "../../src/cli/support/eval-options.ts";
import { inspectCommand, inspectOptions } from "../../src/cli/inspect.ts";
import { bitnet } from "../support/cli.ts";

const cli = resolve(import.meta.dirname, "../../src/cli");
const folder = mkdtempSync(join(tmpdir(), "bitnet-options-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function commandOf(name: string): Promise<Command> {
  const program = await createProgram([name]);
  return program.commands.find((command) => command.name() === name)!;
}
const withSubcommands = (command: Command): Command[] => [command, ...command.commands.flatMap(withSubcommands)];

/** A command's file and what it imports from src/cli, types and strings of declarations left out. */
function sourceOf(file: string, seen = new Set<string>()): string {
  if (seen.has(file) || !existsSync(file)) return "";
  seen.add(file);
  const text = readFileSync(file, "utf8");
  const imported = [...text.matchAll(/(?:from|import\() ?"(\.[^"]+)"/g)].map(([, path]) =>
    resolve(dirname(file), path),
  );
  const own = text
    // Members of interfaces: `name?: type;`
    .replace(/^ {2}\w+\??: [^;{}()]*;$/gm, "")
    .replace(/\.(addO|requiredO|o)ption\([\s\S]*?\)(?=\n|;|\.)/g, "");
  return (
    own +
    imported
      .filter((path) => path.startsWith(cli))
      .map((path) => sourceOf(path, seen))
      .join("")
  );
}

const isRead = (source: string, option: Option): boolean => {
  const name = option.attributeName();
  // options.name, { name }, { name: other }, "name" in a list of names, name = default in a pattern
  return new RegExp(`\\.${name}\\b|[{,]\\s*${name}\\b\\s*[,:}=]|"${name}"`).test(source);
};

test.for(entries.map(({ name }) => name))("%s reads each option that it has", async (name) => {
  const file = [join(cli, `${name}.ts`), join(cli, name, `${name}.ts`)].find(existsSync)!;
  const source = sourceOf(file);
  const idle = withSubcommands(await commandOf(name)).flatMap((command) =>
    command.options.filter((option) => !isRead(source, option)).map((option) => `${command.name()} ${option.long}`),
  );
  expect(idle).toEqual([]);
});

/** Words that set an option. */
function wordsFor(option: Option): string[] {
  if (option.isBoolean() || option.negate) return [option.long!];
  const value = option.argChoices?.[0] ?? (option.long === "--program-memory" ? "64" : "1");
  return [option.long!, value];
}

describe("eval", () => {
  const tasks: Record<EvalKind, string[]> = {
    "a text": [],
    "tasks of choices": ["piqa"],
    wikitext: ["wikitext"],
    humaneval: ["humaneval"],
  };
  /** Without what only says that it is gone. */
  const liveOptions = async () => (await commandOf("eval")).options.filter(({ long }) => long !== "--python");
  test("an option that is gone says what is in its place", async () => {
    const command = await commandOf("eval");
    command.exitOverride().configureOutput({ writeErr: () => {} });
    await expect(command.parseAsync(["--python", "python3"], { from: "user" })).rejects.toThrow(
      "compiled to WebAssembly",
    );
  });
  test("the tables name its options, each in one at least", async () => {
    const attributes = (await liveOptions()).map((option) => option.attributeName());
    const named = new Set<string>(Object.values(evalOptions).flat());
    expect([...named].filter((name) => !attributes.includes(name))).toEqual([]);
    expect(attributes.filter((name) => !named.has(name) && !["startToken", "contextRing"].includes(name))).toEqual([]);
  });

  test.for(Object.keys(tasks) as EvalKind[])(
    "%s: an option is taken as its table says, or refused by name",
    async (kind) => {
      expect(kindsOf(tasks[kind])).toEqual([kind]);
      for (const option of await liveOptions()) {
        const command = await commandOf("eval");
        command.exitOverride().action(() => {});
        await command.parseAsync(wordsFor(option), { from: "user" });
        const refusing = refuseOtherOptions(command, tasks[kind]);
        if ((evalOptions[kind] as readonly string[]).includes(option.attributeName())) await refusing;
        else {
          // A hidden one is another name of an option: that is named (support/foreign-flags.ts).
          const of = command.options.find((one) => one.attributeName() === option.attributeName())!;
          const { long } = option.hidden ? of : option;
          await expect(refusing, option.long).rejects.toThrow(`${long} has no meaning for`);
        }
      }
    },
  );
});

describe("inspect", () => {
  const config = join(folder, "config.yaml");
  writeFileSync(config, "preset: nano\n");
  const subjects = { presets: "presets", "a preset or config": config } as const;
  test.for(Object.entries(subjects))(
    "%s: an option is taken as the table says, or refused by name",
    async ([kind, what]) => {
      const known = inspectOptions[kind as keyof typeof subjects] as readonly string[];
      for (const option of inspectCommand().options.filter((one) => !known.includes(one.attributeName()))) {
        const command = inspectCommand().exitOverride();
        await expect(command.parseAsync([what, ...wordsFor(option)], { from: "user" }), option.long).rejects.toThrow(
          `${option.long} has no meaning for ${kind}`,
        );
      }
    },
  );
});

test("a start token is refused where an export has no place for it, and for a text", async () => {
  const refusals: [string[], string][] = [
    [
      ["export", "nowhere", "--format", "onnx", "--no-start-token"],
      "--no-start-token has no meaning for --format onnx",
    ],
    [
      ["export", "nowhere", "--format", "compact", "--start-token", "<s>"],
      "--start-token has no meaning for --format compact",
    ],
    [["eval", "-m", "nowhere", "--data", "text.txt", "--context-ring"], "--context-ring has no meaning for a text"],
    [["eval", "-m", "nowhere", "--data", "text.txt", "--no-start-token"], "has no meaning for a text"],
    [["bench", "-m", "nano", "--pre", "gpt-2"], "--pre is of GGUF files"],
  ];
  for (const [args, message] of refusals) {
    const { code, stderr } = await bitnet(args, { cwd: folder });
    expect(code, args.join(" ")).toBe(2);
    expect(stderr).toContain(message);
  }
});
