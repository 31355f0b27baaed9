/** Hugging Face folders for `export` and `import`, and the options that they add. */
import { type Command, Option } from "commander";
import type { HuggingFaceFloatType, HuggingFaceType } from "../../exchange/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { ExportRequest, ImportRequest } from "./format-requests.ts";
import { countOf, formatBytes, formatCount } from "./format.ts";
import { listenForInterrupts } from "./interrupt.ts";

const floatTypes = ["f32", "bf16", "f16"];

export function addHfExportOptions(command: Command): void {
  command
    .addOption(
      new Option("--float-type <name>", "hf, --type packed: embedding, norms and head (default: f32)").choices(
        floatTypes,
      ),
    )
    .option("--shard-size <size>", "hf: the most that one file of weights holds, such as 500MB (default: 5GB)")
    .option("--no-card", "hf: write no model card (README.md)");
}

export async function exportHf(request: ExportRequest): Promise<string> {
  const { exportHuggingFace, holdsFloatTernary, huggingFaceTypes, modelCard } = await import("../../exchange/index.ts");
  const { absolutePath, baseName } = await import("../../platform/files.ts");
  const { openModel, startTokenFor } = await import("./model.ts");
  const { options } = request;
  if (request.type !== undefined && !huggingFaceTypes.includes(request.type as HuggingFaceType))
    throw new UsageError(`--type ${request.type} is none of the hf format's: ${huggingFaceTypes.join(", ")}`);
  const shardBytes = options.shardSize === undefined ? undefined : parseBytes(String(options.shardSize));
  const interruption = listenForInterrupts();
  const opened = await openModel(request.input, { ...request.backend, ...request.words });
  try {
    const output = request.output ?? `${baseName(absolutePath(request.input))}-hf`;
    const type = request.type ?? (holdsFloatTernary(opened.model) ? "f32" : "packed");
    const { trainingFacts } = await import("../../train/index.ts");
    const facts = trainingFacts(opened);
    const { tokenizer } = opened;
    const { words } = request;
    const { endTokensOf } = await import("../../infer/index.ts");
    // A model from elsewhere keeps its tokenizer's own files; one trained here tells others what stood before its texts.
    const carries = opened.step !== null || words.startToken !== undefined;
    const startToken = tokenizer && carries ? await startTokenFor(opened, tokenizer, words) : undefined;
    const written = await exportHuggingFace(opened.model, tokenizer, output, {
      type: type as HuggingFaceType,
      floatType: options.floatType as HuggingFaceFloatType | undefined,
      shardBytes,
      source: opened.folder,
      ...(startToken === undefined ? {} : { startToken }),
      ...(tokenizer ? { endTokens: endTokensOf(tokenizer, opened.endTokens ?? opened.folder) } : {}),
      signal: interruption.signal,
      card:
        options.card === false
          ? undefined
          : (found) =>
              modelCard({
                ...found,
                name: baseName(absolutePath(output)),
                tokenizer: tokenizer && { name: tokenizer.name, vocabSize: tokenizer.vocabSize },
                training: facts,
              }),
    });
    const lines = [
      `wrote ${output}: ${countOf(written.files.length, "file")}, ${countOf(written.parameters, "parameter")} in ${formatBytes(written.tensorBytes)} as ${type}${type === "packed" ? ` (embedding, norms and head ${written.floatType})` : ""}`,
    ];
    if (request.type === undefined && type === "packed")
      lines.push(
        "packed: transformers would make float weights of these layers ternary by another rule (docs/quantizers.md)",
      );
    if (written.ternaryWeights > 0)
      lines.push(
        `ternary: ${formatCount(written.ternaryWeights)} weights; codes and scales are those of the model${written.fittedMatrices > 0 ? `; float weights of ${written.fittedMatrices} matrices were fitted so that transformers makes the same` : ""}`,
      );
    if (tokenizer && startToken != null)
      lines.push(
        `before a text: ${tokenizer.tokenOf(startToken)}, which the tokenizer's files tell other programs too`,
      );
    if (!tokenizer) lines.push("no tokenizer: the model came without one");
    return `${lines.join("\n")}\n`;
  } finally {
    opened.close();
    interruption.release();
  }
}

/** 500MB, 2GiB, 5e9. @throws UsageError */
function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?(?:e\d+)?)\s*([kmg]i?)?b?$/i.exec(text.trim());
  const unit = (match?.[2] ?? "").toLowerCase();
  const power = " kmg".indexOf(unit[0] ?? " ");
  const bytes = match ? Number(match[1]) * (unit.endsWith("i") ? 1024 : 1000) ** power : Number.NaN;
  if (!(bytes >= 1)) throw new UsageError(`--shard-size ${text}: expected a size such as 500MB or 2GiB`);
  return bytes;
}

export function addHfImportOptions(command: Command): void {
  command
    .addOption(
      new Option("--to <variant>", "hf: bitnet: make a full-precision model ternary, to train it on").choices([
        "bitnet",
      ]),
    )
    .option("--no-sub-norms", "hf, --to bitnet: add no norms in front of the output and down projections");
}

/** A folder with a config.json, a run of ours, or a name on the hub. */
export async function acceptsHf(path: string): Promise<boolean> {
  const { isHubName } = await import("../../exchange/index.ts");
  const { checkpointsFolder } = await import("../../checkpoint/index.ts");
  const { exists, joinPath } = await import("../../platform/files.ts");
  return ["config.json", checkpointsFolder].some((name) => exists(joinPath(path, name))) || isHubName(path);
}

export async function importHf(request: ImportRequest): Promise<string> {
  const { convertToBitnet } = await import("../../exchange/index.ts");
  const { saveModelFolder } = await import("../../checkpoint/index.ts");
  const { openModel } = await import("./model.ts");
  const opened = await openModel(request.input, request.backend);
  try {
    const { model, tokenizer, folder } = opened;
    const convert = request.options.to === "bitnet";
    const subNorms = request.options.subNorms !== false;
    if (!convert && !subNorms) throw new UsageError("--no-sub-norms is for a conversion; give --to bitnet too");
    const { model: made, added } = convert
      ? await convertToBitnet(model, { subNorms })
      : { model, added: [] as string[] };
    try {
      await saveModelFolder(request.output, made, tokenizer, folder);
    } finally {
      if (made !== model) made.dispose();
    }
    const { describeModel } = await import("../../model/index.ts");
    const count = made.parameters.reduce((sum, { size }) => sum + size, 0);
    const lines = [`wrote ${request.output}: ${countOf(count, "parameter")}, variant ${describeModel(made.config)}`];
    if (!tokenizer) lines.push("no tokenizer: the model came without one");
    if (convert)
      lines.push(
        `its matrices are ternary from now on${added.length > 0 ? `, and ${added.length} sub-norms were added (gain 1)` : ""}: what it could do is largely gone until it is trained on`,
        `next        bitnet train tiny --from ${request.output} --data FILE`,
      );
    return `${lines.join("\n")}\n`;
  } finally {
    opened.close();
  }
}
