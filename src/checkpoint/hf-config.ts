/**
 * Between our model config and a Hugging Face `config.json`. What that format has no key for (initialisation, the weight
 * scale's rule, ...) stands whole under `bitnet_ts`; a file without it, from elsewhere, is read by its own keys.
 */
import { z } from "zod";
import { FormatError, UnsupportedError } from "../platform/errors.ts";
import { show } from "../platform/show.ts";
import { issueWords } from "../platform/issue.ts";
import {
  checkQuantization,
  headWidth,
  type LayerPlan,
  type ModelConfig,
  maxPlannedBlocks,
  modelConfigSchema,
  planModel,
  presets,
  quantizationOf,
} from "../model/index.ts";
import { isBitLinear } from "../nn/index.ts";

/** How Hugging Face's quantiser scales ternary weights: s = max(mean|W|, 1e-5). */
export const huggingFaceScale = { weightScale: "clamp", weightEps: 1e-5 } as const satisfies Partial<ModelConfig>;

/** Token ids that generation needs; null where there is none. */
export interface TokenRoles {
  bos: number | null;
  eos: number | null;
}

/** The output head among PyTorch's modules. */
const headModule = "lm_head";

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

/**
 * How the matrices of a file's ternary layers are stored, in the words of transformers' `quantization_config`:
 *
 *   float            [N, K] float master weights, made ternary in each forward pass (autobitlinear, online)
 *   packed           [N / 4, K] bytes of four codes, and weight_scale s: w = s · q (autobitlinear, offline)
 *   packed-inverse   the same with weight_scale 1 / s (bitlinear; what conversions of 2024 wrote)
 */
export type WeightLayout = "float" | "packed" | "packed-inverse";

/** Names that PyTorch gives the dtypes of float tensors. */
export type FloatDType = "float32" | "float16" | "bfloat16";

export interface HuggingFaceConfigOptions {
  layout?: "float" | "packed";
  /** Of the float tensors. */
  dtype?: FloatDType;
}

/** What transformers' BitNet quantizer does to a layer: nothing, or ternary weights with int8 inputs. */
export const transformersRuns = (layer: LayerPlan): boolean =>
  isBitLinear(layer) || (!layer.weights && !layer.activations);

/** The same of float weights, which it makes ternary by absmean. */
const transformersMakes = (layer: LayerPlan): boolean => {
  const quantizer = layer.weights?.quantizer;
  return transformersRuns(layer) && (quantizer?.form !== "ternary" || quantizer.isAbsmean === true);
};

/** A model_type that transformers does not know, for models that it would run otherwise than they are. */
const ownType = "bitnet_ts";

/** The content of config.json. */
export function toHuggingFaceConfig(
  config: ModelConfig,
  roles: TokenRoles,
  { layout = "float", dtype = "float32" }: HuggingFaceConfigOptions = {},
): Record<string, unknown> {
  const plan = planModel(config);
  const kept = plan.layers.filter((layer) => !isBitLinear(layer));
  const quantizationConfig = {
    quant_method: "bitnet",
    linear_class: "autobitlinear",
    quantization_mode: layout === "float" ? "online" : "offline",
    // Names in full: transformers takes part of a name for the name, and its own default no longer holds.
    ...(kept.length > 0 ? { modules_to_not_convert: [headModule, ...kept.map(({ name }) => name)] } : {}),
  };
  // Without sub-norms a ternary model is a LLaMA model whose linear layers transformers replaces.
  const bitnet = plan.subNorms;
  const runs = plan.layers.every(layout === "float" ? transformersMakes : transformersRuns);
  return {
    architectures: [bitnet ? "BitNetForCausalLM" : "LlamaForCausalLM"],
    model_type: !runs ? ownType : bitnet ? "bitnet" : "llama",
    ...sizesOf(config),
    head_dim: headWidth(config),
    attention_bias: false,
    attention_dropout: 0,
    ...(bitnet ? {} : { mlp_bias: false }),
    rope_scaling: null,
    initializer_range: config.initStd,
    bos_token_id: roles.bos,
    eos_token_id: roles.eos,
    torch_dtype: dtype,
    use_cache: true,
    ...(plan.anyTernary ? { quantization_config: quantizationConfig } : {}),
    bitnet_ts: { version: ownVersion, model: config },
  };
}

/**
 * The content of generation_config.json: greedy unless the caller says otherwise, up to the context's end.
 *
 * @param endTokens every token that ends a text or an answer, where there are more than the tokenizer's own
 */
export function toGenerationConfig(
  config: ModelConfig,
  roles: TokenRoles,
  endTokens: readonly number[] = [],
): Record<string, unknown> {
  return {
    bos_token_id: roles.bos,
    eos_token_id: endTokens.length > 1 ? endTokens : (endTokens[0] ?? roles.eos),
    max_length: config.contextLength,
    do_sample: false,
  };
}

const count = z.int().positive();
const quantizationSchema = z.looseObject({
  quant_method: z.string(),
  linear_class: z.enum(["bitlinear", "autobitlinear"]).default("bitlinear"),
  quantization_mode: z.enum(["online", "offline"]).default("offline"),
  use_rms_norm: z.boolean().nullish(),
  modules_to_not_convert: z.array(z.string()).nullish(),
});
const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  /** What older files call it. */
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().nullish(),
  attention_factor: z.number().nullish(),
  partial_rotary_factor: z.number().nullish(),
});
const foreignSchema = z.looseObject({
  model_type: z.string(),
  architectures: z.array(z.string()).nullish(),
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  max_position_embeddings: count,
  vocab_size: count,
  rms_norm_eps: z.number().positive(),
  rope_theta: z.number().positive().optional(),
  tie_word_embeddings: z.boolean().optional(),
  hidden_act: z.string(),
  head_dim: count.nullish(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  rope_scaling: ropeSchema.nullish(),
  /** Where transformers 5 writes base and scaling. */
  rope_parameters: ropeSchema.nullish(),
  partial_rotary_factor: z.number().nullish(),
  /** The first reproduction's way to say that its weights are ternary. */
  weight_bits: z.number().nullish(),
  input_bits: z.number().nullish(),
  quantization_config: quantizationSchema.nullish(),
  /** Ours, for checkpoints whose config does not tell: whether norms stand before the output and down projections. */
  sub_norm: z.boolean().nullish(),
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
  checkQuantization(config, `${where}: bitnet_ts.model`);
  for (const [key, value] of Object.entries(sizesOf(config)))
    if (content[key] !== value)
      throw new FormatError(
        `${where}: ${key} is ${show(content[key])}, but bitnet_ts.model says ${show(value)}; was the file edited?`,
      );
  return config;
}

function readForeign(content: unknown, where: string): ModelConfig {
  const found = check(foreignSchema, content, where);
  const refuse = (what: string): never => {
    throw new UnsupportedError(`${where}: ${what}`);
  };
  const quantization = found.quantization_config;
  if (quantization && quantization.quant_method !== "bitnet")
    refuse(`is quantised by ${show(quantization.quant_method)}; use the model's float weights`);
  if (!["llama", "bitnet"].includes(found.model_type))
    refuse(`model_type is ${show(found.model_type)}; only "llama" and "bitnet" can be read`);
  // microsoft's and ours say so by model_type; the first reproduction by its architecture and bits.
  const reproduction = /^bitnet/i.test(found.architectures?.[0] ?? "") && (found.weight_bits ?? 1) === 1;
  // transformers runs such a model in full precision, which nobody means.
  if (found.model_type === "bitnet" && !quantization && !reproduction)
    refuse(`has no quantization_config of quant_method "bitnet"; expected one for model_type "bitnet"`);
  const withSubNorms = found.model_type === "bitnet" || reproduction;
  // Else LLaMA's own layers made ternary as they were, as the Llama3-8B-1.58 models are.
  const bitnet = withSubNorms || quantization?.quant_method === "bitnet";
  if (reproduction && (found.input_bits ?? 8) !== 8) refuse(`input_bits is ${found.input_bits}; only 8 can be run`);
  if (quantization?.use_rms_norm) refuse("use_rms_norm is true; only norms that are layers of their own can be run");
  if (found.hidden_act !== "silu" && found.hidden_act !== "relu2")
    refuse(`hidden_act is ${show(found.hidden_act)}; only "silu" and "relu2" can be run`);
  if (found.attention_bias || found.mlp_bias) refuse("has biases; only models without can be run");
  for (const key of ["rope_scaling", "rope_parameters"] as const) {
    const wrong = scalingOf(found[key] ?? {});
    if (wrong) refuse(`${key} ${wrong}; only plain rotary positions can be run`);
  }
  const partial = found.rope_parameters?.partial_rotary_factor ?? found.partial_rotary_factor ?? 1;
  if (partial !== 1) refuse(`partial_rotary_factor is ${partial}; only 1 can be run`);
  if (found.head_dim && found.head_dim * found.num_attention_heads !== found.hidden_size)
    refuse(`head_dim is ${found.head_dim}; only hidden_size / num_attention_heads can be run`);
  const { initStd, requantizeEvery, recompute } = presets.tiny;
  const config: ModelConfig = {
    variant: bitnet ? "bitnet" : "full",
    subNorms: bitnet ? (found.sub_norm ?? withSubNorms) : presets.tiny.subNorms,
    vocabSize: found.vocab_size,
    width: found.hidden_size,
    layers: found.num_hidden_layers,
    heads: found.num_attention_heads,
    kvHeads: found.num_key_value_heads ?? found.num_attention_heads,
    hiddenWidth: found.intermediate_size,
    contextLength: found.max_position_embeddings,
    tiedHead: found.tie_word_embeddings ?? false,
    activation: found.hidden_act as ModelConfig["activation"],
    // transformers' own defaults: 500000 in its BitNetConfig, 10000 in its LlamaConfig.
    ropeBase:
      found.rope_parameters?.rope_theta ??
      found.rope_theta ??
      found.rope_scaling?.rope_theta ??
      (found.model_type === "bitnet" ? 500000 : 10000),
    normEps: found.rms_norm_eps,
    initStd,
    // As Hugging Face's AutoBitLinear makes them ternary.
    ...huggingFaceScale,
    requantizeEvery,
    recompute,
  };
  const plain = check(modelConfigSchema, config, where);
  const excluded = bitnet ? excludedLayers(plain, quantization?.modules_to_not_convert ?? [], where) : [];
  const choices = new Map(excluded.map((name) => [name, { weights: "none", activations: "none" }]));
  return choices.size > 0 ? { ...plain, quantization: quantizationOf(choices, plain.layers) } : plain;
}

/**
 * The layers that modules_to_not_convert leaves in float. Up to its version 4 transformers looks for each entry anywhere in a
 * layer's name; from 5 on it is a regular expression for the name's beginning, or the name's end.
 *
 * @throws UnsupportedError for an entry that means other layers to one than to the other
 */
function excludedLayers(config: ModelConfig, entries: readonly string[], where: string): string[] {
  if (entries.length === 0) return [];
  if (config.layers > maxPlannedBlocks)
    throw new UnsupportedError(
      `${where}: num_hidden_layers is ${config.layers}; with modules_to_not_convert at most ${maxPlannedBlocks} are read`,
    );
  const names = planModel(config).layers.map(({ name }) => name);
  const excluded = new Set<string>();
  for (const entry of entries) {
    const older = names.filter((name) => name.includes(entry));
    let starts: RegExp;
    try {
      starts = new RegExp(`^(?:${entry})`);
    } catch {
      throw new UnsupportedError(`${where}: modules_to_not_convert has ${JSON.stringify(entry)}, which is no pattern`);
    }
    const newer = names.filter((name) => starts.test(name) || name.endsWith(entry));
    if (older.join() !== newer.join())
      throw new UnsupportedError(
        `${where}: modules_to_not_convert has ${JSON.stringify(entry)}, which versions of transformers read differently; name the layers in full, such as ${names[0]}`,
      );
    for (const name of older) excluded.add(name);
  }
  return names.filter((name) => excluded.has(name));
}

/**
 * Why rotary positions are not plain ones; null where they are: no scaling, or one by 1, which every type of transformers
 * (linear, dynamic, yarn, llama3) makes into none within the model's context.
 */
function scalingOf(rope: z.infer<typeof ropeSchema>): string | null {
  const type = rope.rope_type ?? rope.type ?? "default";
  if (type === "default") {
    // A factor without a type has none to be applied by; one of 1 asks for nothing.
    return (rope.factor ?? 1) === 1 ? null : `has a factor of ${rope.factor} and no type`;
  }
  const known = ["linear", "dynamic", "yarn", "llama3"].includes(type);
  if (!known || rope.factor !== 1)
    return `is of type ${JSON.stringify(type)}${known ? `, factor ${rope.factor ?? "unknown"}` : ""}`;
  return (rope.attention_factor ?? 1) === 1 ? null : `scales attention by ${rope.attention_factor}`;
}

/**
 * How a config.json says that its model's matrices are stored.
 *
 * @throws FormatError, UnsupportedError
 */
export function readWeightLayout(content: unknown, where: string): WeightLayout {
  const { quantization_config: found } = check(
    z.looseObject({ quantization_config: quantizationSchema.nullish() }),
    content,
    where,
  );
  if (!found) return "float";
  if (found.linear_class === "bitlinear") return "packed-inverse";
  return found.quantization_mode === "online" ? "float" : "packed";
}

function check<T>(schema: z.ZodType<T>, value: unknown, where: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new FormatError(`${where}: ${issueWords(issue)}`);
}
