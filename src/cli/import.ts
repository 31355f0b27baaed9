/** `bitnet import`: a model of another program's as a model folder of ours. What each format does is in support/. */
import { Command, Option } from "commander";
import { UsageError } from "../platform/errors.ts";
import { ownOptions } from "./support/format-options.ts";
import { importFormats } from "./support/import-formats.ts";
import { addBackendOptions, type BackendOptions, readBackendOptions } from "./support/options.ts";

interface ImportOptions extends BackendOptions {
  format?: string;
  output: string;
}

export function importCommand(): Command {
  const command = new Command("import")
    .summary("read another program's model into a model folder")
    .description(
      "Reads a model that another program wrote, and writes it as a model folder for eval, generate and train.",
    )
    .argument("<path>", "what to read")
    .addOption(
      new Option("-f, --format <name>", "what it is; without it, told from the path").choices(
        importFormats.map(({ name }) => name),
      ),
    )
    .requiredOption("-o, --output <folder>", "the model folder to write");
  for (const format of importFormats) format.addOptions?.(command);
  return addBackendOptions(command)
    .addHelpText(
      "after",
      `
Formats:
${importFormats.map(({ name, summary }) => `  ${name.padEnd(12)} ${summary}`).join("\n")}

Examples:
  bitnet import org/name -o model
  bitnet import path/to/llama --to bitnet -o converted
  bitnet import model.gguf -o model
  bitnet import tiny.bitnet -o model`,
    )
    .action((input: string, options: ImportOptions) => run(command, input, options));
}

async function run(command: Command, input: string, options: ImportOptions): Promise<void> {
  const format = options.format ? importFormats.find(({ name }) => name === options.format)! : await formatOf(input);
  const own = ownOptions(command, format, importFormats);
  const read = await format.load();
  process.stdout.write(
    await read({ input, output: options.output, backend: readBackendOptions(options), options: own }),
  );
}

async function formatOf(path: string) {
  for (const format of importFormats) if (await format.accepts(path)) return format;
  const { exists } = await import("../platform/files.ts");
  if (!exists(path)) throw new UsageError(`${path}: no such file or folder, nor a name on the hub (org/name)`);
  const known = importFormats.map(({ name, summary }) => `${name} (${summary})`).join(", ");
  throw new UsageError(`${path}: is of no format that can be told from its name; name one with --format: ${known}`);
}
