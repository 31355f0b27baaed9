/** A plan in words: which layers are ternary and which are not. For inspect, reports, model cards and file formats' notes. */
import { isBitLinear, type LinearSpec } from "../nn/index.ts";
import type { ModelConfig } from "./config.ts";
import { type ModelPlan, planModel } from "./plan.ts";

/**
 * The quantizers of a layer in words: "ternary", by another rule than absmean "ternary (twn)", "int8", "float"; with the input's
 * where it is not the usual one.
 */
export function describeLayer(layer: Pick<LinearSpec, "weights" | "activations">): string {
  const { weights, activations } = layer;
  if (weights?.quantizer.form === "ternary") {
    const { name: by, isAbsmean } = weights.quantizer;
    const ternary = isAbsmean ? "ternary" : `ternary (${by})`;
    return isBitLinear(layer) ? ternary : `${ternary} with ${activations ? activations.name : "float"} inputs`;
  }
  const name = weights ? weights.quantizer.name : "float";
  return activations ? `${name} with ${activations.name} inputs` : name;
}

/** "ternary", "full precision", "ternary but for 7 layers in int8 and 2 in float". */
export function describePlan(plan: ModelPlan): string {
  if (plan.allFloat) return "full precision";
  // Of kinds as frequent as each other, ternary is the rule.
  const counts = new Map<string, number>([["ternary", 0]]);
  for (const layer of plan.layers) {
    const kind = describeLayer(layer);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  const [[most], ...rest] = [...counts].filter(([, n]) => n > 0).sort(([, a], [, b]) => b - a);
  if (rest.length === 0) return most;
  const others = rest.map(([kind, n], i) => `${n} ${i > 0 ? "" : n === 1 ? "layer " : "layers "}in ${kind}`);
  return `${most} but for ${joined(others)}`;
}

/** A model's variant, and where its layers are not all as that says, which are not: "bitnet", "bitnet, ternary but for ...". */
export function describeModel(config: ModelConfig): string {
  const { quantization, ...plain } = config;
  const words = describePlan(planModel(config));
  return !quantization || words === describePlan(planModel(plain)) ? config.variant : `${config.variant}, ${words}`;
}

const joined = (words: readonly string[]) =>
  words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;

/** The first names of a list of layers, for messages. */
export function someLayers(layers: readonly { readonly name: string }[]): string {
  const shown = layers.slice(0, 3).map(({ name }) => name);
  return `${shown.join(", ")}${layers.length > 3 ? ` and ${layers.length - 3} more` : ""}`;
}
