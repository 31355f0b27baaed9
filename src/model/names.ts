/**
 * What a model's parameters are called: the names of a Hugging Face LLaMA checkpoint. This is the only file that spells
 * them; the transformer, the file formats and the reports take them from here, the linear layers' names from the plan.
 */

export type LinearRole = "query" | "key" | "value" | "output" | "gate" | "up" | "down";
export type NormRole = "attention" | "attentionSub" | "feedForward" | "feedForwardSub";

export const embeddingName = "model.embed_tokens.weight";
/** The norm before the head, and its parameter. */
export const finalNorm = "model.norm";
export const finalNormName = "model.norm.weight";
/** Of a head that is not the embedding. */
export const headName = "lm_head.weight";

/** The linear layers inside a block, in the order of their parameters. */
export const linearNames: Readonly<Record<LinearRole, string>> = {
  query: "self_attn.q_proj",
  key: "self_attn.k_proj",
  value: "self_attn.v_proj",
  output: "self_attn.o_proj",
  gate: "mlp.gate_proj",
  up: "mlp.up_proj",
  down: "mlp.down_proj",
};
export const linearRoles = Object.keys(linearNames) as LinearRole[];

/** The norms inside a block; sub-norms stand before the output and down projections, in models that have them. */
export const normNames: Readonly<Record<NormRole, string>> = {
  attention: "input_layernorm",
  attentionSub: "self_attn.attn_sub_norm",
  feedForward: "post_attention_layernorm",
  feedForwardSub: "mlp.ffn_sub_norm",
};

const blocks = "model.layers";

/** A module of a block: `moduleName(3, linearNames.down)` is "model.layers.3.mlp.down_proj". */
export const moduleName = (block: number, inBlock: string): string => `${blocks}.${block}.${inBlock}`;

/** The parameter of a linear layer or a norm. */
export const weightName = (module: string): string => `${module}.weight`;

/** The block of a parameter and its module inside it; null for a parameter outside the blocks. */
export function inBlock(parameter: string): { block: number; module: string } | null {
  const match = /^model\.layers\.(\d+)\.(.+)\.weight$/.exec(parameter);
  return match && { block: Number(match[1]), module: match[2] };
}

/** A layer's name as people write it: without the leading "model.". */
export const shortName = (layer: string): string => layer.replace(/^model\./, "");
