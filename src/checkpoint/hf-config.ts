/**
 * Between our model config and a Hugging Face `config.json`. What that format has no key for (initialisation, the weight
 * scale's rule, ...) stands whole under `bitnet_ts`; a file without it, from elsewhere, is read by its own keys.
 */
import { z } from "zod";
import { FormatError, UnsupportedError } from "../platform/errors.ts";
import { headWidth, type ModelConfig, modelConfigSchema, presets } from "../model/config.ts";

/** Token ids that generation needs; null where there is none. */
export interface TokenRoles {
  bos: number | null;
  eos: number | null;
}

/** Raised when what stands under `bitnet_ts` changes its meaning. */
const ownVersion = 1;

/** The keys that both describe, so that each can be checked against the other. */
function sizesOf(config: ModelConfig) {
  return {
    hidden_size: config.width,
    intermediate_size: config.hiddenWidth,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    max_position_embeddings: config.contextLength,
    vocab_size: config.vocabSize,
    rms_norm_eps: config.normEps,
    rope_theta: config.ropeBase,
    tie_word_embeddings: config.tiedHead,
    hidden_act: config.activation,
  };
}

const quantizationConfig = {
  quant_method: "bitnet",
  linear_class: "autobitlinear",
  // The file holds float weights, made ternary in each forward pass.
  quantization_mode: "online",
};

/** The content of config.json. */
export function toHuggingFaceConfig(config: ModelConfig, roles: TokenRoles): Record<string, unknown> {
  const bitnet = config.variant === "bitnet";
  return {
    architectures: [bitnet ? "BitNetForCausalLM" : "LlamaForCausalLM"],
    model_type: bitnet ? "bitnet" : "llama",
    ...sizesOf(config),
    head_dim: headWidth(config),
    attention_bias: false,
    attention_dropout: 0,
    ...(bitnet ? {} : { mlp_bias: false }),
    rope_scaling: null,
    initializer_range: config.initStd,
    bos_token_id: roles.bos,
    eos_token_id: roles.eos,
    torch_dtype: "float32",
    use_cache: true,
    ...(bitnet ? { quantization_config: quantizationConfig } : {}),
    bitnet_ts: { version: ownVersion, model: config },
  };
}

/** The content of generation_config.json: greedy unless the caller says otherwise, up to the context's end. */
export function toGenerationConfig(config: ModelConfig, roles: TokenRoles): Record<string, unknown> {
  return {
    bos_token_id: roles.bos,
    eos_token_id: roles.eos,
    max_length: config.contextLength,
    do_sample: false,
  };
}

const count = z.int().positive();
const foreignSchema = z.looseObject({
  model_type: z.string(),
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.optional(),
  max_position_embeddings: count,
  vocab_size: count,
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive().optional(),
  tie_word_embeddings: z.boolean().optional(),
  hidden_act: z.string(),
  head_dim: count.nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  rope_scaling: z.unknown(),
  quantization_config: z.looseObject({ quant_method: z.string(), quantization_mode: z.string().optional() }).nullish(),
});

/**
 * Reads a config.json.
 *
 * @param where its path, for messages
 * @throws FormatError for keys missing, wrong or at odds; UnsupportedError for an architecture that is not ours
 */
export function fromHuggingFaceConfig(content: unknown, where: string): ModelConfig {
  const own = (content as { bitnet_ts?: unknown } | null)?.bitnet_ts;
  return own === undefined ? readForeign(content, where) : readOwn(content as Record<string, unknown>, own, where);
}

function readOwn(content: Record<string, unknown>, own: unknown, where: string): ModelConfig {
  const { version, model } = check(z.object({ version: z.number(), model: z.unknown() }), own, `${where}: bitnet_ts`);
  if (version !== ownVersion)
    throw new UnsupportedError(
      `${where}: was written by another version of bitnet.ts (format ${version}, this one reads ${ownVersion}); update bitnet.ts`,
    );
  const config = check(modelConfigSchema, model, `${where}: bitnet_ts.model`);
  for (const [key, value] of Object.entries(sizesOf(config)))
    if (content[key] !== value)
      throw new FormatError(
        `${where}: ${key} is ${JSON.stringify(content[key])}, but bitnet_ts.model says ${JSON.stringify(value)}; was the file edited?`,
      );
  return config;
}

function readForeign(content: unknown, where: string): ModelConfig {
  const found = check(foreignSchema, content, where);
  const refuse = (what: string): never => {
    throw new UnsupportedError(`${where}: ${what}`);
  };
  const bitnet = found.quantization_config?.quant_method === "bitnet";
  if (!["llama", "bitnet"].includes(found.model_type))
    refuse(`model_type is ${JSON.stringify(found.model_type)}; only "llama" and "bitnet" can be read`);
  if (found.model_type === "bitnet" && !bitnet)
    refuse(`has no quantization_config of quant_method "bitnet"; expected one for model_type "bitnet"`);
  if (bitnet && found.quantization_config?.quantization_mode === "offline")
    refuse(`holds packed ternary weights (quantization_mode "offline"); use the model's float weights`);
  if (found.hidden_act !== "silu" && found.hidden_act !== "relu2")
    refuse(`hidden_act is ${JSON.stringify(found.hidden_act)}; only "silu" and "relu2" can be run`);
  if (found.attention_bias || found.mlp_bias) refuse("has biases; only models without can be run");
  if (found.rope_scaling !== undefined && found.rope_scaling !== null) refuse("rope_scaling is not supported");
  if (found.head_dim && found.head_dim * found.num_attention_heads !== found.hidden_size)
    refuse(`head_dim is ${found.head_dim}; only hidden_size / num_attention_heads can be run`);
  const { initStd, requantizeEvery, recompute } = presets.tiny;
  const config: ModelConfig = {
    variant: bitnet ? "bitnet" : "full",
    vocabSize: found.vocab_size,
    width: found.hidden_size,
    layers: found.num_hidden_layers,
    heads: found.num_attention_heads,
    kvHeads: found.num_key_value_heads ?? found.num_attention_heads,
    hiddenWidth: found.intermediate_size,
    contextLength: found.max_position_embeddings,
    tiedHead: found.tie_word_embeddings ?? false,
    activation: found.hidden_act as ModelConfig["activation"],
    ropeBase: found.rope_theta ?? 10000,
    normEps: found.rms_norm_eps,
    initStd,
    // As Hugging Face's AutoBitLinear makes them ternary.
    weightScale: "clamp",
    weightEps: 1e-5,
    requantizeEvery,
    recompute,
  };
  return check(modelConfigSchema, config, where);
}

function check<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new FormatError(`${where}: ${issue.path.join(".") || "content"}: ${issue.message}`);
}
