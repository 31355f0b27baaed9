/** `bitnet generate`: text from a model, as it is written. The text goes to the standard output, all else to the other. */
import { Command } from "commander";
import type { OpenedEngine, SingleOptions } from "../infer/index.ts";
import { type Interruption, listenForInterrupts } from "./support/interrupt.ts";
import { addEngineOptions, type EngineFlags } from "./support/engine-options.ts";
import { countOf } from "./support/format.ts";
import { decimalNumber, modelWords, wholeNumber } from "./support/options.ts";
import {
  addSamplingOptions,
  drawing,
  generationOptions,
  readText,
  refuseGiven,
  type SamplingFlags,
  samplingHelp,
  seedOf,
} from "./support/sampling.ts";
import { describeReport, openForWriting, printText } from "./support/writing.ts";

interface GenerateOptions extends EngineFlags, SamplingFlags {
  model: string;
  prompt?: string;
  file?: string;
  beams: number;
  lengthPenalty: number;
  logprobs: number;
  json?: boolean;
  displayPrompt: boolean;
}

export function generateCommand(): Command {
  const command = new Command("generate")
    .summary("write text with a model")
    .description(
      "Continues a prompt, token by token, with a key-value cache. Options are named as in llama.cpp, and mean the same.",
    )
    .requiredOption("-m, --model <model>", modelWords)
    .option("-p, --prompt <text>", "what to continue; without it, the start of a document")
    .option("-f, --file <path>", "read the prompt from a file");
  addSamplingOptions(command, 128)
    .option("--beams <n>", "search for the likeliest text, following n at once, in place of drawing", wholeNumber(1), 1)
    .option("--length-penalty <x>", "of --beams: the score is divided by length^x", decimalNumber(-100), 1)
    .option("--json", "print text, tokens with log-probabilities, and report as JSON")
    .option("--logprobs <n>", "with --json: the n likeliest tokens of each place too", wholeNumber(0), 0)
    .option("--no-display-prompt", "print only what is written, not the prompt before it");
  return addEngineOptions(command)
    .addHelpText(
      "after",
      `${samplingHelp} docs/generation.md tells more.

Examples:
  bitnet generate -m runs/tiny-bitnet-1 -p "Once upon a time" -n 100
  bitnet generate -m runs/tiny-bitnet-1 -p "Once upon a time" --temp 0
  bitnet generate -m runs/tiny-bitnet-1 --temp 1 --top-k 0 --top-p 1 --min-p 0 --seed 1 > story.txt
  bitnet generate -m MODEL -p "Is water wet? " --grammar 'root ::= "yes" | "no"'
  bitnet generate -m MODEL -p "A cat as JSON: " -j '{"type":"object","properties":{"name":{"type":"string"}}}'
  bitnet generate -m MODEL -p "2 + 2 = " --json --logprobs 5 -n 3`,
    )
    .action(run);
}

async function run(options: GenerateOptions, command: Command): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  if (options.logprobs > 0 && !options.json) throw new UsageError("--logprobs is printed with --json alone; add it");
  const prompt = await readPrompt(options);
  const seed = seedOf(options);
  const chosen = await generationOptions(options, seed, command);
  if (options.beams > 1)
    await refuseGiven(command, [...drawing, ...(options.temp > 0 ? ["temp"] : []), "repeatLastN"], "for --beams");
  else await refuseGiven(command, ["lengthPenalty"], "without --beams");
  const opened = await openForWriting(options.model, options);
  const interruption = listenForInterrupts();
  try {
    const settings = {
      ...chosen,
      stopTokens: options.ignoreEos ? [] : opened.stopTokens,
      startToken: opened.startToken,
      signal: interruption.signal,
      alternatives: options.logprobs,
    };
    if (options.beams > 1) await search(opened, prompt, settings, options);
    else await write(opened, prompt, settings, options, interruption, seed);
  } finally {
    interruption.release();
    opened.close();
  }
}

async function write(
  { engine, tokenizer }: OpenedEngine,
  prompt: string,
  settings: SingleOptions,
  options: GenerateOptions,
  { signal }: Interruption,
  seed: number,
): Promise<void> {
  const { generate } = await import("../infer/index.ts");
  const { systemClock } = await import("../platform/system.ts");
  const generation = generate(engine, tokenizer, prompt, { ...settings, clock: systemClock });
  if (options.json) {
    const tokens = [];
    for await (const token of generation) {
      const named = ({ id, logProbability }: { id: number; logProbability: number }) => ({
        id,
        token: tokenizer.tokenOf(id) ?? null,
        logprob: logProbability,
      });
      const likeliest = options.logprobs > 0 ? { top_logprobs: token.alternatives.map(named) } : {};
      tokens.push({ ...named(token), text: token.text, ...likeliest });
    }
    const text = tokens.map((token) => token.text).join("");
    const drawn = options.temp === 0 ? {} : { seed };
    process.stdout.write(`${JSON.stringify({ prompt, text, tokens, report: generation.report, ...drawn }, null, 2)}\n`);
  } else {
    await printText(generation, options.displayPrompt ? prompt : "");
    const drawn = options.temp === 0 ? "" : `; seed ${seed}`;
    process.stderr.write(`${describeReport(generation.report, engine.contextLength)}${drawn}\n`);
  }
  signal.throwIfAborted();
}

async function search(
  { engine, tokenizer }: OpenedEngine,
  prompt: string,
  settings: SingleOptions,
  options: GenerateOptions,
): Promise<void> {
  const { beamSearch } = await import("../infer/index.ts");
  const { UsageError } = await import("../platform/errors.ts");
  const without = { "--reverse-prompt": options.reversePrompt.length, "--logit-bias": options.logitBias.length };
  const others = {
    "--context-shift": options.contextShift,
    "--draft-max": options.draftMax,
    "--logprobs": options.logprobs,
  };
  const penalties = options.repeatPenalty !== 1 || options.presencePenalty !== 0 || options.frequencyPenalty !== 0;
  const wrong = Object.entries({ ...without, ...others, "a penalty on repeats": penalties }).find(([, set]) => set);
  if (wrong) throw new UsageError(`${wrong[0]} has no meaning for --beams; leave it out`);
  const { beams, lengthPenalty } = options;
  const { grammar, stopTokens, startToken, signal } = settings;
  const maxTokens = Math.min(settings.maxTokens, engine.contextLength);
  const found = await beamSearch(engine, tokenizer, prompt, {
    ...{ beams, lengthPenalty, maxTokens, stopTokens, startToken, signal },
    ...(grammar ? { grammar } : {}),
  });
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ prompt, beams: found }, null, 2)}\n`);
    return;
  }
  process.stdout.write(`${options.displayPrompt ? prompt : ""}${found[0].text}\n`);
  for (const { score, logProbability, ids, finished } of found)
    process.stderr.write(
      `score ${score.toFixed(4)}, ln p ${logProbability.toFixed(4)}, ${countOf(ids.length, "token")}${finished ? "" : ", cut"}\n`,
    );
}

async function readPrompt({ prompt, file }: GenerateOptions): Promise<string> {
  const { UsageError } = await import("../platform/errors.ts");
  if (file === undefined) return prompt ?? "";
  if (prompt !== undefined) throw new UsageError("name either a prompt (-p) or a file with one (-f), not both");
  return readText(file);
}
