/** `bitnet generate`: text from a model, as it is written. The text goes to the standard output, all else to the other. */
import { Command } from "commander";
import type { FinishReason, GenerationReport } from "../infer/index.ts";
import { formatCount, formatRate } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { openModel, startTokenOf, tokenizerOf } from "./support/model.ts";
import { addBackendOptions, type BackendOptions, decimalNumber, wholeNumber } from "./support/options.ts";

interface GenerateOptions extends BackendOptions {
  model: string;
  prompt?: string;
  file?: string;
  nPredict: number;
  temp: number;
  topK: number;
  topP: number;
  minP: number;
  repeatPenalty: number;
  repeatLastN: number;
  seed?: number;
  ignoreEos?: boolean;
  displayPrompt: boolean;
}

export function generateCommand(): Command {
  const command = new Command("generate")
    .summary("write text with a model")
    .description(
      "Continues a prompt, token by token, with a key-value cache. Options are named as in llama.cpp, and mean the same.",
    )
    .requiredOption("-m, --model <folder>", "checkpoint, run folder (its newest checkpoint), or model folder")
    .option("-p, --prompt <text>", "what to continue; without it, the start of a document")
    .option("-f, --file <path>", "read the prompt from a file")
    .option("-n, --n-predict <n>", "tokens to write at most; -1: until the context is full", wholeNumber(-1), 128)
    .option("--temp <t>", "temperature; 0: the likeliest token, always", decimalNumber(0), 0.8)
    .option("--top-k <k>", "draw from the k likeliest tokens; 0: all", wholeNumber(0), 40)
    .option("--top-p <p>", "draw from the likeliest tokens that make up p; 1: all", decimalNumber(0, 1), 0.95)
    .option("--min-p <p>", "drop tokens below p times the likeliest one; 0: none", decimalNumber(0, 1), 0.05)
    .option("--repeat-penalty <x>", "divide logits of recent tokens by x; 1: off", decimalNumber(1e-9), 1)
    .option("--repeat-last-n <n>", "tokens that count as recent; -1: all", wholeNumber(-1), 64)
    .option("-s, --seed <n>", "of the draws; without it, another one each time, told at the end", wholeNumber(0))
    .option("--ignore-eos", "go on past the end of the text")
    .option("--no-display-prompt", "print only what is written, not the prompt before it");
  return addBackendOptions(command)
    .addHelpText(
      "after",
      `
The text ends where the model ends it, after n tokens, or where the model's context is full: nothing is shifted out.
Sampling: repeat penalty, top-k, top-p, min-p, temperature, in this order. docs/cli.md tells more.

Examples:
  bitnet generate -m runs/tiny-bitnet-1 -p "Once upon a time" -n 100
  bitnet generate -m runs/tiny-bitnet-1 -p "Once upon a time" --temp 0
  bitnet generate -m runs/tiny-bitnet-1 --temp 1 --top-k 0 --top-p 1 --min-p 0 --seed 1 > story.txt`,
    )
    .action(run);
}

async function run(options: GenerateOptions): Promise<void> {
  const { generate } = await import("../infer/index.ts");
  const { createRandom } = await import("../platform/random.ts");
  const { systemClock } = await import("../platform/system.ts");
  const prompt = await readPrompt(options);
  // Chosen here, and printed, so that a text can be had again.
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
  const opened = await openModel(options.model, options);
  const interruption = listenForInterrupts();
  try {
    const { model } = opened;
    const tokenizer = tokenizerOf(opened);
    const { temp, topK, topP, minP, repeatPenalty, repeatLastN, nPredict } = options;
    const generation = generate(model, tokenizer, prompt, {
      maxTokens: nPredict < 0 ? Number.MAX_SAFE_INTEGER : nPredict,
      random: createRandom(seed),
      ...{ temperature: temp, topK, topP, minP, repeatPenalty, repeatLastN },
      ...(options.ignoreEos ? { stopTokens: [] } : {}),
      startToken: startTokenOf(opened, tokenizer),
      signal: interruption.signal,
      clock: systemClock,
    });
    let last = "";
    const write = (text: string) => {
      if (text === "") return;
      process.stdout.write(text);
      last = text;
    };
    if (options.displayPrompt) write(prompt);
    for await (const { text } of generation) write(text);
    if (!last.endsWith("\n")) process.stdout.write("\n");
    const drawn = temp === 0 ? "" : `; seed ${seed}`;
    process.stderr.write(`${describeReport(generation.report, model.config.contextLength)}${drawn}\n`);
    interruption.signal.throwIfAborted();
  } finally {
    interruption.release();
    opened.close();
  }
}

async function readPrompt({ prompt, file }: GenerateOptions): Promise<string> {
  const { UsageError } = await import("../platform/errors.ts");
  if (file === undefined) return prompt ?? "";
  if (prompt !== undefined) throw new UsageError("name either a prompt (-p) or a file with one (-f), not both");
  const { readWhole } = await import("../platform/files.ts");
  const { DataError } = await import("../platform/errors.ts");
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(readWhole(file, 2 ** 26));
  } catch (cause) {
    if (cause instanceof TypeError) throw new DataError(`${file}: is not UTF-8 text`, { cause });
    throw cause;
  }
}

function describeReport(report: GenerationReport, contextLength: number): string {
  const tokens = (n: number) => `${formatCount(n)} ${n === 1 ? "token" : "tokens"}`;
  const rate = (perSecond: number | null) => (perSecond === null ? "" : ` at ${formatRate(perSecond, "tokens")}`);
  const reasons: Record<FinishReason, string> = {
    "end-of-text": "the model ended the text",
    length: "as many as asked for",
    context: `the model's context of ${formatCount(contextLength)} tokens is full`,
    aborted: "interrupted",
  };
  const { promptTokens, promptTokensPerSecond, generatedTokens, generationTokensPerSecond, finish } = report;
  return `prompt ${tokens(promptTokens)}${rate(promptTokensPerSecond)}; wrote ${tokens(generatedTokens)}${rate(
    generationTokensPerSecond,
  )}: ${reasons[finish ?? "aborted"]}`;
}
