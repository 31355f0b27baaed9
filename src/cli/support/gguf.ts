/** GGUF files for `export` and `import`. */
import { type Command, Option } from "commander";
import type { ExportRequest, ImportRequest } from "./format-requests.ts";
import { countOf, formatBytes } from "./format.ts";
import { listenForInterrupts } from "./interrupt.ts";
import { openModel, startTokenFor } from "./model.ts";
import { modelName } from "./model-name.ts";

/** --embedding-type, --linear-type and --arch. */
export function addGgufOptions(command: Command): void {
  command
    .addOption(
      new Option("--embedding-type <name>", "how the embedding (and head) is stored; beside ternary types f16").choices(
        ["f32", "f16", "bf16", "q8_0", "q6_k"],
      ),
    )
    .addOption(
      new Option(
        "--linear-type <name>",
        "gguf: how float layers beside ternary ones are stored (default: f16, or --type where that is a float type)",
      ).choices(["f32", "f16", "bf16"]),
    )
    .addOption(
      new Option(
        "--arch <name>",
        "the file's architecture; default: the one that computes what the model does",
      ).choices(["bitnet", "bitnet-b1.58", "bitnet-25", "llama"]),
    );
}

export async function exportGguf(request: ExportRequest): Promise<string> {
  const { autoGgufType, exportGguf: write, ggufExportTypes, isGgufFile } = await import("../../exchange/gguf/index.ts");
  const { UsageError } = await import("../../platform/errors.ts");
  const { describePath, exists } = await import("../../platform/files.ts");
  const { input, backend, words, options } = request;
  const types = ["auto", ...ggufExportTypes] as const;
  const asked = types.find((known) => known === (request.type ?? "auto").toLowerCase());
  if (!asked) throw new UsageError(`--type ${request.type} is not written to GGUF; types are: ${types.join(", ")}`);
  const interruption = listenForInterrupts();
  const opened = await openModel(input, { ...backend, ...words });
  try {
    const name = modelName(opened.folder);
    const { config } = opened.model;
    const type = asked === "auto" ? autoGgufType(config, options.arch as never) : asked;
    const output = request.output ?? `${name}-${type}.gguf`;
    if (exists(output) && (describePath(output).kind === "folder" || !isGgufFile(output)))
      throw new UsageError(`${output}: is there already, and is no GGUF file; name another with -o`);
    const { tokenizer } = opened;
    const report = await write(output, opened.model, tokenizer, {
      type,
      name,
      embeddingType: options.embeddingType as never,
      linearType: options.linearType as never,
      architecture: options.arch as never,
      ...(tokenizer ? { startToken: await startTokenFor(opened, tokenizer, words) } : {}),
      chatTemplate: await templateOf(opened),
      signal: interruption.signal,
    });
    return [
      `${output}: ${formatBytes(report.sizeBytes)}, architecture ${report.architecture}, ${countOf(report.tensors, "tensor")}, ${report.bitsPerWeight.toFixed(2)} bits a parameter`,
      `matrices ${report.type}${report.linearType === report.type ? "" : `, float layers ${report.linearType}`}, embedding ${report.embeddingType}; for ${report.loadsIn}`,
      ...(asked === "auto" ? [`type auto: ${autoReason(type, config)}; --type chooses another`] : []),
      ...report.notes.map((note) => `note: ${note}`),
      "",
    ].join("\n");
  } finally {
    interruption.release();
    opened.close();
  }
}

/** Why auto took a type, for people. */
function autoReason(type: string, { width, hiddenWidth }: { width: number; hiddenWidth: number }): string {
  if (/^(tq|q2|i2)/.test(type))
    return `${type}, the smallest ternary type that is loaded with rows of ${width} and ${hiddenWidth}`;
  if (type === "q8_0") return `q8_0, since no ternary type's blocks divide rows of ${width} and ${hiddenWidth}`;
  return `f16, since no type of fewer bits holds this model's matrices as they are`;
}

async function templateOf(opened: { folder: string; chatTemplate?: string | null }): Promise<string | null> {
  if (opened.chatTemplate !== undefined) return opened.chatTemplate;
  const { readChatTemplate } = await import("../../infer/index.ts");
  return readChatTemplate(opened.folder);
}

export async function importGguf({ input, output, backend, options }: ImportRequest): Promise<string> {
  const { createBackend } = await import("../../backends/index.ts");
  const { importGguf: read } = await import("../../exchange/gguf/index.ts");
  const { Runtime } = await import("../../tensor/index.ts");
  const { backendChoice } = await import("./options.ts");
  const { countOf } = await import("./format.ts");
  const device = await createBackend(backendChoice(backend));
  try {
    const { config, parameters, tokenizer, notes } = await read(input, output, new Runtime(device), {
      pre: options.pre as string | undefined,
    });
    for (const note of notes) process.stderr.write(`bitnet: ${input}: ${note}\n`);
    const words = tokenizer
      ? `a tokenizer of ${countOf(tokenizer.vocabSize, "token")}`
      : "no tokenizer (the file has none)";
    const { describeModel } = await import("../../model/index.ts");
    return `${output}: ${describeModel(config)} model of ${countOf(parameters, "parameter")}, ${words}\n`;
  } finally {
    device.close();
  }
}
