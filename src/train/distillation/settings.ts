/**
 * The section `distill` of a run's config: its schema, its defaults, and what contradicts. What a teacher is and does is in
 * teacher.ts, targets.ts and ../objectives/distillation.ts. Called by config-schema.ts and config.ts.
 */
import { z } from "zod";
import { directions } from "../../ops/distillation/index.ts";
import { UsageError } from "../../platform/errors.ts";
import { show } from "../../platform/show.ts";

/** A block of the student and one of the teacher, from 0; below 0: from the end. */
const layerPair = z.tuple([z.int(), z.int()]);

export const distillSchema = z.strictObject({
  /** The model whose probabilities are learned: a run, checkpoint, model folder, .gguf or .bitnet file, or name on the hub; null: none. */
  teacher: z.string().min(1).nullable(),
  /** Share of the teacher: alpha times its loss, and 1 - alpha times the loss of the text. */
  alpha: z.number().min(0).max(1),
  /** T: probabilities of both are of logits / T; the loss is multiplied by T². */
  temperature: z.number().positive(),
  /** forward: KL(teacher || student); reverse: KL(student || teacher); mixture: BitDistiller's, by the teacher's confidence. */
  direction: z.enum(directions),
  /** Tokens that the teacher finds hard weigh more (TSLD): temperature of that softmax; null: all tokens weigh alike. */
  tokenWeights: z.number().positive().nullable(),
  /** Relations between the positions of a sequence in the queries, keys and values of one block (MiniLM, BitDistill). */
  relations: z.strictObject({
    /** 0: none. */
    weight: z.number().min(0),
    layers: layerPair,
    /** Parts into which states are cut; divides the widths of both models' queries, keys and values; null: their common kvHeads. */
    heads: z.int().positive().nullable(),
  }),
  /** What a block gives, as mean square difference; where widths differ, a trained projection stands between. */
  hidden: z.strictObject({ weight: z.number().min(0), layers: layerPair }),
  /** Tokens drawn from the teacher once and kept for every student, in this folder; auto: in data.cacheDir; null: the teacher runs in every step. */
  cache: z.string().min(1).nullable(),
  /** Tokens drawn for each position of the cache. */
  samples: z.int().min(1).max(1024),
  /** Names the draws of the cache: students of any train.seed share one. */
  seed: z.int().min(0),
});
export type DistillConfig = z.infer<typeof distillSchema>;

export const distillDefaults: DistillConfig = {
  teacher: null,
  alpha: 0.5,
  temperature: 1,
  direction: "forward",
  tokenWeights: null,
  relations: { weight: 0, layers: [-1, -1], heads: null },
  hidden: { weight: 0, layers: [-1, -1] },
  cache: null,
  samples: 12,
  seed: 1,
};

/** Objectives that a teacher adds; a config does not list them. */
export const distillationNames = ["distillation", "relations", "hidden-states"] as const;

/** Losses of the text that the teacher's share is taken from. */
export const textLosses: readonly string[] = ["next-token", "label-smoothing"];

/** @throws UsageError for an entry of train.objectives that the teacher adds itself */
export function refuseListed(objectives: unknown): void {
  if (!Array.isArray(objectives)) return;
  for (const entry of objectives as { name?: unknown }[]) {
    const name = distillationNames.find((known) => known === entry?.name);
    if (!name) continue;
    const key = { distillation: "alpha", relations: "relations.weight", "hidden-states": "hidden.weight" }[name];
    throw new UsageError(
      `train.objectives: "${name}" is added by distill.teacher, with the weight distill.${key}; leave it out`,
    );
  }
}

/** @throws UsageError for what contradicts, or would have no effect */
export function checkDistill(
  distill: DistillConfig,
  { objectives, recompute }: { objectives: readonly { name: string }[]; recompute: boolean },
): void {
  const { teacher, alpha, direction, relations, hidden, cache } = distill;
  if (teacher === null) {
    const [key] = changedKeys(distill);
    if (key === undefined) return;
    throw new UsageError(`distill.${key} is set, but there is no teacher; name one with --teacher, or leave it out`);
  }
  if (alpha === 0 && relations.weight === 0 && hidden.weight === 0)
    throw new UsageError(
      `distill.alpha is 0, and so are distill.relations.weight and distill.hidden.weight, so that ${show(teacher)} would have no effect; raise one, or leave the teacher out`,
    );
  if (alpha < 1 && !objectives.some(({ name }) => textLosses.includes(name)))
    throw new UsageError(
      `distill.alpha is ${alpha}, but train.objectives has no next-token loss for the other ${1 - alpha}; add one, or set distill.alpha to 1`,
    );
  if (cache === null) {
    for (const key of ["samples", "seed"] as const)
      if (distill[key] !== distillDefaults[key])
        throw new UsageError(
          `distill.${key} is of the teacher's cache, and there is none; set distill.cache, or leave it out`,
        );
  } else {
    if (direction !== "forward")
      throw new UsageError(
        `distill.direction is ${direction}, which needs the teacher's whole distribution, and distill.cache holds samples of it; leave one out`,
      );
    const [wants] = [relations.weight > 0 && "relations", hidden.weight > 0 && "hidden"].filter(Boolean);
    if (wants)
      throw new UsageError(
        `distill.${wants} compares states of the teacher, which distill.cache does not hold; leave one out`,
      );
  }
  if (recompute && (relations.weight > 0 || hidden.weight > 0))
    throw new UsageError(
      `distill.${relations.weight > 0 ? "relations" : "hidden"} compares states that model.recompute does not keep; set model.recompute to false`,
    );
}

/** Keys whose values are not the defaults. */
function changedKeys(distill: DistillConfig): string[] {
  const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  return (Object.keys(distill) as (keyof DistillConfig)[]).filter((key) => !same(distill[key], distillDefaults[key]));
}
