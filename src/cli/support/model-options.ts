/** Options about how a model's own words are read: --pre of GGUF files, and the token before a text. */
import { type Command, Option } from "commander";
import type { QuantizationConfig } from "../../model/index.ts";
import { UsageError } from "../../platform/errors.ts";

export interface PreFlags {
  pre?: string;
}

export interface StartTokenFlags {
  /** Absent: what the model wants; false: none; a name or an id: this one. */
  startToken?: string | boolean;
}

export interface OverridesFlags {
  /** A file. */
  overrides?: string;
}

export type ModelFlags = PreFlags & StartTokenFlags & OverridesFlags;

/** --overrides, of commands that can run or write a model with other quantizers. */
export function addOverridesOption(command: Command): Command {
  return command.option(
    "--overrides <file>",
    "quantizers of single layers to use in place of the model's: a file with model.quantization, as bitnet sensitivity and bitnet calibrate write it (default: the model's own)",
  );
}

/** The file's content, where one was named. */
export async function overridesOf({ overrides }: OverridesFlags): Promise<{ overrides?: QuantizationConfig }> {
  if (overrides === undefined) return {};
  const { readOverrides } = await import("../../exchange/index.ts");
  return { overrides: readOverrides(overrides) };
}

/** --pre, of every command that opens a model. */
export function addPreOption(command: Command): Command {
  return command.option(
    "--pre <name>",
    "how a GGUF file's byte-level BPE cuts text, by llama.cpp's name (llama-bpe, gpt-2, ...), where the file does not say or says otherwise (default: the file's tokenizer.ggml.pre)",
  );
}

/** --start-token and --no-start-token, of every command that gives a model text. */
export function addStartTokenOptions(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--start-token <token>",
        "token before a text, by name or id (default: end-of-text for a model trained here, else what its tokenizer puts there)",
      ),
    )
    .option("--no-start-token", "put no token before a text");
}

export const addModelOptions = (command: Command): Command => addStartTokenOptions(addPreOption(command));

/** As the library has it: null for none, absent for the model's own. */
export function startTokenChoice({ startToken }: StartTokenFlags): { startToken?: string | null } {
  if (startToken === undefined || startToken === true) return {};
  return { startToken: startToken === false ? null : startToken };
}

/** @throws UsageError where a start token is named for a format that has no place for one */
export function refuseStartToken({ startToken }: StartTokenFlags, format: string): void {
  if (startToken === undefined || startToken === true) return;
  const option = startToken === false ? "--no-start-token" : "--start-token";
  throw new UsageError(
    `${option} has no meaning for --format ${format}, which has no place for a rule of its own; leave it out`,
  );
}
