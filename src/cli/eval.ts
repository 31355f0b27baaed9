/** `bitnet eval`: loss, perplexity and bits per byte of a model on a text, or a known task. Definitions: docs/evaluation.md. */
import { Command, Option } from "commander";
import type { TokenStream } from "../data/index.ts";
import type { LossResult, Progress, WikiTextResult } from "../eval/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { formatCount, formatDuration, formatRate, formatTable } from "./support/format.ts";
import { type Interruption, listenForInterrupts } from "./support/interrupt.ts";
import { type OpenedForUse, openModel, startTokenOf, tokenizerOf } from "./support/model.ts";
import { addBackendOptions, type BackendOptions, wholeNumber } from "./support/options.ts";
import { createProgressLine } from "./support/progress.ts";

interface EvalOptions extends BackendOptions {
  checkpoint: string;
  data: string[];
  task?: "wikitext";
  split: "train" | "valid";
  separator?: string;
  field?: string;
  batch: number;
  sequence?: number;
  stride?: number;
  maxTokens?: number;
  maskDocuments?: boolean;
  scoreEndOfText: boolean;
  cacheDir: string;
  json?: boolean;
}

export function evalCommand(): Command {
  const command = new Command("eval")
    .summary("loss, perplexity and bits per byte of a model on a text")
    .description(
      "Scores every token of a text once, in order. Compare models of different tokenizers by bits per byte, never by perplexity.",
    )
    .requiredOption("-m, --checkpoint <folder>", "checkpoint, run folder (its newest checkpoint), or model folder")
    .requiredOption(
      "-d, --data <paths...>",
      "text: .txt, .jsonl, WikiText (.raw, .tokens), also .gz; folders of them; or one prepared dataset",
    )
    .addOption(new Option("--task <name>", "score a known task instead of plain text").choices(["wikitext"]))
    .addOption(new Option("--split <name>", "of a prepared dataset").choices(["train", "valid"]).default("valid"))
    .option("--separator <text>", 'between documents of .txt files (default: "<|endoftext|>")')
    .option("--field <name>", 'with the text in .jsonl files (default: "text")')
    .option("--batch <n>", "sequences at once: memory and speed, not the result", wholeNumber(1), 8)
    .option("--sequence <n>", "tokens a window; default: the model's context", wholeNumber(1))
    .option("--stride <n>", "tokens between windows; default: the window, so that none overlap", wholeNumber(1))
    .option("--max-tokens <n>", "score only the first n tokens", wholeNumber(1))
    .option("--mask-documents", "attention stops at a document's start, as in a training with data.maskDocuments")
    .option("--no-score-end-of-text", "leave out the end-of-text tokens behind documents")
    .option("--cache-dir <folder>", "where encoded text is kept", "runs/cache")
    .option("--json", "print the result as JSON");
  return addBackendOptions(command)
    .addHelpText(
      "after",
      `
Each token is predicted from those before it in its window; a stride below the window gives every token more to see, and
takes as many times longer. End-of-text tokens are scored, but stand for no byte. docs/evaluation.md defines each number.

Examples:
  bitnet eval -m runs/tiny-bitnet-1 --data held-out.txt
  bitnet eval -m runs/tiny-bitnet-1 --data held-out.txt --stride 64 --json
  bitnet eval -m runs/tiny-bitnet-1 --task wikitext --data wiki.valid.raw`,
    )
    .action(run);
}

async function run(options: EvalOptions): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const { systemClock } = await import("../platform/system.ts");
  if (options.task) {
    const wrong = (["stride", "maxTokens", "maskDocuments", "separator", "field"] as const).find((k) => options[k]);
    if (wrong) throw new UsageError(`--${kebab(wrong)} has no meaning for --task ${options.task}; leave it out`);
  }
  const interruption = listenForInterrupts();
  const opened = await openModel(options.checkpoint, options);
  const progress = createProgressLine("evaluating");
  try {
    const tokenizer = tokenizerOf(opened);
    const start = systemClock.monotonicMs();
    const onProgress = ({ tokens, totalTokens }: Progress) => {
      const rate = (1000 * tokens) / Math.max(1, systemClock.monotonicMs() - start);
      progress.update(tokens, totalTokens ?? tokens, formatRate(rate, "tokens"));
    };
    const score = options.task ? scoreTask : scoreText;
    const result = await score(opened, tokenizer, options, interruption, onProgress);
    progress.close();
    print(opened, options, result, systemClock.monotonicMs() - start);
  } finally {
    progress.close();
    interruption.release();
    opened.close();
  }
}

const kebab = (name: string) => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

async function scoreTask(
  opened: OpenedForUse,
  tokenizer: Tokenizer,
  { data, batch, sequence }: EvalOptions,
  { signal }: Interruption,
  onProgress: (progress: Progress) => void,
): Promise<WikiTextResult> {
  const { readDocuments } = await import("../data/index.ts");
  const { evaluateWikiText } = await import("../eval/index.ts");
  const pages = readDocuments(data, { format: "wikitext" });
  const startToken = startTokenOf(opened, tokenizer);
  return evaluateWikiText(opened.model, tokenizer, pages, { batch, sequence, startToken, signal, onProgress });
}

async function scoreText(
  { model }: OpenedForUse,
  tokenizer: Tokenizer,
  options: EvalOptions,
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

/** A prepared dataset's split, or files, encoded (or found encoded) in the cache. */
async function openText(tokenizer: Tokenizer, options: EvalOptions, signal: AbortSignal): Promise<TokenStream> {
  const { isDataset, openTokens, prepareTokens, readManifest } = await import("../data/index.ts");
  const { DataError } = await import("../platform/errors.ts");
  const { data, split, separator, field, cacheDir } = options;
  if (data.length === 1 && isDataset(data[0])) {
    if (readManifest(data[0]).tokenizer.hash !== tokenizer.hash)
      throw new DataError(
        `${data[0]}: was encoded with another tokenizer than the model's; evaluate on the text itself, or prepare it with the model's tokenizer`,
      );
    return openTokens(data[0], split);
  }
  const { createDocumentEncoder } = await import("../tokenizer/index.ts");
  const encoder = createDocumentEncoder(tokenizer, { threads: options.threads, signal });
  try {
    const prepared = await prepareTokens({ sources: data, tokenizer: encoder, cacheDir, separator, field, signal });
    return openTokens(prepared.folder, "train");
  } finally {
    await encoder.close();
  }
}

function print(
  opened: OpenedForUse,
  options: EvalOptions,
  result: LossResult | WikiTextResult,
  elapsedMs: number,
): void {
  const { folder, step, model } = opened;
  const { backend } = opened.runtime;
  const tokensPerSecond = (1000 * result.tokens) / elapsedMs;
  if (options.json) {
    const about = {
      checkpoint: folder,
      step,
      variant: model.config.variant,
      data: options.data,
      ...(options.task ? { task: options.task } : {}),
      backend: { name: backend.name, isa: backend.isa, threads: backend.threads },
      elapsed_ms: Math.round(elapsedMs),
      tokens_per_sec: Number(tokensPerSecond.toPrecision(6)),
    };
    process.stdout.write(`${JSON.stringify({ ...snakeKeys(result), ...about }, null, 2)}\n`);
    return;
  }
  const rows: string[][] = [
    ["model", `${folder}${step === null ? "" : `, step ${formatCount(step)}`} (${model.config.variant})`],
    ["data", options.data.join(", ")],
    ...("words" in result ? wikiTextRows(result) : lossRows(result)),
    ["time", `${formatDuration(elapsedMs)}, ${formatRate(tokensPerSecond, "tokens")}`],
  ];
  process.stdout.write(formatTable(rows));
}

function lossRows(result: LossResult): string[][] {
  const { tokens, endOfTextTokens, bytes, documents, sequence, stride, bitsPerByte } = result;
  const size = bytes === null ? "" : `; ${formatCount(bytes)} bytes`;
  const many = documents === null ? "" : ` in ${formatCount(documents)} documents`;
  return [
    ["tokens", `${formatCount(tokens)}, of them ${formatCount(endOfTextTokens)} end-of-text${size}${many}`],
    ["windows", `${formatCount(sequence)} tokens, ${formatCount(stride)} apart`],
    ["loss", `${result.lossNats.toFixed(4)} nats per token`],
    ["perplexity", `${result.perplexity.toPrecision(5)} per token`],
    ["bits per byte", bitsPerByte === null ? "unknown: so are the text's bytes" : bitsPerByte.toFixed(4)],
  ];
}

function wikiTextRows(result: WikiTextResult): string[][] {
  const { tokens, words, bytes, pages, sequence } = result;
  return [
    ["pages", `${formatCount(pages)}: ${formatCount(words)} words, ${formatCount(bytes)} bytes`],
    ["tokens", `${formatCount(tokens)}, in rolling windows of ${formatCount(sequence)}`],
    ["word perplexity", result.wordPerplexity.toPrecision(6)],
    ["byte perplexity", result.bytePerplexity.toPrecision(6)],
    ["bits per byte", result.bitsPerByte.toFixed(4)],
    ["token perplexity", result.tokenPerplexity.toPrecision(6)],
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
