/** `bitnet run`: one prompt, one answer. Through the model's chat template where it has one; else the prompt is continued. */
import { Command } from "commander";
import type { OpenedEngine } from "../infer/index.ts";
import { chatPrompt, templateFor } from "./support/chat.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { addEngineOptions, type EngineFlags } from "./support/engine-options.ts";

import { modelWords } from "./support/options.ts";
import { addSamplingOptions, generationOptions, type SamplingFlags, samplingHelp, seedOf } from "./support/sampling.ts";
import { describeReport, openForWriting, printText } from "./support/writing.ts";

interface RunOptions extends EngineFlags, SamplingFlags {
  model: string;
  systemPrompt?: string;
  chatTemplate?: string;
  raw?: boolean;
  verbose?: boolean;
}

export function runCommand(): Command {
  const command = new Command("run")
    .summary("answer one prompt")
    .description(
      "Prints the answer to one prompt, alone on the standard output. A model with a chat template is asked through it; any other continues the prompt.",
    )
    .argument("[prompt]", "what to ask; - or nothing: read from the standard input")
    .requiredOption("-m, --model <model>", modelWords)
    .option("--system-prompt <text>", "what the model is told first, where it is asked through a chat template")
    .option(
      "--chat-template <name>",
      "a template by name, for a model without one: chatml, llama2, llama3, zephyr, bitnet",
    )
    .option("--raw", "continue the prompt as it is, even if the model has a chat template")
    .option("-v, --verbose", "tell counts and rates afterwards, on the standard error");
  addSamplingOptions(command, -1);
  return addEngineOptions(command)
    .addHelpText(
      "after",
      `${samplingHelp}

Examples:
  bitnet run -m runs/tiny-bitnet-1 "Once upon a time" -n 60
  bitnet run -m MODEL "What is a haiku?" --temp 0
  cat letter.txt | bitnet run -m MODEL --system-prompt "Translate to French."`,
    )
    .action(run);
}

async function run(word: string | undefined, options: RunOptions, command: Command): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const { generate } = await import("../infer/index.ts");
  const { systemClock } = await import("../platform/system.ts");
  const { readStandardInput } = await import("../platform/terminal.ts");
  const seed = seedOf(options);
  const chosen = await generationOptions(options, seed, command);
  const text = word === undefined || word === "-" ? await readStandardInput() : word;
  if (text.trim() === "") throw new UsageError('there is no prompt: bitnet run -m MODEL "what to ask"');
  const opened = await openForWriting(options.model, options);
  const interruption = listenForInterrupts();
  try {
    const { engine, tokenizer, startToken, stopTokens } = opened;
    const generation = generate(engine, tokenizer, await promptOf(opened, text, options), {
      ...chosen,
      stopTokens: options.ignoreEos ? [] : stopTokens,
      startToken,
      signal: interruption.signal,
      clock: systemClock,
    });
    await printText(generation);
    if (options.verbose) {
      const drawn = options.temp === 0 ? "" : `; seed ${seed}`;
      process.stderr.write(`${describeReport(generation.report, engine.contextLength)}${drawn}\n`);
    }
    interruption.signal.throwIfAborted();
  } finally {
    interruption.release();
    opened.close();
  }
}

async function promptOf(opened: OpenedEngine, text: string, options: RunOptions): Promise<string | number[]> {
  const { UsageError } = await import("../platform/errors.ts");
  const { systemPrompt, chatTemplate, raw } = options;
  if (raw || (opened.chatTemplate === null && chatTemplate === undefined)) {
    if (systemPrompt !== undefined || (raw && chatTemplate !== undefined))
      throw new UsageError(
        raw
          ? "--raw leaves out the chat template, and what goes through it; leave out one of the two"
          : `${opened.folder}: has no chat template to put --system-prompt into; name one with --chat-template`,
      );
    return text;
  }
  const template = await templateFor(opened, { name: chatTemplate });
  return chatPrompt(template, opened, systemPrompt, [{ role: "user", content: text }]);
}
