/** ONNX files for `export`. */
import { type Command, Option } from "commander";
import type { OnnxWeights } from "../../exchange/onnx.ts";
import { UsageError } from "../../platform/errors.ts";
import type { ExportRequest } from "./format-requests.ts";
import { formatBytes } from "./format.ts";
import { listenForInterrupts } from "./interrupt.ts";
import { type OpenedForUse, openModel, startTokenFor } from "./model.ts";
import { refuseStartToken } from "./model-options.ts";
import { modelName } from "./model-name.ts";
import { wholeNumber } from "./options.ts";

export function addOnnxOptions(command: Command): void {
  command
    .option(
      "--opset <n>",
      "onnx: operators as of this opset, 21 to 26; older runtimes want a lower one",
      wholeNumber(1),
    )
    .option(
      "--transformers-js",
      "onnx: a folder for transformers.js: onnx/model.onnx with a key-value cache, config and tokenizer files",
    )
    .addOption(
      new Option(
        "--external-data",
        "onnx: weights in a file beside it, named by their hash, .data; of itself where one would pass 2 GiB",
      ),
    );
}

export async function exportOnnx(request: ExportRequest): Promise<string> {
  const { onnxWeights, saveOnnx } = await import("../../exchange/onnx.ts");
  const { packageVersion } = await import("../../platform/system.ts");
  const { input, type } = request;
  if (type !== undefined && !(onnxWeights as readonly string[]).includes(type))
    throw new UsageError(`--type ${type} is unknown to --format onnx; types are: ${onnxWeights.join(", ")}`);
  const { opset, externalData } = request.options as { opset?: number; externalData?: boolean };
  const forJs = request.options.transformersJs === true;
  if (!forJs) refuseStartToken(request.words, "onnx");
  if (forJs && externalData) throw new UsageError("--external-data has no meaning for --transformers-js; leave it out");
  const interruption = listenForInterrupts();
  const opened = await openModel(input, { ...request.backend, ...request.words });
  try {
    const { model, tokenizer, step, folder } = opened;
    if (forJs) return await exportTransformersJs(request, opened, { type, opset, signal: interruption.signal });
    const output = request.output ?? `${modelName(folder)}.onnx`;
    const written = await saveOnnx(output, model, tokenizer, {
      weights: type as OnnxWeights | undefined,
      opset,
      externalData,
      step,
      version: packageVersion().version,
      signal: interruption.signal,
    });
    return `${written.map(({ path, sizeBytes }) => `${path}: ${formatBytes(sizeBytes)}`).join("\n")}\n`;
  } finally {
    interruption.release();
    opened.close();
  }
}

async function exportTransformersJs(
  { output: asked, words }: ExportRequest,
  opened: OpenedForUse,
  { type, opset, signal }: { type?: string; opset?: number; signal: AbortSignal },
): Promise<string> {
  const { saveTransformersJs } = await import("../../exchange/index.ts");
  const { endTokensOf } = await import("../../infer/index.ts");
  const { packageVersion } = await import("../../platform/system.ts");
  const { model, tokenizer, step, folder, endTokens } = opened;
  const output = asked ?? `${modelName(folder)}-js`;
  const carries = step !== null || words.startToken !== undefined;
  const startToken = tokenizer && carries ? await startTokenFor(opened, tokenizer, words) : undefined;
  const files = await saveTransformersJs(output, model, tokenizer, {
    weights: type as OnnxWeights | undefined,
    opset,
    step,
    version: packageVersion().version,
    signal,
    source: folder,
    ...(startToken === undefined ? {} : { startToken }),
    ...(tokenizer ? { endTokens: endTokensOf(tokenizer, endTokens ?? folder) } : {}),
  });
  return `wrote ${output}: ${files.join(", ")}\nfor transformers.js: pipeline("text-generation", ${JSON.stringify(output)})\n`;
}
