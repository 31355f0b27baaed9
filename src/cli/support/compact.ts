/** Compact files for `export`, `import` and `inspect`. */
import { type Command, Option } from "commander";
import type { CompactTypes } from "../../exchange/index.ts";
import type { TernaryEncoding } from "../../formats/compact/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { RowTypeName } from "../../quant/row-types.ts";
import type { ExportRequest, ImportRequest } from "./format-requests.ts";
import { countOf, formatBytes, formatCount, formatShare, formatTable } from "./format.ts";
import { listenForInterrupts } from "./interrupt.ts";
import { openModel } from "./model.ts";
import { refuseStartToken } from "./model-options.ts";
import { modelName } from "./model-name.ts";
import { backendChoice } from "./options.ts";

const types: readonly RowTypeName[] = ["f32", "f16", "bf16", "int8", "q8", "q4"];
const encodings = ["smallest", "entropy", "trits"] as const;

/** What the types are of, and their options. */
const options = {
  embedding: { flag: "--embeddings <type>", of: "the embedding, and the head where it is tied", value: "f16" },
  head: { flag: "--head <type>", of: "a head of its own", value: "f16" },
  norm: { flag: "--norms <type>", of: "the gains of the norms", value: "f32" },
  linear: { flag: "--linear <type>", of: "float linear layers", value: "f16" },
} as const satisfies Record<keyof CompactTypes, { flag: string; of: string; value: RowTypeName }>;

const optionNames = { embedding: "embeddings", head: "head", norm: "norms", linear: "linear" } as const;

export function addCompactOptions(command: Command): void {
  for (const { flag, of, value } of Object.values(options))
    command.addOption(new Option(flag, `compact: number type of ${of}`).choices(types).default(value));
}

export async function exportCompact(request: ExportRequest): Promise<string> {
  const { bitsPerWeight } = await import("../../analysis/index.ts");
  const { isCompactPath, saveCompact } = await import("../../exchange/index.ts");
  const { readChatTemplate } = await import("../../infer/index.ts");
  const { describePlan } = await import("../../model/index.ts");
  const { exists } = await import("../../platform/files.ts");
  const { input } = request;
  const ternary = (request.type ?? "smallest") as TernaryEncoding | "smallest";
  if (!encodings.includes(ternary))
    throw new UsageError(`--type ${ternary} is unknown to --format compact; types are: ${encodings.join(", ")}`);
  const chosen = (part: keyof CompactTypes) => request.options[optionNames[part]] as RowTypeName;
  refuseStartToken(request.words, "compact");
  const interruption = listenForInterrupts();
  const opened = await openModel(input, { ...request.backend, ...request.words });
  try {
    const { model, tokenizer, step, folder } = opened;
    const output = request.output ?? `${modelName(folder)}.bitnet`;
    if (exists(output) && !isCompactPath(output))
      throw new UsageError(`${output}: is there already, and is no compact file; name another with -o`);
    const { sizeBytes, tensors } = await saveCompact(output, model, tokenizer, {
      types: {
        embedding: chosen("embedding"),
        head: chosen("head"),
        norm: chosen("norm"),
        linear: chosen("linear"),
      },
      ternary,
      step,
      chatTemplate: opened.chatTemplate === undefined ? readChatTemplate(folder) : opened.chatTemplate,
      signal: interruption.signal,
    });
    const rounded = tensors.filter(({ role }) => role === "embedding" || role === "head" || role === "linear");
    const worst = rounded.reduce((most, tensor) => Math.max(most, tensor.relativeError ?? 0), 0);
    const quantized = model.plan.layers.filter(({ weights }) => weights && weights.quantizer.form !== "ternary");
    const lines = [`${output}: ${formatBytes(sizeBytes)}`];
    const matrices = tensors.filter(({ role }) => role === "ternary");
    if (matrices.length > 0)
      lines.push(`ternary weights: ${bitsPerWeight(matrices).toFixed(4)} bits each, exactly as they were`);
    if (quantized.length > 0)
      lines.push(`layers of other quantizers: ${quantized.length}, exactly as they were (${describePlan(model.plan)})`);
    if (worst > 0) {
      const changed = rounded.filter(({ relativeError }) => relativeError !== 0);
      const how = [...new Set(changed.map(({ encoding }) => encoding))].join(", ");
      lines.push(`other matrices: ${how}, rounded by ${worst.toPrecision(2)} of their size at most (root mean square)`);
    }
    return `${lines.join("\n")}\n`;
  } finally {
    interruption.release();
    opened.close();
  }
}

export async function importCompact({ input, output, backend }: ImportRequest): Promise<string> {
  const { createBackend } = await import("../../backends/index.ts");
  const { importCompact: read, isCompactPath } = await import("../../exchange/index.ts");
  const { Runtime } = await import("../../tensor/index.ts");
  if (!isCompactPath(input))
    throw new UsageError(`${input}: is not a compact file; bitnet export --format compact writes them`);
  const device = await createBackend(backendChoice(backend));
  try {
    const { config, parameters } = await read(input, output, new Runtime(device));
    const { describeModel } = await import("../../model/index.ts");
    return `${output}: ${describeModel(config)} model of ${countOf(parameters, "parameter")}\n`;
  } finally {
    device.close();
  }
}

/** What a compact file holds, as analysis/compact-file.ts measures it. */
export async function inspectCompact(path: string, json: boolean): Promise<string> {
  const { measureCompactFile } = await import("../../analysis/index.ts");
  const { summary, config, layers, tensors, others } = measureCompactFile(path);
  const { describeModel } = await import("../../model/index.ts");
  const { step, ternaryBytes, ternaryWeights, ternaryBitsPerWeight, fileBytes } = summary;
  if (json) return `${JSON.stringify({ ...summary, config, ternaryLayers: layers, tensors }, null, 2)}\n`;
  const parts = [
    ["in the file", "bytes", "weights", "bits a weight"],
    ...(ternaryBitsPerWeight !== null
      ? [["ternary weights, scales counted", ternaryBytes, ternaryWeights, ternaryBitsPerWeight] as const]
      : []),
    ...others.map(
      ({ type, bytes, weights }) => [`other weights, ${type}`, bytes, weights, (8 * bytes) / weights] as const,
    ),
    ["tokenizer, deflated", summary.tokenizerBytes, null, null] as const,
    ["header", summary.headerBytes, null, null] as const,
    ["file", fileBytes, summary.parameters, summary.bitsPerParameter] as const,
  ].map(([what, bytes, weights, bits]) => [
    String(what),
    typeof bytes === "number" ? formatCount(bytes) : String(bytes),
    typeof weights === "number" ? formatCount(weights) : (weights ?? ""),
    typeof bits === "number" ? bits.toFixed(4) : (bits ?? ""),
  ]);
  const rows = layers.map((layer) => [
    layer.name,
    ...[layer.minus, layer.zero, layer.plus].map((share) => formatShare(share, 1)),
    layer.gamma.toPrecision(4),
    layer.entropy.toFixed(4),
    layer.bits.toFixed(4),
    layer.encoding,
  ]);
  const head = ["ternary layer", "-1", "0", "+1", "gamma", "entropy", "bits", "coded as"];
  return [
    `${path}: compact model (${describeModel(config)})${step === null ? "" : `, step ${formatCount(step)}`}, ${formatBytes(fileBytes)}; every hash is right\n`,
    formatTable(parts, [1, 2, 3]),
    ...(summary.ternaryEntropyBits !== null
      ? [
          `${formatTable([head, ...rows], [1, 2, 3, 4, 5, 6])}entropy: of a weight, by the layer's shares; at most log2 3 = 1.5850 bits. bits: in this file; ${summary.ternaryEntropyBits.toFixed(4)} is the mean entropy\n`,
        ]
      : []),
  ].join("\n");
}
