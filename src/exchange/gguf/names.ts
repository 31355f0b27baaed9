/** Names of a model's tensors in a GGUF file, and the order of rotary rows there. */

const outer: Record<string, string> = {
  "model.embed_tokens.weight": "token_embd.weight",
  "model.norm.weight": "output_norm.weight",
  "lm_head.weight": "output.weight",
};

const inBlock: Record<string, string> = {
  input_layernorm: "attn_norm",
  "self_attn.q_proj": "attn_q",
  "self_attn.k_proj": "attn_k",
  "self_attn.v_proj": "attn_v",
  "self_attn.attn_sub_norm": "attn_sub_norm",
  "self_attn.o_proj": "attn_output",
  post_attention_layernorm: "ffn_norm",
  "mlp.gate_proj": "ffn_gate",
  "mlp.up_proj": "ffn_up",
  "mlp.ffn_sub_norm": "ffn_sub_norm",
  "mlp.down_proj": "ffn_down",
};

/** The name in a GGUF file of a parameter named as Hugging Face does. */
export function ggufNameOf(parameter: string): string {
  const block = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(parameter);
  const name = block ? inBlock[block[2]] && `blk.${block[1]}.${inBlock[block[2]]}.weight` : outer[parameter];
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
  if (parameter.endsWith(".q_proj.weight")) return heads;
  return parameter.endsWith(".k_proj.weight") ? kvHeads : null;
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
