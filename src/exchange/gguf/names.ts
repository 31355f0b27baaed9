/** Names of a model's tensors in a GGUF file, and the order of rotary rows there. */
import {
  embeddingName,
  finalNormName,
  headName,
  inBlock,
  linearNames,
  normNames,
  weightName,
} from "../../model/index.ts";

const outer: Record<string, string> = {
  [embeddingName]: "token_embd.weight",
  [finalNormName]: "output_norm.weight",
  [headName]: "output.weight",
};

const blockNames: Record<string, string> = {
  [normNames.attention]: "attn_norm",
  [linearNames.query]: "attn_q",
  [linearNames.key]: "attn_k",
  [linearNames.value]: "attn_v",
  [normNames.attentionSub]: "attn_sub_norm",
  [linearNames.output]: "attn_output",
  [normNames.feedForward]: "ffn_norm",
  [linearNames.gate]: "ffn_gate",
  [linearNames.up]: "ffn_up",
  [normNames.feedForwardSub]: "ffn_sub_norm",
  [linearNames.down]: "ffn_down",
};

/** The name in a GGUF file of a parameter named as Hugging Face does. */
export function ggufNameOf(parameter: string): string {
  const found = inBlock(parameter);
  const module = found && blockNames[found.module];
  const name = found ? module && `blk.${found.block}.${weightName(module)}` : outer[parameter];
  if (!name) throw new Error(`gguf: no name for parameter ${parameter}`);
  return name;
}

/** The optional scalar that multiplies a matrix's product: blk.0.attn_q.scale. */
export const scaleNameOf = (ggufName: string): string => ggufName.replace(/\.weight$/, ".scale");

/**
 * A key of our own, beside llama.cpp's: a file of architecture "llama" whose blocks are ternary, multiplied by int8
 * activations. Programs that do not know it run the same weights on float activations.
 */
export const ternaryKey = "bitnet_ts.ternary";

/** How many heads' rows a query or key projection holds; null for any other parameter. */
export function rotaryHeads(parameter: string, { heads, kvHeads }: { heads: number; kvHeads: number }): number | null {
  const module = inBlock(parameter)?.module;
  if (module === linearNames.query) return heads;
  return module === linearNames.key ? kvHeads : null;
}

/**
 * Rows of each head from half-split pairs (i, i + D/2), as here, to adjacent ones (2i, 2i + 1), as architecture "llama"
 * has them; `back` the other way. Row 2i + p of a head is row p · D/2 + i.
 *
 * @param rows [heads · D, K]; not changed
 */
export function interleaveRotary<T extends Float32Array | Uint8Array>(
  rows: T,
  heads: number,
  k: number,
  back = false,
): T {
  const d = rows.length / k / heads;
  const out = rows.slice() as T;
  for (let h = 0; h < heads; h++)
    for (let i = 0; i < d / 2; i++)
      for (let p = 0; p < 2; p++) {
        const paired = h * d + 2 * i + p;
        const split = h * d + p * (d / 2) + i;
        const [from, to] = back ? [paired, split] : [split, paired];
        out.set(rows.subarray(from * k, (from + 1) * k), to * k);
      }
  return out;
}
