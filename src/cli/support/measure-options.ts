/** What sensitivity and calibrate share: which model, which sample of which text, and opening both. */
import type { Command } from "commander";
import type { SampleOptions } from "../../analysis/index.ts";
import type { TokenStream } from "../../data/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Interruption } from "./interrupt.ts";
import { type OpenedForUse, openModel, tokenizerOf } from "./model.ts";
import { addPreOption, type PreFlags } from "./model-options.ts";
import { addBackendOptions, type BackendOptions, modelWords, wholeNumber } from "./options.ts";
import { addTextOptions, openText, type TextFlags } from "./text.ts";

export interface MeasureFlags extends BackendOptions, PreFlags, TextFlags {
  model?: string;
  batch: number;
  sequence?: number;
  maxTokens: number;
}

/** The model, the text, and how much of it; with those of the backend. */
export function addMeasureOptions(command: Command, maxTokens: number): Command {
  const named = command.argument("[model]", modelWords).option("-m, --model <model>", "the same as the argument");
  const sized = addTextOptions(named)
    .option("--max-tokens <n>", "measure on the first n tokens, in whole sequences", wholeNumber(1), maxTokens)
    .option("--sequence <n>", "tokens of a sequence; default: the model's context", wholeNumber(1))
    .option("--batch <n>", "sequences at once: memory and speed, not the result", wholeNumber(1), 8)
    .option("--cache-dir <folder>", "where encoded text is kept", "runs/cache");
  return addBackendOptions(addPreOption(sized));
}

export const sampleOptions = ({ batch, sequence, maxTokens }: MeasureFlags): SampleOptions => ({
  batch,
  maxTokens,
  ...(sequence === undefined ? {} : { sequence }),
});

/**
 * @param command its name, for messages
 * @throws UsageError where no model or no text is named
 */
export async function openForMeasuring(
  command: string,
  argument: string | undefined,
  flags: MeasureFlags,
  { signal }: Interruption,
): Promise<OpenedForUse & { tokens: TokenStream }> {
  const { data } = flags;
  const named = [argument, flags.model].filter((name) => name !== undefined);
  if (named.length > 1) throw new UsageError(`${command} takes one model, but ${named.join(" and ")} came`);
  if (named.length === 0) throw new UsageError(`say which model: bitnet ${command} MODEL --data FILE`);
  if (data === undefined) throw new UsageError(`say on which text to measure, with --data FILE`);
  const opened = await openModel(named[0], flags);
  try {
    const tokens = await openText(tokenizerOf(opened), { ...flags, data }, signal);
    return {
      ...opened,
      tokens,
      close() {
        tokens.close();
        opened.close();
      },
    };
  } catch (error) {
    opened.close();
    throw error;
  }
}
