/**
 * Learning from a teacher: the losses that `distill` adds to a run.
 *
 *   distillation   T² KL of the logits' distributions (ops/distillation; Hinton et al., arXiv:1503.02531), or of samples kept of
 *                  the teacher's (arXiv:2503.16870), with the weight alpha; losses of the text have 1 - alpha times theirs
 *   relations      KL of the relations between positions in queries, keys and values of one block, their mean (ops/relation-kl;
 *                  MiniLMv2, arXiv:2012.15828; BitDistill, arXiv:2510.13998)
 *   hidden-states  mean square difference of what a block gives (ops/masked-mse), of P h where widths differ, P being trained
 *
 * Every loss is per counted token. The teacher reads a micro-batch once for all of them, without a gradient. Called by
 * train.ts; a program that trains by itself calls `distillationObjectives`.
 */
import type { Transformer } from "../../model/index.ts";
import { distillation, sampledDistillation } from "../../ops/distillation/index.ts";
import { maskedMse } from "../../ops/masked-mse/index.ts";
import { matmul } from "../../ops/matmul/index.ts";
import { relationKl } from "../../ops/relation-kl/index.ts";
import { weightedSum } from "../../ops/weighted-sum/index.ts";
import { DataError, UsageError } from "../../platform/errors.ts";
import { createRandom } from "../../platform/random.ts";
import { Parameter, type Runtime, Tensor } from "../../tensor/index.ts";
import { type DistillConfig, textLosses } from "../distillation/settings.ts";
import type { TeacherTargets } from "../distillation/targets.ts";
import type { Objective, ObjectiveBatch, StepForward, StateKind, WantedState } from "./objective.ts";
import { StateHolder } from "./states.ts";
import type { WeightedObjective } from "./weighted.ts";

export interface DistillationParts {
  runtime: Runtime;
  /** Under training. */
  student: Transformer;
  /** Frozen, on the same runtime; or its targets, one for each source of the data. */
  teacher: Transformer | readonly TeacherTargets[];
  settings: DistillConfig;
  /** Names the projection's first weights. */
  seed: number;
}

/** The losses that the settings ask for, with their weights. @throws UsageError for blocks or parts that the models have not */
export function distillationObjectives(parts: DistillationParts): WeightedObjective[] {
  const { settings, teacher } = parts;
  const { alpha, relations, hidden } = settings;
  const list: WeightedObjective[] = [];
  if (!("logits" in teacher)) {
    if (alpha > 0) list.push({ objective: fromTargets(teacher, settings), weight: alpha });
    return list;
  }
  const reading = new TeacherReading(teacher);
  if (alpha > 0) list.push({ objective: fromLogits(reading, settings), weight: alpha });
  if (relations.weight > 0)
    list.push({ objective: relationObjective(parts, teacher, reading), weight: relations.weight });
  if (hidden.weight > 0) list.push({ objective: hiddenObjective(parts, teacher, reading), weight: hidden.weight });
  return list;
}

/** Losses of the text with 1 - alpha times their weights, and others as they are; at alpha 1 the text's are left out. */
export function besideTeacher(objectives: readonly WeightedObjective[], alpha: number): WeightedObjective[] {
  return objectives.flatMap((entry) => {
    const { objective, weight } = entry;
    if (!textLosses.includes(objective.name)) return [entry];
    if (alpha === 1) {
      objective.dispose?.();
      return [];
    }
    const share = 1 - alpha;
    return [{ objective, weight: typeof weight === "number" ? share * weight : (step) => share * weight(step) }];
  });
}

/** The teacher's forward pass over a micro-batch, made when the first objective of the step asks, in the step's scope. */
class TeacherReading {
  private readonly wanted: WantedState[] = [];
  private readonly passes = new WeakMap<StepForward, { logits: Tensor; states: Map<string, Tensor> }>();

  constructor(private readonly model: Transformer) {}

  want(states: readonly WantedState[]): void {
    this.wanted.push(...states);
  }

  logits(batch: ObjectiveBatch, forward: StepForward): Tensor {
    return this.pass(batch, forward).logits;
  }

  state(kind: StateKind, layer: number, { batch, forward }: { batch: ObjectiveBatch; forward: StepForward }): Tensor {
    return this.pass(batch, forward).states.get(`${kind}.${layer}`)!;
  }

  private pass(batch: ObjectiveBatch, forward: StepForward) {
    const made = this.passes.get(forward);
    if (made) return made;
    const { runtime } = forward;
    const { tokens, batch: B, length, documentStart } = batch;
    const holder = new StateHolder(this.wanted);
    try {
      const pass = runtime.withoutGradient(() => {
        const logits = this.model.logits({ tokens, batch: B, length, documentStart, tap: holder.tap });
        const states = new Map<string, Tensor>();
        for (const { kind, layer } of this.wanted) {
          // Of the step's scope: freed with it.
          const state = holder.get(kind, layer);
          states.set(`${kind}.${layer}`, runtime.view(state, state.shape));
        }
        return { logits, states };
      });
      this.passes.set(forward, pass);
      return pass;
    } finally {
      holder.release();
    }
  }
}

function fromLogits(reading: TeacherReading, settings: DistillConfig): Objective {
  const { temperature, direction, tokenWeights: tokenTemperature } = settings;
  return {
    name: "distillation",
    loss(_model, batch, forward) {
      const inputs = [forward.logits(), forward.targets(), reading.logits(batch, forward)];
      return { loss: forward.runtime.apply(distillation, inputs, { temperature, direction, tokenTemperature }) };
    },
  };
}

function fromTargets(sources: readonly TeacherTargets[], settings: DistillConfig): Objective {
  const { temperature, tokenWeights: tokenTemperature, samples: S } = settings;
  return {
    name: "distillation",
    loss(_model, { sequences, sources: source_B, batch: B, length: T }, { runtime, logits, targets }) {
      if (!sequences)
        throw new DataError(
          "distillation: this data feed does not number its sequences, so that the teacher's cache cannot be read; leave distill.cache out",
        );
      const ids = new Int32Array(B * T * S);
      const [entropy, targetLoss] = [new Float32Array(B * T), new Float32Array(B * T)];
      for (let b = 0; b < B; b++)
        sources[source_B?.[b] ?? 0].read(sequences[b], {
          ids: ids.subarray(b * T * S, (b + 1) * T * S),
          entropy: entropy.subarray(b * T, (b + 1) * T),
          targetLoss: targetLoss.subarray(b * T, (b + 1) * T),
        });
      const inputs = [
        logits(),
        targets(),
        runtime.upload([B, T, S], "i32", ids),
        runtime.upload([B, T], "f32", entropy),
        runtime.upload([B, T], "f32", targetLoss),
      ];
      return { loss: runtime.apply(sampledDistillation, inputs, { temperature, tokenTemperature }) };
    },
    dispose() {
      for (const source of sources) source.close();
    },
  };
}

const relationKinds = ["query", "key", "value"] as const;

function relationObjective(
  { student, settings }: DistillationParts,
  teacher: Transformer,
  reading: TeacherReading,
): Objective {
  const { layers, heads } = settings.relations;
  const [own, other] = pair("relations", layers, student, teacher);
  const parts = heads ?? commonDivisor(student.config.kvHeads, teacher.config.kvHeads);
  for (const model of [student, teacher]) {
    const { width, heads, kvHeads } = model.config;
    for (const size of [width, (width / heads) * kvHeads])
      if (size % parts !== 0)
        throw new UsageError(
          `distill.relations.heads is ${parts}, which does not divide ${size}, a width of the ${model === student ? "student" : "teacher"}'s states; take a common divisor`,
        );
  }
  reading.want(relationKinds.map((kind) => ({ kind, layer: other })));
  return {
    name: "relations",
    wants: relationKinds.map((kind) => ({ kind, layer: own })),
    loss(_model, batch, forward) {
      const { runtime } = forward;
      const losses = relationKinds.map((kind) => {
        const inputs = [forward.state(kind, own), forward.targets(), reading.state(kind, other, { batch, forward })];
        return runtime.apply(relationKl, inputs, { parts });
      });
      const loss = runtime.apply(weightedSum, losses, { weights: losses.map(() => 1 / losses.length) });
      return { loss };
    },
  };
}

function hiddenObjective(
  { runtime, student, settings, seed }: DistillationParts,
  teacher: Transformer,
  reading: TeacherReading,
): Objective {
  const [own, other] = pair("hidden", settings.hidden.layers, student, teacher);
  const [from, to] = [student.config.width, teacher.config.width];
  const projection = from === to ? null : createProjection(runtime, [to, from], seed);
  reading.want([{ kind: "hidden", layer: other }]);
  return {
    name: "hidden-states",
    wants: [{ kind: "hidden", layer: own }],
    ...(projection ? { parameters: [projection] } : {}),
    loss(_model, batch, forward) {
      const state = forward.state("hidden", own);
      const projected = projection ? runtime.apply(matmul, [state, projection.tensor], {}) : state;
      const inputs = [projected, forward.targets(), reading.state("hidden", other, { batch, forward })];
      return { loss: runtime.apply(maskedMse, inputs, {}) };
    },
    dispose: () => projection?.dispose(),
  };
}

/** N(0, 1 / C): a state keeps its size. */
function createProjection(runtime: Runtime, shape: readonly [number, number], seed: number): Parameter {
  const values = new Float32Array(shape[0] * shape[1]);
  createRandom(seed).fillNormal(values, 1 / Math.sqrt(shape[1]));
  const { storage } = runtime.upload(shape, "f32", values);
  return new Parameter("distillation.projection.weight", "objective", new Tensor(shape, "f32", storage, true));
}

/** Blocks of student and teacher, from 0. @throws UsageError for one that is not there */
function pair(
  key: string,
  layers: readonly [number, number],
  student: Transformer,
  teacher: Transformer,
): [own: number, other: number] {
  const at = (i: number, model: Transformer, whose: string) => {
    const { layers: L } = model.config;
    const layer = layers[i] < 0 ? L + layers[i] : layers[i];
    if (layer < 0 || layer >= L)
      throw new UsageError(
        `distill.${key}.layers names block ${layers[i]} of the ${whose}, which has ${L}; expected ${-L} to ${L - 1}`,
      );
    return layer;
  };
  return [at(0, student, "student"), at(1, teacher, "teacher")];
}

const commonDivisor = (a: number, b: number): number => (b === 0 ? a : commonDivisor(b, a % b));
