/** Options that several commands share, and how words of the command line become numbers. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../../platform/errors.ts";
import type { BackendChoice } from "../../backends/index.ts";
import { backendNames } from "../../backends/registry.ts";
import { parseShare, type Share } from "../../data/share.ts";

/** What a command takes as a model, for its help. */
export const modelWords =
  "a run's folder (its newest checkpoint), a folder of runs (its newest run), a checkpoint, a model folder, a .gguf or .bitnet file, or org/name on the hub";

/** Parses a whole number from `least` on. For an option's third argument. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): (word: string) => number {
  return (word) => {
    const value = /^-?\d+$/.test(word) ? Number(word) : Number.NaN;
    if (!(value >= least && value <= most)) {
      const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
      throw new InvalidArgumentError(`Expected a whole number ${range}.`);
    }
    return value;
  };
}

/** Parses a number from `least` to `most`. */
export function decimalNumber(least: number, most = Number.POSITIVE_INFINITY): (word: string) => number {
  return (word) => {
    const value = word.trim() === "" ? Number.NaN : Number(word);
    if (!(Number.isFinite(value) && value >= least && value <= most)) {
      const range = most === Number.POSITIVE_INFINITY ? `from ${least}` : `from ${least} to ${most}`;
      throw new InvalidArgumentError(`Expected a number ${range}.`);
    }
    return value;
  };
}

/** --share I/N: a machine's part of the work. */
export function shareOption(help: string): Option {
  return new Option("--share <I/N>", help).argParser(readShare);
}

export function readShare(word: string): Share {
  try {
    return parseShare(word);
  } catch {
    throw new InvalidArgumentError("Expected I/N with I below N, such as 0/4.");
  }
}

/** What `addBackendOptions` adds to a command's options. */
export interface BackendOptions {
  backend: BackendChoice["backend"];
  isa?: string;
  threads?: number;
}

/** --backend, --isa and --threads. */
export function addBackendOptions(command: Command): Command {
  return command
    .addOption(
      new Option("--backend <name>", "where to compute; auto: native if its addon is built, else wasm")
        .choices(backendNames)
        .default("auto"),
    )
    .option("--isa <name>", "instruction set, such as avx2; else the best that the processor has")
    .option("--threads <n>", "threads; else one for each processor", wholeNumber(1, 256));
}

/** The backend's options alone, of a command that has others too. */
export const readBackendOptions = ({ backend, isa, threads }: BackendOptions): BackendOptions => ({
  backend,
  ...(isa === undefined ? {} : { isa }),
  ...(threads === undefined ? {} : { threads }),
});

export const backendChoice = ({ backend, isa, threads }: BackendOptions): BackendChoice => ({ backend, isa, threads });

/** The long names of the options given by hand that are none of `known` (attributes). */
export const givenBeside = (command: Command, known: readonly string[]): { long: string; attribute: string }[] =>
  command.options
    // Of --start-token and --no-start-token the one that was given.
    .filter((option) => option.negate === (command.getOptionValue(option.attributeName()) === false))
    .map((option) => ({ long: option.long!, attribute: option.attributeName() }))
    .filter(({ attribute }) => !known.includes(attribute) && command.getOptionValueSource(attribute) === "cli");

/** @throws UsageError for an option given by hand that means nothing for what was asked */
export function refuseBeside(command: Command, known: readonly string[], what: string): void {
  const [wrong] = givenBeside(command, known);
  if (wrong) throw new UsageError(`${wrong.long} has no meaning for ${what}; leave it out`);
}
