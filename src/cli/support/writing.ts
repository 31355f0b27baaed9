/** What the commands that write share: opening an engine, printing a text as it comes, and what is said of it after. */
import type { FinishReason, Generation, GenerationReport, OpenedEngine } from "../../infer/index.ts";
import { escapeControls } from "../../platform/show.ts";
import { countOf, formatCount, formatRate } from "./format.ts";
import { downloaded, noteOpened } from "./model.ts";
import { type EngineFlags, engineOptions } from "./engine-options.ts";
import { overridesOf } from "./model-options.ts";
import { backendChoice } from "./options.ts";

/** Says on the standard error which newer checkpoints were passed over, and why. */
export async function openForWriting(path: string, options: EngineFlags): Promise<OpenedEngine> {
  const { openEngine } = await import("../../infer/index.ts");
  const opened = await openEngine(await downloaded(path), {
    ...engineOptions(options),
    ...(await overridesOf(options)),
    backend: backendChoice(options),
  });
  noteOpened(opened);
  return opened;
}

/** Prints the text as it comes; ends with a newline. Returns the text. */
export async function printText(generation: Generation, before = ""): Promise<string> {
  let last = "";
  let whole = "";
  const write = (text: string) => {
    if (text === "") return;
    // A terminal does what escape sequences say; a file or a pipe gets the text as it is.
    process.stdout.write(process.stdout.isTTY ? escapeControls(text, { lines: true }) : text);
    last = text;
  };
  write(before);
  for await (const { text } of generation) {
    write(text);
    whole += text;
  }
  if (!last.endsWith("\n")) process.stdout.write("\n");
  return whole;
}

/** "prompt 5 tokens at 105 tokens/s; wrote 60 tokens at 104 tokens/s: as many as asked for" */
export function describeReport(report: GenerationReport, contextLength: number): string {
  const tokens = (n: number) => `${formatCount(n)} ${n === 1 ? "token" : "tokens"}`;
  const rate = (perSecond: number | null) => (perSecond === null ? "" : ` at ${formatRate(perSecond, "tokens")}`);
  const reasons: Record<FinishReason, string> = {
    "end-of-text": "the model ended the text",
    "stop-string": `${JSON.stringify(report.stopString)} came`,
    grammar: "what the grammar describes is complete",
    length: "as many as asked for",
    context: `the model's context of ${countOf(contextLength, "token")} is full`,
    aborted: "interrupted",
  };
  const { promptTokens, promptTokensPerSecond, generatedTokens, generationTokensPerSecond, finish } = report;
  const drafted = report.draftedTokens > 0 ? `, ${report.acceptedTokens} of ${report.draftedTokens} drafted` : "";
  return `prompt ${tokens(promptTokens)}${rate(promptTokensPerSecond)}; wrote ${tokens(generatedTokens)}${rate(
    generationTokensPerSecond,
  )}${drafted}: ${reasons[finish ?? "aborted"]}`;
}
