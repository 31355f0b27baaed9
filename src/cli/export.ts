/** `bitnet export`: a model as a file or folder that other programs load. What each format does is in support/. */
import { Command, Option } from "commander";
import { exportFormats } from "./support/export-formats.ts";
import { ownOptions } from "./support/format-options.ts";
import { addModelOptions, addOverridesOption, type ModelFlags } from "./support/model-options.ts";
import { addBackendOptions, type BackendOptions, modelWords, readBackendOptions } from "./support/options.ts";

interface ExportOptions extends BackendOptions, ModelFlags {
  format: string;
  type?: string;
  output?: string;
}

export function exportCommand(): Command {
  const command = new Command("export")
    .summary("write a model for other programs")
    .description("Writes a model as a file or folder that other programs load unchanged.")
    .argument("<checkpoint>", modelWords)
    .addOption(
      new Option("-f, --format <name>", "what to write").choices(exportFormats.map(({ name }) => name)).default("gguf"),
    )
    .option("-t, --type <name>", "how numbers are stored; each format has its own types and default, listed below")
    .option("-o, --output <path>", "file or folder to write; without it, named after the model, here");
  for (const format of exportFormats) format.addOptions?.(command);
  return addBackendOptions(addOverridesOption(addModelOptions(command)))
    .addHelpText(
      "after",
      `
Formats:
${exportFormats.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`).join("\n")}

docs/formats.md tells what loads where.

Examples:
  bitnet export runs/tiny-bitnet-1 --format hf --type packed -o tiny-hf
  bitnet export runs/tiny-bitnet-1 --format gguf -o tiny.gguf
  bitnet export runs/tiny-bitnet-1 --type f16
  bitnet export runs/tiny-bitnet-1 --format compact --embeddings int8 -o tiny.bitnet
  bitnet export runs/tiny-bitnet-1 --type auto --overrides overrides.yaml
  bitnet export runs/tiny-bitnet-1 --format onnx -o tiny.onnx`,
    )
    .action((input: string, options: ExportOptions) => run(command, input, options));
}

async function run(command: Command, input: string, options: ExportOptions): Promise<void> {
  const format = exportFormats.find(({ name }) => name === options.format)!;
  const own = ownOptions(command, format, exportFormats);
  const write = await format.load();
  const { type, output, pre, startToken, overrides } = options;
  const backend = readBackendOptions(options);
  process.stdout.write(
    await write({ input, output, type, backend, words: { pre, startToken, overrides }, options: own }),
  );
}
