/** `bitnet eval`: loss, perplexity and bits per byte of a model on a text, or known tasks. Definitions: docs/evaluation.md. */
import { Command, Option } from "commander";
import type { LossResult, Progress } from "../eval/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { addTaskOptions, runTasks, type TaskOptions } from "./support/eval-tasks.ts";
import { countOf, formatCount, formatDuration, formatRate, formatTable } from "./support/format.ts";
import { type Interruption, listenForInterrupts } from "./support/interrupt.ts";
import { type OpenedForUse, openModel, tokenizerOf } from "./support/model.ts";
import { refuseOtherOptions } from "./support/eval-options.ts";
import { addEngineOptions } from "./support/engine-options.ts";
import { addOverridesOption } from "./support/model-options.ts";
import { modelWords, wholeNumber } from "./support/options.ts";
import { createProgressLine } from "./support/progress.ts";
import { addTextOptions, openText, type TextFlags } from "./support/text.ts";

interface EvalOptions extends TaskOptions, TextFlags {
  model?: string;
  /** Of -m, the argument, or the option's older name. */
  checkpoint?: string;
  data?: string[];
  batch: number;
  sequence?: number;
  stride?: number;
  maxTokens?: number;
  maskDocuments?: boolean;
  scoreEndOfText: boolean;
  json?: boolean;
}

export function evalCommand(): Command {
  const model = new Command("eval")
    .summary("perplexity on a text; ARC, HellaSwag, HumanEval ...")
    .description(
      "Scores every token of a text once, in order, or runs tasks of lm-evaluation-harness. Compare models of different tokenizers by bits per byte, never by perplexity.",
    )
    .argument("[model]", "the same as -m")
    .option("-m, --model <model>", modelWords)
    .addOption(new Option("--checkpoint <model>", "the same as -m").hideHelp());
  const command = addTextOptions(model)
    .option(
      "--batch <n>",
      "sequences, or items of a task, at once: memory and speed, not the result",
      wholeNumber(1),
      8,
    )
    .option("--sequence <n>", "tokens a window; default: the model's context", wholeNumber(1))
    .option("--stride <n>", "tokens between windows; default: the window, so that none overlap", wholeNumber(1))
    .option("--max-tokens <n>", "score only the first n tokens", wholeNumber(1))
    .option("--mask-documents", "attention stops at a document's start, as in a training with data.maskDocuments")
    .option("--no-score-end-of-text", "leave out the end-of-text tokens behind documents")
    .option("--cache-dir <folder>", "where encoded text is kept", "runs/cache")
    .option("--json", "print the result as JSON")
    .option("-o, --output <file>", "write the result there as JSON");
  return addEngineOptions(addOverridesOption(addTaskOptions(command)))
    .addHelpText(
      "after",
      `
Each token is predicted from those before it in its window; a stride below the window gives every token more to see, and
takes as many times longer. End-of-text tokens are scored, but stand for no byte. docs/evaluation.md defines each number.

Examples:
  bitnet eval -m runs/tiny-bitnet-1 --data held-out.txt
  bitnet eval -m runs/tiny-bitnet-1 --data held-out.txt --stride 64 --json
  bitnet eval -m runs/tiny-bitnet-1 --data c4-validation.00000-of-00008.json.gz --format jsonl
  bitnet eval -m runs/tiny-bitnet-1 --data wiki.test.raw --format text --separator none --stride 128
  bitnet eval -m runs/tiny-bitnet-1 --data held-out.txt --overrides overrides.yaml
  bitnet eval -m runs/tiny-bitnet-1 --task wikitext --data wiki.valid.raw
  bitnet eval -m runs/tiny-bitnet-1 --task arc_easy,hellaswag --task-data tasks/ --limit 500 -o results.json
  bitnet eval model.gguf --task all --task-data tasks/
  bitnet eval -m runs/tiny-bitnet-1 --task piqa --num-fewshot 5 --log-samples samples/
  bitnet eval -m runs/tiny-bitnet-1 --task humaneval --task-data HumanEval.jsonl.gz --allow-code-execution`,
    )
    .action(run);
}

async function run(argument: string | undefined, given: EvalOptions, command: Command): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const named = [argument, given.model, given.checkpoint].filter((name) => name !== undefined);
  if (named.length > 1) throw new UsageError(`eval takes one model, but ${named.join(" and ")} came`);
  const options: EvalOptions = { ...given, checkpoint: named[0] };
  if (options.task) {
    return runTasks({ ...options, task: options.task }, command);
  }
  await refuseOtherOptions(command, []);
  return runText(options);
}

/** Where `checkpoint` and `data` are there. */
type TextOptions = EvalOptions & Required<Pick<EvalOptions, "checkpoint" | "data">>;

async function runText(given: EvalOptions): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const { systemClock } = await import("../platform/system.ts");
  const { checkpoint, data } = given;
  if (checkpoint === undefined) throw new UsageError("say which model, with -m MODEL");
  if (data === undefined)
    throw new UsageError("say what to score: a text with --data PATH, or a task with --task NAME");
  const options: TextOptions = { ...given, checkpoint, data };
  const interruption = listenForInterrupts();
  const opened = await openModel(checkpoint, options);
  const progress = createProgressLine("evaluating");
  try {
    const tokenizer = tokenizerOf(opened);
    const start = systemClock.monotonicMs();
    const onProgress = ({ tokens, totalTokens }: Progress) => {
      const rate = (1000 * tokens) / Math.max(1, systemClock.monotonicMs() - start);
      const left = totalTokens === undefined ? "" : `, ${formatDuration((1000 * (totalTokens - tokens)) / rate)} left`;
      progress.update(tokens, totalTokens ?? tokens, formatRate(rate, "tokens") + left);
    };
    const result = await scoreText(opened, tokenizer, options, interruption, onProgress);
    progress.close();
    await print(opened, options, result, systemClock.monotonicMs() - start);
  } finally {
    progress.close();
    interruption.release();
    opened.close();
  }
}

async function scoreText(
  { model }: OpenedForUse,
  tokenizer: Tokenizer,
  options: TextOptions,
  { signal }: Interruption,
  onProgress: (progress: Progress) => void,
): Promise<LossResult> {
  const { evaluateLoss } = await import("../eval/index.ts");
  const { countTextBytes } = await import("../train/text-bytes.ts");
  const tokens = await openText(tokenizer, options, signal);
  try {
    const { batch, sequence, stride, maxTokens, maskDocuments, scoreEndOfText } = options;
    const sizes = { batch, sequence, stride, maxTokens, maskDocuments, scoreEndOfText };
    const part = maxTokens !== undefined && maxTokens < tokens.tokenCount;
    const textBytes = part ? countTextBytes(tokenizer, tokens, 0, maxTokens) : undefined;
    return await evaluateLoss(model, tokens, { ...sizes, textBytes, signal, onProgress });
  } finally {
    tokens.close();
  }
}

async function print(opened: OpenedForUse, options: TextOptions, result: LossResult, elapsedMs: number): Promise<void> {
  const { folder, step, model } = opened;
  const { describeModel } = await import("../model/index.ts");
  const { backend } = opened.runtime;
  const tokensPerSecond = (1000 * result.tokens) / elapsedMs;
  const about = {
    checkpoint: folder,
    step,
    variant: model.config.variant,
    data: options.data,
    backend: { name: backend.name, isa: backend.isa, threads: backend.threads },
    elapsed_ms: Math.round(elapsedMs),
    tokens_per_sec: Number(tokensPerSecond.toPrecision(6)),
  };
  const json = `${JSON.stringify({ ...snakeKeys(result), ...about }, null, 2)}\n`;
  if (options.output !== undefined) {
    const { writeAtomically } = await import("../platform/files.ts");
    writeAtomically(options.output, json);
  }
  if (options.json) {
    process.stdout.write(json);
    return;
  }
  const rows: string[][] = [
    ["model", `${folder}${step === null ? "" : `, step ${formatCount(step)}`} (${describeModel(model.config)})`],
    ["data", options.data.join(", ")],
    ...lossRows(result),
    ["time", `${formatDuration(elapsedMs)}, ${formatRate(tokensPerSecond, "tokens")}`],
  ];
  process.stdout.write(formatTable(rows));
}

function lossRows(result: LossResult): string[][] {
  const { tokens, endOfTextTokens, bytes, documents, sequence, stride, bitsPerByte, bytePerplexity } = result;
  const size = bytes === null ? "" : `; ${countOf(bytes, "byte")}`;
  const many = documents === null ? "" : ` in ${countOf(documents, "document")}`;
  return [
    ["tokens", `${formatCount(tokens)}, of them ${formatCount(endOfTextTokens)} end-of-text${size}${many}`],
    ["windows", `${countOf(sequence, "token")}, ${formatCount(stride)} apart`],
    ["loss", `${result.lossNats.toFixed(4)} nats per token`],
    ["perplexity", `${result.perplexity.toPrecision(5)} per token`],
    ["byte perplexity", bytePerplexity === null ? "unknown: so are the text's bytes" : bytePerplexity.toPrecision(5)],
    ["bits per byte", bitsPerByte === null ? "unknown: so are the text's bytes" : bitsPerByte.toFixed(4)],
  ];
}

/** Names as other tools write them: lossNats is "loss", bitsPerByte "bits_per_byte". */
function snakeKeys(result: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(result).map(([key, value]) => [
      key === "lossNats" ? "loss" : key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`),
      value,
    ]),
  );
}
