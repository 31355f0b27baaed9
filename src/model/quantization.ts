/**
 * `model.quantization`: which quantizers a model's linear layers have, for all layers and by pattern. This file is its
 * schema; plan.ts resolves it to each layer. Where a config has none, the variant decides: `bitnet` is absmean with
 * absmax8, `full` is none.
 */
import { z } from "zod";
import { activationQuantizers, estimators, weightQuantizers } from "../nn/index.ts";
import { UsageError } from "../platform/errors.ts";
import { matchesPattern } from "../platform/patterns.ts";
import { plainMessage } from "../platform/issue.ts";
import type { Registry } from "../platform/registry.ts";

interface Part {
  readonly name: string;
  readonly schema?: z.ZodType;
}

/** A part by its name, or as `{ name, ...its own settings }`; checked against those there are. */
function choice(registry: Registry<Part>, others: readonly string[]) {
  return z.union([z.string(), z.looseObject({ name: z.string() })]).superRefine((value, context) => {
    const { name, ...settings } = typeof value === "string" ? { name: value } : value;
    if (others.includes(name)) return;
    if (!registry.has(name)) {
      context.addIssue({ code: "custom", message: registry.unknown(name, others) });
      return;
    }
    const { schema = z.strictObject({}) } = registry.get(name);
    const parsed = schema.safeParse(settings);
    if (parsed.success) return;
    const [issue] = parsed.error.issues;
    context.addIssue({
      code: "custom",
      message: `${registry.what} "${name}": ${[issue.path.join("."), plainMessage(issue.message)].filter(Boolean).join(": ")}`,
    });
  });
}

const parts = {
  /** Quantizer of the weights: absmean (b1.58), absmedian, twn, learned, lsq, seq, int8, int4, none, or one that the program registered. */
  weights: choice(weightQuantizers, ["none"]),
  /** Quantizer of the input: absmax8, static8 (a fixed scale), none; auto: absmax8 in front of ternary weights, none in front of others. */
  activations: choice(activationQuantizers, ["none", "auto"]),
  /** Backward rule of ternary weights: identity (straight-through), clipped; auto: identity. */
  estimator: choice(estimators, ["auto"]),
};

export const quantizationSchema = z.strictObject({
  weights: parts.weights.optional(),
  activations: parts.activations.optional(),
  estimator: parts.estimator.optional(),
  /** Exceptions, by the layers' names; the last that matches a layer and sets a key decides it. */
  overrides: z
    .array(
      z
        .strictObject({
          /** Of layers such as layers.0.self_attn.q_proj; * stands for any characters: "layers.0.*", "*.down_proj". */
          layers: z.string().min(1),
          weights: parts.weights.optional(),
          activations: parts.activations.optional(),
          estimator: parts.estimator.optional(),
        })
        .refine(({ layers: _, ...set }) => Object.values(set).some((value) => value !== undefined), {
          message: "sets nothing; name weights, activations or estimator, or leave it out",
        }),
    )
    .optional(),
});

export type QuantizationConfig = z.infer<typeof quantizationSchema>;
export type PartChoice = string | ({ name: string } & Record<string, unknown>);

/** A choice as its name and its settings with their defaults. */
export function resolveChoice(choice: PartChoice, registry: Registry<Part>): { name: string; settings: unknown } {
  const { name, ...settings } = typeof choice === "string" ? { name: choice } : choice;
  const { schema } = registry.has(name) ? registry.get(name) : {};
  return { name, settings: schema ? schema.parse(settings) : {} };
}

/** @throws UsageError for a pattern that matches none of the layers */
export function checkPattern(pattern: string, names: readonly string[], key: string): void {
  if (names.some((name) => matchesPattern(pattern, name))) return;
  throw new UsageError(
    `${key} "${pattern}" matches no layer; layers are named as ${names[0].replace(/^model\./, "")} (patterns: layers.0.*, *.down_proj)`,
  );
}
