/**
 * What a model weighs, from a file that is written, measured and removed: the compact file (docs/compact.md), ternary
 * weights at their entropy, everything else in half precision. Nothing is reckoned from a formula.
 */
import { saveCompact } from "../exchange/index.ts";
import { inspectTernaryLayers, type TernaryLayerInfo, type Transformer } from "../model/index.ts";
import { joinPath } from "../platform/files.ts";
import { withTemporaryFolder } from "../platform/temporary.ts";
import type { Tokenizer } from "../tokenizer/index.ts";

export interface SizeMeasurement {
  /** Of the compact file, tokenizer and header counted. */
  fileBytes: number;
  parameters: number;
  ternaryParameters: number;
  /** 8 · fileBytes / parameters. */
  bitsPerParameter: number;
  /** Of the weights of linear layers in the file: ternary (a float32 scale for each matrix counted), int8, or half precision. */
  linearBitsPerWeight: number;
  /** The same of the ternary layers alone; null for a model without any. */
  ternaryBitsPerWeight: number | null;
  /** Mean of the layers' entropies by their weights, at most log2 3 = 1.585; null likewise. */
  ternaryEntropyBits: number | null;
  /** Each ternary matrix: shares of -1, 0, +1, scale, entropy; bits in the file, null where no compact file holds the model. */
  layers: (TernaryLayerInfo & { fileBits: number | null })[];
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

export async function measureSize(
  model: Transformer,
  tokenizer: Tokenizer | null,
  options: { signal?: AbortSignal } = {},
): Promise<SizeMeasurement> {
  const written = await withTemporaryFolder((folder) =>
    saveCompact(joinPath(folder, "model.bitnet"), model, tokenizer, { signal: options.signal }),
  );
  const bytesOf = new Map(written.tensors.map(({ name, bytes }) => [name, bytes]));
  const sizes = new Map(model.parameters.map(({ name, size }) => [name, size]));
  const parameters = sum([...sizes.values()]);
  const layers = (await inspectTernaryLayers(model)).map((layer) => ({
    ...layer,
    fileBits: (8 * bytesOf.get(layer.name)!) / sizes.get(layer.name)!,
  }));
  const linear = written.tensors.filter(({ role }) => role === "ternary" || role === "linear");
  const linearBytes = sum(linear.map(({ bytes, role }) => bytes + (role === "ternary" ? 4 : 0)));
  const ternaryParameters = layers.reduce((sum, { name }) => sum + sizes.get(name)!, 0);
  const overTernary = (value: (layer: (typeof layers)[number], size: number) => number) =>
    layers.length === 0
      ? null
      : layers.reduce((sum, layer) => sum + value(layer, sizes.get(layer.name)!), 0) / ternaryParameters;
  return {
    fileBytes: written.sizeBytes,
    parameters,
    ternaryParameters,
    bitsPerParameter: (8 * written.sizeBytes) / parameters,
    linearBitsPerWeight: (8 * linearBytes) / sum(linear.map(({ name }) => sizes.get(name)!)),
    ternaryBitsPerWeight: overTernary(({ name }) => 8 * (bytesOf.get(name)! + 4)),
    ternaryEntropyBits: overTernary(({ entropyBits }, size) => entropyBits * size),
    layers,
  };
}
