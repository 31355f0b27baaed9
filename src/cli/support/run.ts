/**
 * Runs the program: the one place where errors become a line and an exit code, and where the process ends.
 *
 *   0 done, 1 failed, 2 called wrongly, 130 Ctrl-C (143 SIGTERM)
 */
import { type Command, CommanderError } from "commander";
import * as errors from "../../platform/errors.ts";
import { toFileError } from "../../platform/file-error.ts";
import { foreignHint } from "./foreign-flags.ts";
import { extensionsVariable, takeExtensions } from "./extensions.ts";
import { Interrupted } from "./interrupt.ts";

const expected: readonly (abstract new (...args: never) => Error)[] = Object.values(errors);

/** Thrown by `--version` amid parsing; what it prints takes a moment to find out. */
class VersionAsked extends Error {}

/** @param create the program for these arguments */
export async function runProgram(
  create: (args: readonly string[]) => Promise<Command>,
  args: readonly string[],
): Promise<never> {
  // A reader that has gone (`| head`) is no error of ours; a full disk behind `>` is.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    complain((toFileError("write", "standard output", error) as Error).message);
    process.exit(1);
  });
  process.stderr.on("error", () => {});

  // A command that ends early but well (an interrupted training, saved) says so by process.exitCode.
  const code = (await run(create, args)) || Number(process.exitCode ?? 0);
  // What was written to a pipe may still be on its way.
  await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
  process.exit(code);
}

async function run(create: (args: readonly string[]) => Promise<Command>, words: readonly string[]): Promise<number> {
  let args = words;
  try {
    const { rest, modules } = takeExtensions(words, process.env[extensionsVariable]);
    args = rest;
    if (modules.length > 0) await (await import("../../extensions/index.ts")).loadExtensions(modules);
    const program = throwErrors(await create(args));
    program.on("option:version", () => {
      throw new VersionAsked();
    });
    if (args.length === 0) program.outputHelp();
    else await program.parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof VersionAsked) {
      const { versionText } = await import("./version.ts");
      process.stdout.write(await versionText());
      return 0;
    }
    const { message, code } = describeError(error, args);
    if (message) complain(message);
    if (code === 1 || code === 2) explain(error, args.includes("--debug"), message);
    return code;
  }
}

/** Commander's own errors are thrown, not printed: this file words them. */
export function throwErrors(command: Command): Command {
  command.exitOverride().configureOutput({ outputError: () => {} });
  for (const inner of command.commands) throwErrors(inner);
  return command;
}

const complain = (message: string) => process.stderr.write(`bitnet: ${message}\n`);

/**
 * What to print of an error, and the exit code.
 *
 * @param args the words of the command line, where they are known
 */
export function describeError(error: unknown, args: readonly string[] = []): { message: string; code: number } {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return { message: "", code: 0 };
    // A command of commands without one: its help was printed, and says all.
    if (error.code === "commander.help") return { message: "", code: 2 };
    const unknown = /unknown option '([^']+)'/.exec(error.message)?.[1];
    // Commander takes -ngl for -n with the value "gl".
    const words =
      unknown !== undefined ? [unknown] : args.filter((word) => word === "-ngl" && / 'gl'/.test(error.message));
    return { message: foreignHint(words) ?? oneLine(error.message.replace(/^error: /, "")), code: 2 };
  }
  if (error instanceof Interrupted) return { message: error.message, code: error.exitCode };
  if (error instanceof errors.UsageError) return { message: oneLine(error.message), code: 2 };
  if (expected.some((known) => error instanceof known)) return { message: oneLine((error as Error).message), code: 1 };
  const { path } = error as NodeJS.ErrnoException;
  if (path) {
    const file = toFileError("use", path, error);
    if (file instanceof errors.FileError) return { message: oneLine(file.message), code: 1 };
  }
  return { message: oneLine(error instanceof Error ? error.message : String(error)), code: 1 };
}

const oneLine = (text: string) => text.replace(/\s+/g, (run) => (run.includes("\n") ? " " : run)).trim();

/** With --debug the stack and the causes; without it a hint, where the error is none that we foresaw. */
function explain(error: unknown, debug: boolean, message: string): void {
  if (debug) {
    for (let e: unknown = error; e instanceof Error; e = e.cause) process.stderr.write(`${e.stack ?? e.message}\n`);
    return;
  }
  const foreseen =
    error instanceof CommanderError ||
    expected.some((known) => error instanceof known) ||
    message !== oneLine(error instanceof Error ? error.message : String(error));
  if (!foreseen) complain("this was not foreseen; run the same again with --debug to see where it arose");
}
