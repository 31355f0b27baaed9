/**
 * Layer by layer ("An Extra RMSNorm is All You Need for Fine Tuning to 1.58 Bits", arXiv:2505.08823, has such a schedule):
 * of G groups of layers the g-th (from 0) has lambda = clamp(G t - g, 0, 1), so one group is on its way at a time. Groups
 * are the blocks, front to back or back to front, or what a list of patterns names, in its order.
 */
import { z } from "zod";
import { UsageError } from "../../platform/errors.ts";
import { matching, matchesPattern } from "../../platform/patterns.ts";
import {
  type ProgressiveDefinition,
  progressOf,
  type RampConfig,
  rampDefaults,
  rampKeys,
  type StepQuantization,
  wholly,
} from "./progressive.ts";

const directions = ["front-to-back", "back-to-front"] as const;
type Order = (typeof directions)[number] | readonly string[];

/** Group of each layer, by its name. */
function groupsOf(order: Order, layers: readonly string[]): { groupOf: Map<string, number>; count: number } {
  if (typeof order !== "string") {
    const named = layers.map((name) => ({ name }));
    for (const pattern of order) matching("train.progressive.order", pattern, named);
    const groupOf = new Map(layers.map((name) => [name, order.findIndex((pattern) => matchesPattern(pattern, name))]));
    const left = layers.find((name) => groupOf.get(name) === -1);
    if (left !== undefined)
      throw new UsageError(
        `train.progressive.order: no pattern names ${left}, so it would never be quantized; add one, such as "*" at the end`,
      );
    return { groupOf, count: order.length };
  }
  // Layers whose names have no number are a group of their own, by their order.
  const keys = [...new Set(layers.map(blockOf))];
  if (order === "back-to-front") keys.reverse();
  return { groupOf: new Map(layers.map((name) => [name, keys.indexOf(blockOf(name))])), count: keys.length };
}

/** `model.layers.3` of `model.layers.3.mlp.down_proj`. */
const blockOf = (name: string): string => /^.*?\.\d+(?=\.)/.exec(name)?.[0] ?? name;

export const layerwise = {
  kind: "layerwise",
  schema: z.strictObject({
    kind: z.literal("layerwise"),
    ...rampKeys,
    /** Of the blocks; or patterns of layer names, each a group: ["layers.1.*", "*.down_proj", "*"]. */
    order: z.custom<Order>(
      (value) =>
        directions.includes(value as never) ||
        (Array.isArray(value) && value.length > 0 && value.every((pattern) => typeof pattern === "string" && pattern)),
      { error: `expected ${directions.join(", ")}, or a list of patterns such as ["*.mlp.*", "*"]` },
    ),
  }),
  defaults: { ...rampDefaults, order: "front-to-back" },
  create(config, run) {
    const progress = progressOf(config, run);
    const { groupOf, count } = groupsOf(config.order, run.layers);
    return {
      at(step): StepQuantization {
        const t = progress(step);
        if (t >= 1) return { of: () => wholly };
        return { of: (layer) => ({ lambda: Math.min(1, Math.max(0, count * t - (groupOf.get(layer) ?? 0))) }) };
      },
    };
  },
} as const satisfies ProgressiveDefinition<{ kind: "layerwise"; order: Order } & RampConfig>;
