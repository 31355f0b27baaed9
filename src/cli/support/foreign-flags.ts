/**
 * Options by the names that other programs give them (llama.cpp, Hugging Face's Trainer, nanoGPT, LitGPT). Where one means
 * exactly what an option here does, it is accepted, unless the command uses the name itself; all others get a line that says
 * what bitnet calls it, or that there is none. Not in the help. Called by program.ts, run.ts and train.ts.
 */
import { type Command, Option } from "commander";
import { UsageError } from "../../platform/errors.ts";

interface ForeignFlag {
  /** With hyphens; underscores are read as such. */
  names: readonly string[];
  /** Options here that mean the same: the first that the command has is meant. Those with a dot are keys of the config. */
  same?: readonly string[];
  /** What to do where nothing means the same. */
  hint?: string;
}

export const foreignFlags: readonly ForeignFlag[] = [
  { names: ["--lr", "--learning-rate"], same: ["--optimizer.learningRate"] },
  { names: ["--weight-decay"], same: ["--optimizer.weightDecay"] },
  { names: ["--warmup", "--warmup-steps"], same: ["--schedule.warmupSteps"] },
  { names: ["--warmup-ratio"], hint: "give --schedule.warmupSteps, a number of steps" },
  { names: ["--batch-size"], same: ["--batch", "--train.batch"] },
  {
    names: ["--micro-batch-size", "--per-device-train-batch-size"],
    same: ["--train.microBatch"],
  },
  {
    names: ["--grad-accum", "--gradient-accumulation-steps", "--grad-accum-steps"],
    hint: "bitnet accumulates gradients over --train.batch / --train.microBatch passes: set --train.microBatch, the sequences at once",
  },
  {
    names: ["--block-size", "--seq-len", "--max-seq-len", "--max-seq-length"],
    same: ["--sequence", "--train.sequence"],
  },
  { names: ["--max-steps", "--max-iters"], same: ["--steps"] },
  { names: ["--num-epochs", "--num-train-epochs"], same: ["--epochs"] },
  { names: ["--out-dir", "--output-dir"], same: ["--run-dir"] },
  { names: ["--temperature"], same: ["--temp"] },
  { names: ["--max-new-tokens", "--max-tokens", "--predict"], same: ["--n-predict"] },
  { names: ["-t"], same: ["--threads"] },
  {
    names: ["-c", "--ctx-size"],
    hint: "bitnet calls it the model's context length, fixed by the model (model.contextLength when it is trained); --context-ring and --context-shift generate past it",
  },
  {
    names: ["-ngl", "--ngl", "--gpu-layers", "--n-gpu-layers"],
    hint: "there is no GPU backend: models run on the CPU, leave it out",
  },
];

/** The name of an option as a word of the command line has it, without a value. */
const nameOf = (word: string) => word.replace(/=.*$/s, "").replaceAll("_", "-");

const entryOf = (word: string) => foreignFlags.find(({ names }) => names.includes(nameOf(word)));

/** Lets a command, and commands in it, take these names for options that it has. */
export function acceptForeignFlags(command: Command): void {
  for (const inner of command.commands) acceptForeignFlags(inner);
  const own = new Set(command.options.flatMap(({ short, long }) => [short, long]));
  for (const { names, same = [] } of foreignFlags) {
    const option = same
      .map((long) => command.options.find((one) => one.long === long))
      .find((one) => one !== undefined);
    if (option) for (const name of names) if (!own.has(name)) alsoCalled(command, option, name);
  }
}

/** A second name of an option: it sets the same value, with the same checks. */
function alsoCalled(command: Command, option: Option, name: string): void {
  if (!name.startsWith("--")) {
    option.short ??= name;
    return;
  }
  for (const spelling of new Set([name, `--${name.slice(2).replaceAll("-", "_")}`])) {
    const alias = new Option(`${spelling}${/ [<[].*$/.exec(option.flags)?.[0] ?? ""}`).hideHelp();
    alias.attributeName = () => option.attributeName();
    alias.parseArg = option.parseArg;
    alias.argChoices = option.argChoices;
    command.addOption(alias);
  }
}

/**
 * A word that is to be a key of the config, as `--lr` for `--optimizer.learningRate`; others stay as they are.
 *
 * @throws UsageError for one that has no such key
 */
export function configWord(word: string): string {
  const entry = entryOf(word);
  if (!entry) return word;
  const key = entry.same?.find((name) => name.includes("."));
  if (!key) throw new UsageError(`unknown option '${nameOf(word)}'; ${hintOf(entry)}`);
  const value = word.indexOf("=");
  return value < 0 ? key : key + word.slice(value);
}

const hintOf = ({ same, hint }: ForeignFlag): string => hint ?? `bitnet calls it ${wordsFor(same!)}`;

const wordsFor = (same: readonly string[]) =>
  same.map((name) => (name.includes(".") ? `${name} (bitnet train)` : name)).join(" or ");

/** What to say of an unknown option, or of words of which `-ngl` is taken for `-n gl`; null: nothing is known. */
export function foreignHint(words: readonly string[]): string | null {
  for (const word of words) {
    const entry = entryOf(word);
    if (entry) return `unknown option '${nameOf(word)}'; ${hintOf(entry)}`;
  }
  return null;
}
