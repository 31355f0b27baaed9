/** Options of the commands that write: the sampling chain, what ends a text, grammars; named as in llama.cpp. */
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Grammar, SingleOptions } from "../../infer/index.ts";
import { decimalNumber, wholeNumber } from "./options.ts";

export interface SamplingFlags {
  nPredict: number;
  temp: number;
  topK: number;
  topP: number;
  minP: number;
  typical: number;
  repeatPenalty: number;
  presencePenalty: number;
  frequencyPenalty: number;
  repeatLastN: number;
  logitBias: [id: number, bias: number][];
  seed?: number;
  ignoreEos?: boolean;
  reversePrompt: string[];
  grammar?: string;
  grammarFile?: string;
  jsonSchema?: string;
  jsonSchemaFile?: string;
  contextShift?: boolean;
  keep: number;
  draftMax: number;
}

const collect = <T>(value: T, before: T[] | undefined): T[] => [...(before ?? []), value];

/** llama.cpp's TOKEN_ID(+/-)BIAS: 15043+1, 15043-inf. */
function parseBias(word: string, before: SamplingFlags["logitBias"]): SamplingFlags["logitBias"] {
  const match = /^(\d+)([+-])(inf|\d+(?:\.\d+)?|\.\d+)$/.exec(word);
  if (!match || (match[2] === "+" && match[3] === "inf"))
    throw new InvalidArgumentError("Expected a token's number, + or -, and a number or inf, as in 15043-1.5.");
  const size = match[3] === "inf" ? Number.POSITIVE_INFINITY : Number(match[3]);
  return collect<[number, number]>([Number(match[1]), match[2] === "-" ? -size : size], before);
}

/** @param nPredict tokens by default; -1: until the context is full */
export function addSamplingOptions(command: Command, nPredict: number): Command {
  return command
    .option("-n, --n-predict <n>", "tokens to write at most; -1: until the context is full", wholeNumber(-1), nPredict)
    .option("--temp <t>", "temperature; 0: the likeliest token, always", decimalNumber(0), 0.8)
    .option("--top-k <k>", "draw from the k likeliest tokens; 0: all", wholeNumber(0), 40)
    .option("--top-p <p>", "draw from the likeliest tokens that make up p; 1: all", decimalNumber(0, 1), 0.95)
    .option("--min-p <p>", "drop tokens below p times the likeliest one; 0: none", decimalNumber(0, 1), 0.05)
    .option("--typical <p>", "draw from the most typical tokens that make up p; 1: all", decimalNumber(0, 1), 1)
    .option("--repeat-penalty <x>", "divide logits of recent tokens by x; 1: off", decimalNumber(1e-9), 1)
    .option("--presence-penalty <x>", "take x off logits of recent tokens", decimalNumber(-1e9), 0)
    .option("--frequency-penalty <x>", "the same, as often as each came", decimalNumber(-1e9), 0)
    .option("--repeat-last-n <n>", "tokens that count as recent; -1: all", wholeNumber(-1), 64)
    .addOption(
      new Option("-l, --logit-bias <id+x>", "add x to a token's logit: 15043+1, 15043-inf; may come often")
        .argParser(parseBias)
        .default([], "none"),
    )
    .option("-s, --seed <n>", "of the draws; without it, another one each time, told at the end", wholeNumber(0))
    .option("--ignore-eos", "go on past the end of the text")
    .addOption(
      new Option("-r, --reverse-prompt <text>", "end the text before this; may come often")
        .argParser(collect<string>)
        .default([], "none"),
    )
    .option("--grammar <gbnf>", "write only what this grammar describes (llama.cpp's GBNF)")
    .option("--grammar-file <path>", "the same, from a file")
    .option("-j, --json-schema <json>", "write only JSON that this schema holds for; {}: any JSON")
    .option("--json-schema-file <path>", "the same, from a file")
    .option("--context-shift", "go on where the context is full: half of it is forgotten")
    .option("--keep <n>", "prompt tokens that are not forgotten then; -1: all", wholeNumber(-1), 0)
    .option("--draft-max <n>", "check up to n tokens at once that followed the same words before", wholeNumber(0), 0);
}

export const samplingHelp = `
Sampling, in this order: logit bias, penalties, grammar, top-k, typical, top-p, min-p, temperature. The text ends where the
model ends it, before a reverse prompt, where the grammar's text is complete, after n tokens, or where the context is full.`;

/** Chosen here, and told, so that a text can be had again. */
export const seedOf = ({ seed }: Pick<SamplingFlags, "seed">): number => seed ?? Math.floor(Math.random() * 2 ** 32);

/** Which of these options were given by hand, as words. */
const givenOf = (command: Command, names: readonly string[]): string[] =>
  command.options
    .filter((option) => names.includes(option.attributeName()))
    .filter((option) => command.getOptionValueSource(option.attributeName()) === "cli")
    .map((option) => option.long!);

/** Draws: what no search and no greedy text makes. */
export const drawing = ["topK", "topP", "minP", "typical", "seed"] as const;

/** @throws UsageError for options that would change nothing, given the others */
async function refuseIdle(command: Command, flags: SamplingFlags & { contextRing?: boolean }): Promise<void> {
  const { UsageError } = await import("../../platform/errors.ts");
  if (flags.contextShift && flags.contextRing)
    throw new UsageError("--context-shift and --context-ring are two ways past the context's end; name one");
  if (!flags.contextShift && givenOf(command, ["keep"]).length > 0)
    throw new UsageError("--keep says what --context-shift does not forget; give that too");
}

/** @throws UsageError if an option of these names was given, which has no meaning for what was asked */
export async function refuseGiven(command: Command, names: readonly string[], what: string): Promise<void> {
  const { UsageError } = await import("../../platform/errors.ts");
  const given = givenOf(command, names);
  if (given.length > 0) throw new UsageError(`${given[0]} has no meaning ${what}; leave it out`);
}

/**
 * The flags as the library has them, but for what comes of the model (stopTokens, startToken).
 *
 * @param command whose flags they are: it knows which were given
 */
export async function generationOptions(
  flags: SamplingFlags & { contextRing?: boolean },
  seed: number,
  command: Command,
): Promise<SingleOptions> {
  await refuseIdle(command, flags);
  const grammar = await grammarOf(flags);
  return {
    maxTokens: flags.nPredict < 0 ? Number.MAX_SAFE_INTEGER : flags.nPredict,
    temperature: flags.temp,
    topK: flags.topK,
    topP: flags.topP,
    minP: flags.minP,
    typicalP: flags.typical,
    repeatPenalty: flags.repeatPenalty,
    presencePenalty: flags.presencePenalty,
    frequencyPenalty: flags.frequencyPenalty,
    repeatLastN: flags.repeatLastN,
    logitBias: flags.logitBias,
    seed,
    stopStrings: flags.reversePrompt,
    ...(grammar ? { grammar } : {}),
    contextEnd: flags.contextShift ? "slide" : "stop",
    keepTokens: flags.keep,
    draftTokens: flags.draftMax,
  };
}

async function grammarOf(flags: SamplingFlags): Promise<Grammar | null> {
  const { FormatError, UsageError } = await import("../../platform/errors.ts");
  const names = ["grammar", "grammarFile", "jsonSchema", "jsonSchemaFile"] as const;
  const given = names.filter((name) => flags[name] !== undefined);
  if (given.length === 0) return null;
  const flagOf = (name: string) => `--${name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
  if (given.length > 1) throw new UsageError(`name one of ${given.map(flagOf).join(" and ")}, not both`);
  const { Grammar, jsonSchemaToGbnf } = await import("../../infer/index.ts");
  const [name] = given;
  const text = name.endsWith("File") ? await readText(flags[name]!) : flags[name]!;
  if (name.startsWith("grammar")) return new Grammar(text);
  try {
    return new Grammar(jsonSchemaToGbnf(JSON.parse(text)));
  } catch (cause) {
    if (cause instanceof SyntaxError)
      throw new FormatError(`${flagOf(name)}: is not JSON (${cause.message})`, { cause });
    throw cause;
  }
}

/** A file's text. @throws FileError, DataError where it is not UTF-8 */
export async function readText(path: string): Promise<string> {
  const { readWhole } = await import("../../platform/files.ts");
  const { DataError } = await import("../../platform/errors.ts");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readWhole(path, 2 ** 26));
  } catch (cause) {
    if (cause instanceof TypeError) throw new DataError(`${path}: is not UTF-8 text`, { cause });
    throw cause;
  }
}
