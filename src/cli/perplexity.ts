/** `bitnet perplexity`: as llama.cpp's llama-perplexity, by the engine that writes. Definitions: docs/generation.md. */
import { Command } from "commander";
import type { PerplexityResult } from "../eval/index.ts";
import type { OpenedEngine } from "../infer/index.ts";
import { countOf, formatBytes, formatCount, formatDuration, formatRate, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { addEngineOptions, type EngineFlags } from "./support/engine-options.ts";
import { modelWords, wholeNumber } from "./support/options.ts";
import { createProgressLine } from "./support/progress.ts";
import { readText } from "./support/sampling.ts";
import { openForWriting } from "./support/writing.ts";

interface PerplexityOptions extends EngineFlags {
  model: string;
  file: string;
  ctxSize?: number;
  pplStride: number;
  chunks: number;
  effect?: boolean;
  json?: boolean;
}

export function perplexityCommand(): Command {
  const command = new Command("perplexity")
    .summary("perplexity as llama.cpp computes it")
    .description(
      "Scores the second half of each window of a text, by the engine that writes; with --ppl-stride, overlapping windows. For loss on every token and bits per byte: bitnet eval.",
    )
    .requiredOption("-m, --model <model>", modelWords)
    .requiredOption("-f, --file <path>", "the text, taken as one document")
    .option("-c, --ctx-size <n>", "tokens of a window; default: 512, or the model's context if less", wholeNumber(2))
    .option("--ppl-stride <n>", "score the last n tokens of windows that lie n apart; 0: off", wholeNumber(0), 0)
    .option("--chunks <n>", "score only the first n windows; -1: all", wholeNumber(-1), -1)
    .option(
      "--effect",
      "score with head and cache in f32 too, and in each type that is named or, where none is, that there is; tell the differences",
    )
    .option("--json", "print the result as JSON");
  return addEngineOptions(command)
    .addHelpText(
      "after",
      `
Examples:
  bitnet perplexity -m MODEL -f wiki.test.raw
  bitnet perplexity -m MODEL -f wiki.test.raw -c 256 --ppl-stride 64 --json
  bitnet perplexity -m MODEL -f wiki.test.raw --effect
  bitnet perplexity -m MODEL -f wiki.test.raw --effect --head-type int4 --cache-type int8`,
    )
    .action(run);
}

async function run(options: PerplexityOptions): Promise<void> {
  const { systemClock } = await import("../platform/system.ts");
  const { UsageError } = await import("../platform/errors.ts");
  if (options.chunks === 0) throw new UsageError("--chunks is 0: nothing would be scored; -1 scores all");
  if (options.effect && options.engine === "float")
    throw new UsageError("--effect is of the packed engine's types; --engine float rounds nothing");
  const text = await readText(options.file);
  const interruption = listenForInterrupts();
  const start = systemClock.monotonicMs();
  try {
    const flags = options.effect ? { ...options, engine: "packed" as const } : options;
    const { result, folder, kind, backend } = await scoreBy(flags, text, options, interruption.signal, "scoring");
    const elapsedMs = systemClock.monotonicMs() - start;
    const effects = options.effect ? await effectsOf(text, options, interruption.signal) : null;
    if (options.json) {
      const { perplexity, uncertainty, lossNats, tokens, chunks, contextTokens, stride } = result;
      const about = { model: folder, engine: kind, backend: backend.name, isa: backend.isa };
      const sizes = { tokens, chunks, ctx_size: contextTokens, ppl_stride: stride };
      const json = { perplexity, uncertainty, loss: lossNats, ...sizes, ...about, ...(effects ? { effects } : {}) };
      process.stdout.write(`${JSON.stringify(json, null, 2)}\n`);
      return;
    }
    const error = result.uncertainty === null ? "" : ` +/- ${result.uncertainty.toFixed(5)}`;
    const windows = `${formatCount(result.chunks)} of ${countOf(result.contextTokens, "token")}`;
    process.stdout.write(
      formatTable([
        ["model", folder],
        ["perplexity", `${result.perplexity.toFixed(4)}${error}`],
        ["loss", `${result.lossNats.toFixed(4)} nats per token`],
        ["tokens", `${formatCount(result.tokens)} scored, in windows: ${windows}`],
        ["time", `${formatDuration(elapsedMs)}, ${formatRate((1000 * result.tokens) / elapsedMs, "tokens")}`],
      ]),
    );
    if (effects) process.stdout.write(`\n${describeEffects(effects)}`);
  } finally {
    interruption.release();
  }
}

/** Opens the model, scores the text, and closes it: of several ways to hold a model one is in memory at a time. */
async function scoreBy(
  flags: EngineFlags & { model: string },
  text: string,
  options: PerplexityOptions,
  signal: AbortSignal,
  label: string,
): Promise<
  { result: PerplexityResult; bytesForToken: number | null } & Pick<OpenedEngine, "folder" | "kind" | "backend">
> {
  const { evaluatePerplexity } = await import("../eval/index.ts");
  const { PackedEngine } = await import("../infer/index.ts");
  const { engine, tokenizer, startToken, folder, kind, backend, close } = await openForWriting(flags.model, flags);
  const progress = createProgressLine(label);
  try {
    const ids = Array.from(tokenizer.encode(text));
    if (startToken !== null) ids.unshift(startToken);
    const result = await evaluatePerplexity(engine, ids, {
      contextTokens: options.ctxSize,
      stride: options.pplStride,
      chunks: options.chunks < 0 ? undefined : options.chunks,
      startToken,
      signal,
      onChunk: (chunk, chunks, ppl) => progress.update(chunk, chunks, `perplexity ${ppl.toPrecision(5)}`),
    });
    const bytesForToken = engine instanceof PackedEngine ? engine.report.bytesForToken : null;
    return { result, bytesForToken, folder, kind, backend };
  } finally {
    progress.close();
    close();
  }
}

/** What a type of head or cache costs. */
interface Effect {
  head: string;
  cache: string;
  perplexity: number;
  /** Over that with head and cache in f32. */
  percent: number;
  /** Of weights, read for each token. */
  bytes_for_token: number | null;
}

type Types = Required<Pick<EngineFlags, "headType" | "cacheType">>;
const exact: Types = { headType: "f32", cacheType: "f32" };

/** The types that were named; where none were, each that there is, one at a time. */
function typesOf({ headType, cacheType }: EngineFlags): Types[] {
  if (headType || cacheType)
    return [{ ...exact, ...(headType ? { headType } : {}), ...(cacheType ? { cacheType } : {}) }];
  return [
    ...(["bf16", "f16", "int8", "int4"] as const).map((head) => ({ ...exact, headType: head })),
    ...(["f16", "int8", "int4"] as const).map((cache) => ({ ...exact, cacheType: cache })),
  ];
}

async function effectsOf(text: string, options: PerplexityOptions, signal: AbortSignal): Promise<Effect[]> {
  const effects: Effect[] = [];
  for (const types of [exact, ...typesOf(options)]) {
    const { headType: head, cacheType: cache } = types;
    const flags = { ...options, engine: "packed" as const, ...types };
    const { result, bytesForToken } = await scoreBy(flags, text, options, signal, `head ${head}, cache ${cache}`);
    const { perplexity } = result;
    const percent = 100 * (perplexity / (effects[0]?.perplexity ?? perplexity) - 1);
    effects.push({ head, cache, perplexity, percent, bytes_for_token: bytesForToken });
  }
  return effects;
}

function describeEffects(effects: readonly Effect[]): string {
  const rows = effects.map(({ head, cache, perplexity, percent, bytes_for_token }, i) => [
    head,
    cache,
    perplexity.toFixed(4),
    i === 0 ? "nothing rounded" : `${percent < 0 ? "" : "+"}${percent.toFixed(3)} %`,
    bytes_for_token === null ? "" : formatBytes(bytes_for_token),
  ]);
  return formatTable([["head", "cache", "perplexity", "effect", "weights a token"], ...rows], [2, 3, 4]);
}
