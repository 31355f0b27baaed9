/** ONNX files for `export`. */
import { type Command, Option } from "commander";
import type { OnnxWeights } from "../../exchange/onnx.ts";
import { UsageError } from "../../platform/errors.ts";
import type { ExportRequest } from "./format-requests.ts";
import { formatBytes } from "./format.ts";
import { listenForInterrupts } from "./interrupt.ts";
import { openModel } from "./model.ts";
import { modelName } from "./model-name.ts";
import { wholeNumber } from "./options.ts";

export function addOnnxOptions(command: Command): void {
  command
    .option(
      "--opset <n>",
      "onnx: operators as of this opset, 21 to 26; older runtimes want a lower one",
      wholeNumber(1),
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
  const interruption = listenForInterrupts();
  const opened = await openModel(input, request.backend);
  try {
    const { model, tokenizer, step, folder } = opened;
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
