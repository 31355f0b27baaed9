/**
 * Every key of a GGUF file that changes what its model computes: read by import.ts, harmless at the value that it has, or
 * refused by name. The list is llama.cpp's (src/llama-arch.cpp, LLM_KV_NAMES); which are read for which architecture there
 * is not followed: a file that names a setting means it. Called by import.ts; the tokenizer's keys are in tokenizer-keys.ts.
 */
import type { GgufMetadata, GgufValue } from "../../formats/gguf/index.ts";
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import { ternaryKey } from "./names.ts";

/** What a file says that is not done. */
export interface GgufRemarks {
  /** Said whenever the file is opened: something may come out otherwise than its author meant. */
  notes: string[];
  /** Keys that have no effect here, each with the reason; `inspect` lists them. */
  ignored: string[];
}

/** Keys of the architecture ("llama.block_count") that make the model's config, and those that only describe. */
const applied = new Set([
  ...["context_length", "embedding_length", "block_count", "feed_forward_length", "vocab_size"],
  ...["attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length"],
  ...["attention.layer_norm_rms_epsilon", "rope.dimension_count", "rope.freq_base"],
  ...["rope.scaling.type", "rope.scaling.factor", "rope.scale_linear"],
]);

/** A key that is harmless at some values: which, in words and as a test. */
interface Harmless {
  wanted: string;
  holds: (value: GgufValue, about: ModelFacts) => boolean;
}

interface ModelFacts {
  architecture: string;
  headWidth: number;
  contextLength: number;
  width: number;
  /** The attention window, where one is set that is shorter than the context. */
  windowed: boolean;
}

const numbersOf = (value: GgufValue): number[] => {
  if (value.type === "bool") return [value.value ? 1 : 0];
  if (value.type === "string") return [Number.NaN];
  if (value.type !== "array") return [Number(value.value)];
  if (value.of === "string" || value.of === "array") return value.values.length === 0 ? [] : [Number.NaN];
  return Array.from(value.values, Number);
};
const all = (value: GgufValue, holds: (x: number) => boolean) => numbersOf(value).every(holds);
const close = (a: number, b: number) => Math.abs(a - b) <= 1e-6 * Math.abs(b);

const zero: Harmless = { wanted: "0", holds: (value) => all(value, (x) => x === 0) };
const zeroOrOne: Harmless = { wanted: "1", holds: (value) => all(value, (x) => x === 0 || x === 1) };
/** Of a window that is not there. */
const ofWindow: Harmless = { wanted: "no attention window", holds: (_, { windowed }) => !windowed };
/** Has no part in the computation of these architectures, whatever its value. */
const unused: Harmless = { wanted: "", holds: () => true };

const activations: Record<string, readonly string[]> = {
  silu: ["silu", "swiglu", "swish"],
  relu2: ["relu2", "relu_squared", "relu_sqr"],
};

const harmless: Record<string, Harmless> = {
  "attention.causal": { wanted: "true", holds: (value) => all(value, (x) => x === 1) },
  "attention.sliding_window": {
    wanted: "none shorter than the context",
    holds: (value, { contextLength }) => all(value, (x) => x === 0 || x >= contextLength),
  },
  "attention.sliding_window_pattern": ofWindow,
  "attention.key_length_swa": ofWindow,
  "attention.value_length_swa": ofWindow,
  "rope.dimension_count_swa": ofWindow,
  "rope.freq_base_swa": ofWindow,
  "attention.scale": {
    wanted: "1 / sqrt(head width)",
    holds: (value, { headWidth }) => all(value, (x) => x === 0 || close(x, 1 / Math.sqrt(headWidth))),
  },
  "attention.output_scale": zeroOrOne,
  "attention.value_scale": zeroOrOne,
  logit_scale: zeroOrOne,
  embedding_scale: zeroOrOne,
  residual_scale: zeroOrOne,
  "rope.scaling.attn_factor": { wanted: "1", holds: (value) => all(value, (x) => x === 1) },
  "rope.scaling.yarn_attn_factor": { wanted: "1", holds: (value) => all(value, (x) => x === 1) },
  "rope.scaling.alpha": zeroOrOne,
  // Of a scaling by 1: the scaling itself is held to identity below.
  "rope.scaling.original_context_length": unused,
  "rope.scaling.finetuned": unused,
  "rope.scaling.yarn_log_multiplier": unused,
  "rope.scaling.yarn_ext_factor": unused,
  "rope.scaling.yarn_beta_fast": unused,
  "rope.scaling.yarn_beta_slow": unused,
  "attention.layer_norm_epsilon": unused,
  "attention.group_norm_epsilon": unused,
  tensor_data_layout: unused,
  embedding_length_out: {
    wanted: "the model's width",
    holds: (value, { width }) => all(value, (x) => x === 0 || x === width),
  },
  hidden_activation: {
    wanted: "the architecture's own",
    holds: (value, { architecture }) =>
      value.type === "string" &&
      activations[architecture === "llama" || architecture === "bitnet" ? "silu" : "relu2"].includes(value.value),
  },
};

/** Settings of other kinds of models: a file of ours has none of them, or 0. */
const others: readonly string[] = [
  ...["embedding_length_per_layer_input", "features_length", "leading_dense_block_count", "expert_feed_forward_length"],
  ...[
    "expert_shared_feed_forward_length",
    "expert_chunk_feed_forward_length",
    "swiglu_clamp_exp",
    "swiglu_clamp_shexp",
  ],
  ...["use_parallel_residual", "expert_count", "expert_used_count", "expert_shared_count", "expert_group_count"],
  ...["expert_group_used_count", "expert_weights_scale", "expert_weights_norm", "expert_gating_func"],
  ...["expert_group_scale", "experts_per_group", "moe_every_n_layers", "moe_latent_size", "nextn_predict_layers"],
  ...["n_deepstack_layers", "deepstack_mapping", "pooling_type", "classifier.pooling_type", "decoder_start_token_id"],
  ...["decoder_block_count", "attn_logit_softcapping", "router_logit_softcapping", "final_logit_softcapping"],
  ...["swin_norm", "rescale_every_n_layers", "time_mix_extra_dim", "time_decay_extra_dim", "token_shift_count"],
  ...["interleave_moe_layer_step", "full_attention_interval", "attention.max_alibi_bias", "attention.clamp_kqv"],
  ...["attention.group_norm_groups", "attention.q_lora_rank", "attention.kv_lora_rank", "attention.decay_lora_rank"],
  ...["attention.iclr_lora_rank", "attention.value_residual_mix_lora_rank", "attention.gate_lora_rank"],
  ...["attention.relative_buckets_count", "attention.temperature_length", "attention.temperature_scale"],
  ...["attention.key_length_mla", "attention.value_length_mla", "attention.indexer.head_count"],
  ...["attention.indexer.key_length", "attention.indexer.top_k", "attention.output_group_count"],
  ...["attention.output_lora_rank", "attention.compress_rope_freq_base", "attention.compress_ratios"],
  ...["attention.shared_kv_layers", "attention.recurrent_layers", "hyper_connection.count"],
  ...["hyper_connection.sinkhorn_iterations", "hyper_connection.epsilon", "hash_layer_count"],
  ...["rope.dimension_sections", "ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank"],
  ...["ssm.group_count", "ssm.dt_b_c_rms", "kda.head_dim", "wkv.head_size", "posnet.embedding_length"],
  ...["posnet.block_count", "convnext.embedding_length", "convnext.block_count", "classifier.output_labels"],
  ...["target_layers", "target_hidden_size", "norm_before_residual", "shortconv.l_cache", "dense_2_feat_in"],
  ...["dense_2_feat_out", "dense_3_feat_in", "dense_3_feat_out"],
];
for (const key of others) harmless[key] = zero;

/** The keys of an architecture that this file has a rule for: for the table in the tests. */
export const knownModelKeys: readonly string[] = [...applied, ...Object.keys(harmless)];

const show = (value: GgufValue): string =>
  value.type === "array"
    ? `[${Array.from(value.values as ArrayLike<unknown>)
        .join(", ")
        .slice(0, 60)}]`
    : String(value.value);

/** A whole number from `least`; a list of one for each layer where all are the same. @throws UnsupportedError */
export function layerCount(metadata: GgufMetadata, key: string, least = 1): number | undefined {
  const value = metadata.get(key);
  if (value?.type !== "array") return metadata.findCount(key, least);
  const [first, ...rest] = numbersOf(value);
  if (first === undefined || rest.some((x) => x !== first) || !Number.isSafeInteger(first) || first < least)
    throw new UnsupportedError(
      `${metadata.where}: ${key} is ${show(value)}; only models whose layers are all of one size can be run`,
    );
  return first;
}

/**
 * Holds the rotary scaling to identity, as llama.cpp reads it: the factor is rope.scaling.factor, else the older
 * rope.scale_linear, and 0 stands for 1; the type is linear where none is named, and "none" switches a factor off.
 *
 * @throws UnsupportedError for any other
 */
export function checkRotaryScaling(metadata: GgufMetadata, architecture: string): void {
  const key = (name: string) => `${architecture}.rope.${name}`;
  const type = metadata.findText(key("scaling.type")) ?? "linear";
  const from = metadata.has(key("scaling.factor")) ? key("scaling.factor") : key("scale_linear");
  const factor = metadata.findNumber(from) ?? 0;
  if (type === "none") return;
  if (!["linear", "yarn"].includes(type) || (factor !== 0 && factor !== 1))
    throw new UnsupportedError(
      `${metadata.where}: rotary scaling (${key("scaling.type")} ${type}${factor === 0 ? "" : `, ${from} ${factor}`}) is not supported`,
    );
}

/**
 * @throws UnsupportedError naming a key, its value and what it would have to be; FormatError for a file that holds no model
 */
export function checkModelKeys(metadata: GgufMetadata, facts: Omit<ModelFacts, "windowed">): GgufRemarks {
  const { architecture, contextLength } = facts;
  const { where } = metadata;
  const type = metadata.findText("general.type") ?? "model";
  if (type !== "model")
    throw new FormatError(`${where}: general.type is ${JSON.stringify(type)}; expected "model", a model's own file`);
  checkRotaryScaling(metadata, architecture);
  const window = metadata.get(`${architecture}.attention.sliding_window`);
  const windowed = window !== undefined && !all(window, (x) => x === 0 || x >= contextLength);
  const remarks: GgufRemarks = { notes: [], ignored: [] };
  for (const key of metadata.keys) {
    const value = metadata.get(key)!;
    if (key.startsWith("adapter.") || key.startsWith("xielu."))
      throw new UnsupportedError(`${where}: ${key} is of another kind of file or model; it cannot be run`);
    if (key.startsWith("general.sampling.")) {
      remarks.ignored.push(`${key} (${show(value)}): name it yourself, as an option of the command`);
      continue;
    }
    if (/^(general|tokenizer|split|quantize)\./.test(key) || key === ternaryKey) continue;
    if (!key.startsWith(`${architecture}.`)) {
      remarks.ignored.push(`${key} (${show(value)}): is not of architecture "${architecture}"`);
      continue;
    }
    const name = key.slice(architecture.length + 1);
    if (applied.has(name)) continue;
    const rule = Object.hasOwn(harmless, name) ? harmless[name] : undefined;
    if (!rule) remarks.notes.push(`${key} (${show(value)}) is not known and is not applied`);
    else if (!rule.holds(value, { ...facts, windowed }))
      throw new UnsupportedError(`${where}: ${key} is ${show(value)}; only ${rule.wanted} can be run`);
    else if (rule === unused || rule === ofWindow)
      remarks.ignored.push(`${key} (${show(value)}): plays no part in this architecture`);
  }
  return remarks;
}
