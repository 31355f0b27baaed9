/**
 * A model as data: every linear layer with its name, role, sizes and quantizers. The transformer, the packed engine, the
 * file formats, inspection, audit and report walk this plan; nothing else asks what a model "is".
 */
import {
  type ActivationQuantizer,
  activationQuantizers,
  estimators,
  hasTernaryWeights,
  isBitLinear,
  type LinearSpec,
  weightQuantizers,
} from "../nn/index.ts";
import { UsageError } from "../platform/errors.ts";
import { matchesPattern } from "../platform/patterns.ts";
import { hasSubNorms, headWidth, type ModelConfig } from "./config.ts";
import { type LinearRole, linearNames, linearRoles, moduleName, weightName } from "./names.ts";
import { checkPattern, type PartChoice, resolveChoice } from "./quantization.ts";

export type { LinearRole } from "./names.ts";

/** A linear layer of a block. */
export interface LayerPlan extends LinearSpec {
  /** Of which block, from 0. */
  readonly block: number;
  readonly role: LinearRole;
}

export interface ModelPlan {
  /** All linear layers of the blocks, in the order of their parameters. */
  readonly layers: readonly LayerPlan[];
  /** The same by the names of their weights, as `model.layers.0.self_attn.q_proj.weight`. */
  readonly byWeight: ReadonlyMap<string, LayerPlan>;
  /** The layers of each block. */
  readonly blocks: readonly Readonly<Record<LinearRole, LayerPlan>>[];
  /** Norms in front of the output and down projections. */
  readonly subNorms: boolean;
  /** Whether any layer has ternary weights. */
  readonly anyTernary: boolean;
  /** Whether every layer is BitLinear: ternary weights times int8 activations. */
  readonly allBitLinear: boolean;
  /** Whether no layer quantizes anything: the full-precision model. */
  readonly allFloat: boolean;
}

/** [N, K] of each layer of a block. */
function sizesOf(config: ModelConfig): Record<LinearRole, readonly [outputs: number, inputs: number]> {
  const { width: C, heads: H, kvHeads: G, hiddenWidth: F } = config;
  const D = headWidth(config);
  return {
    query: [H * D, C],
    key: [G * D, C],
    value: [G * D, C],
    output: [C, H * D],
    gate: [F, C],
    up: [F, C],
    down: [C, F],
  };
}

/**
 * The plan of a config.
 *
 * @throws UsageError for an override that matches no layer, and for a quantizer that a layer cannot have, by its name
 */
export function planModel(config: ModelConfig): ModelPlan {
  const sizes = sizesOf(config);
  const layerNames = Array.from({ length: config.layers }, (_, block) =>
    linearRoles.map((role) => moduleName(block, linearNames[role])),
  ).flat();
  for (const { layers } of config.quantization?.overrides ?? [])
    checkPattern(layers, layerNames, "model.quantization.overrides: layers");
  const layers = layerNames.map((name, i): LayerPlan => {
    const role = linearRoles[i % linearRoles.length];
    const [outputs, inputs] = sizes[role];
    const { initStd, requantizeEvery, weightScale, weightEps } = config;
    return {
      name,
      block: Math.floor(i / linearRoles.length),
      role,
      inputs,
      outputs,
      ...quantizersOf(config, name, { outputs, inputs }),
      scale: { rule: weightScale, eps: weightEps },
      requantizeEvery,
      initStd,
    };
  });
  const blocks = Array.from({ length: config.layers }, (_, block) => {
    const own = layers.slice(block * linearRoles.length, (block + 1) * linearRoles.length);
    return Object.fromEntries(own.map((layer) => [layer.role, layer])) as Record<LinearRole, LayerPlan>;
  });
  return {
    layers,
    byWeight: new Map(layers.map((layer) => [weightName(layer.name), layer])),
    blocks,
    subNorms: hasSubNorms(config),
    anyTernary: layers.some(hasTernaryWeights),
    allBitLinear: layers.every(isBitLinear),
    allFloat: layers.every(({ weights, activations }) => !weights && !activations),
  };
}

/** What the config says of one layer, with `auto` resolved. */
function quantizersOf(
  config: ModelConfig,
  name: string,
  shape: { outputs: number; inputs: number },
): Pick<LinearSpec, "weights" | "activations" | "estimator"> {
  const { overrides = [], ...all } = config.quantization ?? {};
  const own = overrides.filter(({ layers }) => matchesPattern(layers, name));
  const said = <K extends "weights" | "activations" | "estimator">(key: K): PartChoice | undefined =>
    own.findLast((override) => override[key] !== undefined)?.[key] ?? all[key];
  const weights = said("weights") ?? (config.variant === "bitnet" ? "absmean" : "none");
  const chosen = resolveChoice(weights, weightQuantizers);
  const quantizer = chosen.name === "none" ? null : weightQuantizers.get(chosen.name);
  const refused = quantizer?.refuses?.(shape);
  if (refused) throw new UsageError(`model.quantization: layer ${name}: ${refused}`);
  const isTernary = quantizer?.form === "ternary";
  return {
    weights: quantizer && { quantizer, settings: chosen.settings },
    activations: activationsOf(said("activations") ?? "auto", isTernary),
    // What is said of all layers holds for those that are ternary.
    estimator: estimatorOf(
      isTernary || own.some(({ estimator }) => estimator) ? (said("estimator") ?? "auto") : "auto",
      isTernary,
      name,
    ),
  };
}

function activationsOf(choice: PartChoice, isTernary: boolean): ActivationQuantizer | null {
  const { name, settings } = resolveChoice(choice, activationQuantizers);
  if (name === "auto") return isTernary ? activationQuantizers.get("absmax8") : null;
  if (name === "none") return null;
  const quantizer = activationQuantizers.get(name);
  return quantizer.configure?.(settings) ?? quantizer;
}

function estimatorOf(choice: PartChoice, isTernary: boolean, layer: string): LinearSpec["estimator"] {
  const { name, settings } = resolveChoice(choice, estimators);
  if (name === "auto") return { estimator: estimators.get("identity"), settings: {} };
  const estimator = estimators.get(name);
  if (estimator.op && !isTernary)
    throw new UsageError(
      `model.quantization: layer ${layer}: estimator "${name}" is for ternary weights, and this layer's are not; leave it out there, or use identity`,
    );
  return { estimator, settings };
}
