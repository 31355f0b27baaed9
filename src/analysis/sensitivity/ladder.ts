/**
 * What a ternary layer may be raised to, rung by rung: the value quantizers that a GGUF type holds exactly (int8, and others
 * that are registered), and float. Bytes are those of a GGUF file: ternary weights at 2 bits and a float32 scale, a value
 * quantizer's in its type, float weights in F16.
 */
import type { LayerPlan } from "../../model/index.ts";
import { type ModelScale, type ValueQuantizer, weightQuantizers } from "../../nn/index.ts";
import { type BlockTypeName, ggmlBytes } from "../../quant/ggml-types.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";

export interface Rung {
  /** As in a config: "int8", "none". */
  weights: string;
  bytes: number;
}

export function ternaryBytes({ inputs, outputs }: Pick<LayerPlan, "inputs" | "outputs">): number {
  return Math.ceil((inputs * outputs) / 4) + 4;
}

/** Rungs above ternary that the layer can have, fewest bytes first. */
export function rungsOf(layer: Pick<LayerPlan, "inputs" | "outputs">): Rung[] {
  const size = layer.inputs * layer.outputs;
  const rungs: Rung[] = [{ weights: "none", bytes: 2 * size }];
  for (const name of weightQuantizers.names) {
    const quantizer = weightQuantizers.get(name);
    // With its settings' defaults, so it must have them. A type that holds any values says nothing of bytes.
    if (quantizer.form !== "values" || !isCoded(quantizer) || quantizer.refuses?.(layer)) continue;
    // What it learned is of a training.
    if (quantizer.parameters) continue;
    if (quantizer.schema && !quantizer.schema.safeParse({}).success) continue;
    rungs.push({ weights: name, bytes: ggmlBytes(quantizer.ggufType as BlockTypeName, size) });
  }
  return rungs.filter(({ bytes }) => bytes > ternaryBytes(layer)).sort((a, b) => a.bytes - b.bytes);
}

const isCoded = ({ ggufType }: ValueQuantizer): boolean =>
  ggufType !== undefined && !["F32", "F16", "BF16"].includes(ggufType);

/** The weights as the rung has them; the caller's to dispose of. null: as they are. */
export function rungValues(runtime: Runtime, w: Tensor, weights: string, scale: ModelScale): Tensor | null {
  if (weights === "none") return null;
  const quantizer = weightQuantizers.get(weights) as ValueQuantizer;
  return quantizer.quantize(runtime, w, quantizer.schema?.parse({}) ?? {}, scale, []).values;
}
