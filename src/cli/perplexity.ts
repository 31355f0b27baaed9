/** `bitnet perplexity`: as llama.cpp's llama-perplexity, by the engine that writes. Definitions: docs/generation.md. */
import { Command } from "commander";
import { formatCount, formatDuration, formatRate, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { addEngineOptions, type EngineFlags } from "./support/engine-options.ts";
import { wholeNumber } from "./support/options.ts";
import { createProgressLine } from "./support/progress.ts";
import { readText } from "./support/sampling.ts";
import { openForWriting } from "./support/writing.ts";

interface PerplexityOptions extends EngineFlags {
  model: string;
  file: string;
  ctxSize?: number;
  pplStride: number;
  chunks: number;
  json?: boolean;
}

export function perplexityCommand(): Command {
  const command = new Command("perplexity")
    .summary("perplexity as llama.cpp computes it")
    .description(
      "Scores the second half of each window of a text, by the engine that writes; with --ppl-stride, overlapping windows. For loss on every token and bits per byte: bitnet eval.",
    )
    .requiredOption("-m, --model <folder>", "checkpoint, run folder (its newest checkpoint), or model folder")
    .requiredOption("-f, --file <path>", "the text, taken as one document")
    .option("-c, --ctx-size <n>", "tokens of a window; default: 512, or the model's context if less", wholeNumber(2))
    .option("--ppl-stride <n>", "score the last n tokens of windows that lie n apart; 0: off", wholeNumber(0), 0)
    .option("--chunks <n>", "score only the first n windows; -1: all", wholeNumber(-1), -1)
    .option("--json", "print the result as JSON");
  return addEngineOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  bitnet perplexity -m MODEL -f wiki.test.raw
  bitnet perplexity -m MODEL -f wiki.test.raw -c 256 --ppl-stride 64 --json`,
    )
    .action(run);
}

async function run(options: PerplexityOptions): Promise<void> {
  const { evaluatePerplexity } = await import("../eval/index.ts");
  const { systemClock } = await import("../platform/system.ts");
  const { UsageError } = await import("../platform/errors.ts");
  if (options.chunks === 0) throw new UsageError("--chunks is 0: nothing would be scored; -1 scores all");
  const text = await readText(options.file);
  const opened = await openForWriting(options.model, options);
  const interruption = listenForInterrupts();
  const progress = createProgressLine("scoring");
  const start = systemClock.monotonicMs();
  try {
    const { engine, tokenizer, startToken, folder, backend } = opened;
    const ids = Array.from(tokenizer.encode(text));
    if (startToken !== null) ids.unshift(startToken);
    const result = await evaluatePerplexity(engine, ids, {
      contextTokens: options.ctxSize,
      stride: options.pplStride,
      chunks: options.chunks < 0 ? undefined : options.chunks,
      startToken,
      signal: interruption.signal,
      onChunk: (chunk, chunks, ppl) => progress.update(chunk, chunks, `perplexity ${ppl.toPrecision(5)}`),
    });
    progress.close();
    const elapsedMs = systemClock.monotonicMs() - start;
    if (options.json) {
      const { perplexity, uncertainty, lossNats, tokens, chunks, contextTokens, stride } = result;
      const about = { model: folder, engine: opened.kind, backend: backend.name, isa: backend.isa };
      const sizes = { tokens, chunks, ctx_size: contextTokens, ppl_stride: stride };
      const json = { perplexity, uncertainty, loss: lossNats, ...sizes, ...about };
      process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
      return;
    }
    const error = result.uncertainty === null ? "" : ` +/- ${result.uncertainty.toFixed(5)}`;
    const windows = `${formatCount(result.chunks)} of ${formatCount(result.contextTokens)} tokens`;
    process.stdout.write(
      formatTable([
        ["model", folder],
        ["perplexity", `${result.perplexity.toFixed(4)}${error}`],
        ["loss", `${result.lossNats.toFixed(4)} nats per token`],
        ["tokens", `${formatCount(result.tokens)} scored, in windows: ${windows}`],
        ["time", `${formatDuration(elapsedMs)}, ${formatRate((1000 * result.tokens) / elapsedMs, "tokens")}`],
      ]),
    );
  } finally {
    progress.close();
    interruption.release();
    opened.close();
  }
}
