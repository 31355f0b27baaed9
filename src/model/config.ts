/**
 * What a model is, as data. A preset is a full config; a variant (`bitnet` or `full`) is the same skeleton with ternary
 * linear layers and, unless `subNorms` says otherwise, sub-norms; or plain linear layers and none.
 */
import { z } from "zod";
import { UsageError } from "../platform/errors.ts";
import { quantizationSchema } from "./quantization.ts";

const count = z.int().positive();

export const modelConfigSchema = z
  .strictObject({
    /** bitnet: ternary linear layers. full: the full-precision twin. */
    variant: z.enum(["bitnet", "full"]),
    /**
     * A norm in front of the attention's output projection and of the down projection, as the paper's authors have them.
     * False for LLaMA models made ternary as they were (Llama3-8B-1.58). Of `bitnet` only: `full` has none, whatever stands here.
     */
    subNorms: z.boolean().default(true),
    /** V: tokens of the vocabulary. */
    vocabSize: count,
    /** C: width of the residual stream. */
    width: count,
    /** L: blocks. */
    layers: count,
    /** H: query heads. */
    heads: count,
    /** G: key/value heads; divides H. */
    kvHeads: count,
    /** F: width inside the feed-forward. */
    hiddenWidth: count,
    /** T: the longest sequence, in tokens. */
    contextLength: count,
    /** The output head is the embedding's matrix. */
    tiedHead: z.boolean(),
    /** Gate of the feed-forward: SiLU (SwiGLU) or squared ReLU. */
    activation: z.enum(["silu", "relu2"]),
    /** Base of the rotary angles, base^(-2i/D). */
    ropeBase: z.number().positive(),
    /** Inside the root of every RMSNorm. */
    normEps: z.number().positive(),
    /** Inside the root of the last RMSNorm, before the head; absent: normEps. */
    finalNormEps: z.number().positive().optional(),
    /** Standard deviation of the initial weights; embeddings too. */
    initStd: z.number().positive(),
    /** Scale of ternary weights: add, s = mean|W| + eps (the paper); clamp, s = max(mean|W|, eps) (Hugging Face). */
    weightScale: z.enum(["add", "clamp"]),
    weightEps: z.number().positive(),
    /** Quantizers of the linear layers, also layer by layer (mixed precision); absent: those of the variant. */
    quantization: quantizationSchema.optional(),
    /** Quantise weights again after this many updates. */
    requantizeEvery: count,
    /** Run each block again in backward instead of keeping what its gradient needs: less memory, a third more time. */
    recompute: z.boolean(),
  })
  .refine((c) => c.width % c.heads === 0, { message: "width must be a multiple of heads", path: ["heads"] })
  .refine((c) => c.heads % c.kvHeads === 0, { message: "heads must be a multiple of kvHeads", path: ["kvHeads"] })
  .refine((c) => (c.width / c.heads) % 2 === 0, {
    message: "width / heads must be even: rotary positions turn pairs",
    path: ["heads"],
  });

export type ModelConfig = z.infer<typeof modelConfigSchema>;

/** The keys that are numbers of a model's shape. */
export const sizeKeys = ["vocabSize", "width", "layers", "heads", "kvHeads", "hiddenWidth"] as const;

/** The keys that weights fit: with other values a model has other parameters, or means something else by them. */
export const shapeKeys = [
  "variant",
  "subNorms",
  ...sizeKeys,
  "tiedHead",
  "activation",
] as const satisfies readonly (keyof ModelConfig)[];

/** Whether the model has norms in front of its output and down projections. */
export function hasSubNorms({ variant, subNorms }: Pick<ModelConfig, "variant" | "subNorms">): boolean {
  return variant === "bitnet" && subNorms;
}

/** Inside the root of the last RMSNorm. */
export function finalNormEpsOf({ normEps, finalNormEps }: Pick<ModelConfig, "normEps" | "finalNormEps">): number {
  return finalNormEps ?? normEps;
}

/** D: width of one head. */
export function headWidth(config: ModelConfig): number {
  return config.width / config.heads;
}

const base = {
  variant: "bitnet",
  subNorms: true,
  tiedHead: true,
  activation: "silu",
  ropeBase: 10000,
  normEps: 1e-5,
  initStd: 0.02,
  weightScale: "add",
  weightEps: 1e-6,
  requantizeEvery: 1,
  recompute: false,
} as const;

const tiny = {
  ...base,
  vocabSize: 2048,
  width: 384,
  layers: 6,
  heads: 8,
  kvHeads: 4,
  hiddenWidth: 1152,
  contextLength: 256,
} satisfies ModelConfig;

/** The paper's sizes (arXiv:2402.17764, table 3); tied, as the reproduction's released weights are. */
const paper = (width: number, layers: number, heads: number, hiddenWidth: number) =>
  ({
    ...base,
    vocabSize: 32000,
    width,
    layers,
    heads,
    kvHeads: heads,
    hiddenWidth,
    contextLength: 2048,
  }) satisfies ModelConfig;

/** Every preset, as its `bitnet` variant. */
export const presets = {
  arithmetic: {
    ...tiny,
    vocabSize: 32,
    width: 256,
    layers: 4,
    heads: 4,
    kvHeads: 2,
    hiddenWidth: 768,
    contextLength: 64,
  },
  tiny,
  nano: { ...paper(256, 4, 8, 688) },
  "95m": { ...paper(768, 8, 12, 3072), kvHeads: 6, contextLength: 1024 },
  "700m": paper(1536, 24, 24, 4096),
  "1.3b": paper(2048, 24, 32, 5460),
  "3b": paper(3200, 26, 32, 8640),
  "3.9b": paper(3200, 26, 32, 12800),
  "tinyllama-1.1b": { ...paper(2048, 22, 32, 5632), kvHeads: 4, tiedHead: false },
  "2b4t": {
    ...paper(2560, 30, 20, 6912),
    vocabSize: 128256,
    kvHeads: 5,
    contextLength: 4096,
    activation: "relu2",
    ropeBase: 500000,
  },
} satisfies Record<string, ModelConfig>;

export type PresetName = keyof typeof presets;

/** The preset's config with its variant. @throws UsageError naming the presets there are. */
export function presetConfig(name: string, variant: ModelConfig["variant"] = "bitnet"): ModelConfig {
  if (!Object.hasOwn(presets, name))
    throw new UsageError(`unknown preset "${name}"; presets are: ${Object.keys(presets).join(", ")}`);
  return { ...presets[name as PresetName], variant };
}
