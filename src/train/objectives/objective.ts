/**
 * What an objective is: one loss of a training step, of which there may be several with weights. One file beside this for
 * each; ../objectives.ts lists them, weighted.ts adds them up. Validation does not come here: it keeps the plain next-token
 * loss, so that runs can be compared whatever they are trained on.
 */
import { z } from "zod";
import { plainMessage } from "../../platform/issue.ts";
import type { Parameter, Runtime, Tensor } from "../../tensor/index.ts";
import type { ModelBatch, TrainableModel } from "../trainable-model.ts";

/** The sequences that are computed at once: a part of the step's batch. */
export interface ObjectiveBatch extends ModelBatch {
  /** [B, T]; -100 where a token does not count. */
  readonly targets: Int32Array;
  /** Of them, how many count; at least one. */
  readonly targetCount: number;
  /** [B]: the number of each row's sequence in its source, and, of a mixture, its source; absent where the feed does not say. */
  readonly sequences?: Int32Array;
  readonly sources?: Uint16Array;
}

/** What the objectives of a step share, computed when the first of them asks. */
export interface StepForward {
  readonly runtime: Runtime;
  /** From 1. */
  readonly step: number;
  /** Logits [B, T, V] of the model under training. Not to be disposed, nor written. */
  logits(): Tensor;
  /** The batch's targets, i32 [B, T]. @throws DataError for one outside the logits' vocabulary */
  targets(): Tensor;
  /** A state of the model under training, of a kind and block (from 0) that the objective has in `wants`. Not to be written. */
  state(kind: StateKind, layer: number): Tensor;
}

/** A block's states: what it gives, and what its attention compares. */
export type StateKind = "hidden" | "query" | "key" | "value";
export interface WantedState {
  readonly kind: StateKind;
  /** From 0. */
  readonly layer: number;
}

export interface ObjectiveLoss {
  /** [1]: mean per counted target, in nats where it is a likelihood. Losses of micro-batches are weighted by their targets. */
  loss: Tensor;
  /** Other values worth a line in the metrics, [1] each; logged as `<objective>.<name>`. */
  parts?: Readonly<Record<string, Tensor>>;
}

export interface Objective {
  /** Names it in metrics; one of each in a run. */
  readonly name: string;
  /** Parameters of its own, which are trained and saved with the run, and are no part of the model. */
  readonly parameters?: readonly Parameter[];
  /** States of the model under training that it asks `forward.state` for. */
  readonly wants?: readonly WantedState[];
  /**
   * Called for every micro-batch, inside `runtime.gradient` and a scope: what it makes is freed. What is no part of the
   * model under training (a teacher) runs in `runtime.withoutGradient`. It must not change the batch.
   */
  loss(model: TrainableModel, batch: ObjectiveBatch, forward: StepForward): ObjectiveLoss;
  /** Called once, when the run ends. */
  dispose?(): void;
}

/** What an objective may need when it is made. */
export interface ObjectiveContext {
  readonly runtime: Runtime;
  readonly model: TrainableModel;
  /** N. */
  readonly steps: number;
}

/** An objective as a config can name it. */
export interface ObjectiveDefinition<Options = never> {
  /** Its `name` in `train.objectives`. */
  readonly kind: string;
  /** Strict, with `name: z.literal(kind)`, `weight` and options of its own. */
  readonly schema: z.ZodObject;
  create(options: Options, context: ObjectiveContext): Objective | Promise<Objective>;
}

const share = z.number().min(0);
const ramp = z.strictObject({
  from: share,
  to: share,
  /** The last step that has `from`; default 0. */
  start: z.int().min(0).optional(),
  /** Steps behind it after which it is `to`. */
  steps: z.int().positive(),
  /** Default "linear"; "cosine" is slow at both ends. */
  shape: z.enum(["linear", "cosine"]).optional(),
});

/** What is wrong with a weight, in words: a union's own say only that nothing fits. */
function weightProblem(weight: unknown): string {
  const [issue] = typeof weight === "object" && weight !== null ? (ramp.safeParse(weight).error?.issues ?? []) : [];
  if (!issue) return "expected a number from 0, or { from, to, steps }";
  const key = issue.path.join(".");
  if (key === "steps" && !Object.hasOwn(weight as object, "steps"))
    return "steps is missing: the number of steps from `from` to `to`";
  return `${key ? `${key}: ` : ""}${plainMessage(issue.message)}`;
}

/**
 * How much a loss counts, from 0: a number, or one that moves from one value to another over some steps, and then stays. Less
 * than 0 would be training away from the objective.
 */
export const weightSchema = z.union([share, ramp], { error: ({ input }) => weightProblem(input) });
export type WeightConfig = z.infer<typeof weightSchema>;

/** A weight at a step. */
export function weightAt(weight: WeightConfig, step: number): number {
  if (typeof weight === "number") return weight;
  const { from, to, start = 0, steps, shape = "linear" } = weight;
  const progress = Math.min(1, Math.max(0, (step - start) / steps));
  return from + (to - from) * (shape === "linear" ? progress : (1 - Math.cos(Math.PI * progress)) / 2);
}

/**
 * An objective with options: its name, a zod type for each option, and how it is made of them.
 *
 *   defineObjective({ name: "mine", options: { strength: z.number() }, create: ({ strength }) => ({ name: "mine", loss }) })
 */
export function defineObjective<Name extends string, Shape extends z.ZodRawShape = Record<never, never>>({
  name,
  options,
  create,
}: {
  name: Name;
  options?: Shape;
  create(options: z.infer<z.ZodObject<Shape>>, context: ObjectiveContext): Objective | Promise<Objective>;
}) {
  const schema = z.strictObject({ name: z.literal(name), weight: weightSchema, ...(options as Shape) });
  return { kind: name, schema, create };
}
