/**
 * What an optimiser is to the trainer and to a config, and what every optimiser does around its own arithmetic: which
 * parameters decay, state made for those that train alone, the count of updates. One file beside this for each optimiser;
 * ../optimizers.ts lists them.
 *
 * Beside that: learning rate and decay multiplied for some parameters (`multipliers`), and latent weights of ternary layers
 * clipped after the update (`latentClip`), which every optimizer of assembleOptimizer has.
 *
 * The role of a parameter decides its decay: block matrices ("ternary", "linear") and what an objective trains decay, norms and what quantizers
 * learn never do, embedding and head only with `decayEmbeddings` (decay on embeddings and norms is a known mistake; PyTorch's fixtures want it).
 */
import { z } from "zod";
import { fill } from "../../ops/fill/index.ts";
import { latentClip as clipLatent } from "../../ops/latent-clip/index.ts";
import { sumSquares } from "../../ops/sum-squares/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Parameter, ParameterRole, Runtime, Tensor } from "../../tensor/index.ts";
import { selectParameters } from "../parameter-selector.ts";

export interface StepValues {
  learningRate: number;
  /** Absent: the optimiser's own. */
  weightDecay?: number;
  /** Multiplies every gradient first: the clipping coefficient. Absent: 1. */
  gradientScale?: number;
  /** Multiplies the learning rate of single parameters, beside the optimizer's own multipliers. Absent: 1 for all. */
  learningRateScaleOf?(parameter: Parameter): number;
}

/** What an update is made with, all of it said. */
export type UpdateValues = Required<Omit<StepValues, "learningRateScaleOf">>;

/** Learning rate and decay of some parameters, in proportion to those of all. */
export interface Multiplier {
  /** A pattern of names, such as "embed_tokens" or "*.down_proj", or a role, such as "role:norm". */
  parameters: string;
  learningRate?: number;
  weightDecay?: number;
}

export interface NamedTensor {
  name: string;
  tensor: Tensor;
}

export interface Optimizer {
  /** As in the config, and in a checkpoint, which fits no other kind. */
  readonly kind: string;
  /** Steps made, skipped ones not counted; what Adam corrects its moments' bias by. Set when a run is resumed. */
  updates: number;
  /** Changes every parameter that has a gradient, says so (`parameter.changed()`), and clears the gradients. */
  step(values: StepValues): void | Promise<void>;
  /** Clears the gradients without a step. */
  skip(): void;
  /**
   * Running means and the like, as `m.<parameter>`: float32, or codes (u8) and their scales (float32). Of parameters that
   * are frozen there are none.
   */
  readonly state: readonly NamedTensor[];
  /** Updates done before a parameter's state began, by name, for those unfrozen in the middle of a run; saved. */
  readonly startedAt?: Record<string, number>;
  /** Takes `startedAt` back, when a run is resumed. */
  restoreStartedAt?(startedAt: Record<string, number>): void;
  /** After parameters were frozen or unfrozen: lets go of the state of the frozen, and makes that of the others. */
  parametersChanged?(): void;
  /** The settings by parameter that it applies; absent: it has none, and cannot scale the rate of single parameters. */
  readonly byParameter?: ParameterSettings;
  dispose(): void;
}

export interface ParameterSettings {
  readonly multipliers: readonly Multiplier[];
  readonly latentClip: number | null;
}

/** An optimiser as a config can name it: its keys, its defaults, how it is made. Call `create` outside scopes. */
export interface OptimizerDefinition<Config = never> {
  readonly kind: string;
  /** Its state, in a table of memory: "AdamW's moments". */
  readonly stateLabel: string;
  /** Strict, with `kind: z.literal(kind)`, `optimizerKeys` and keys of its own. */
  readonly schema: z.ZodObject;
  /** Its own values, where a config switches to it. */
  readonly defaults: Readonly<Record<string, unknown>>;
  create(runtime: Runtime, parameters: readonly Parameter[], config: Config): Optimizer;
  /** Bytes of state that it keeps for one parameter of `count` values. */
  stateBytes(config: Config, parameter: { role: ParameterRole; count: number }): number;
}

/** Keys that every optimiser has in a config. */
export const optimizerKeys = {
  /** Peak learning rate; the schedule scales it. */
  learningRate: z.number().positive(),
  /** Decoupled decay a unit of learning rate: w -= learningRate * weightDecay * w. Block matrices only. */
  weightDecay: z.number().min(0),
  /** Decay the embedding and the head as well; norms never are. */
  decayEmbeddings: z.boolean(),
  /** The gradient is scaled down to this norm over all parameters; null: as it comes. */
  clipNorm: z.number().positive().nullable(),
  /**
   * Learning rate and weight decay of single parameters, as multiples of the above: `{parameters: embed_tokens, learningRate:
   * 2}`, by a pattern of names or by `role:norm`. Of several that match, the last to name a value wins.
   */
  multipliers: z.array(
    z
      .strictObject({
        parameters: z.string().min(1),
        learningRate: z.number().min(0).optional(),
        weightDecay: z.number().min(0).optional(),
      })
      .refine(({ learningRate, weightDecay }) => learningRate !== undefined || weightDecay !== undefined, {
        message: "expected learningRate, weightDecay or both beside parameters",
      }),
  ),
  /** After each update latent weights of ternary layers are clipped to ±this times their matrix's mean |w|; null: not. */
  latentClip: z.number().positive().nullable(),
};

/** For optimizers whose step can: a weight decays only where its update does not move it away from zero. */
export const cautiousKey = { cautious: z.boolean() };

/** The values of the keys above that change nothing. */
export const plainSettings = { multipliers: [] as Multiplier[], latentClip: null as number | null };

export interface DecaySettings {
  weightDecay?: number;
  decayEmbeddings?: boolean;
  /** Default: none. */
  multipliers?: readonly Multiplier[];
  /** Default null. */
  latentClip?: number | null;
}

function decays(role: ParameterRole, decayEmbeddings: boolean): boolean {
  if (role === "embedding" || role === "head") return decayEmbeddings;
  return role === "ternary" || role === "linear" || role === "objective";
}

/** One parameter's state: tensors under the prefix that stands before its name, in the order in which they are listed. */
export type ParameterState = { [prefix: string]: Tensor | undefined };

/** What differs from one optimiser to another. */
export interface OptimizerRule<State extends ParameterState> {
  readonly kind: string;
  /** All prefixes of state, in the order in which state is listed and saved: all parameters' first, then the next. */
  readonly prefixes: readonly (keyof State & string)[];
  /** Makes a parameter's state; outside scopes. */
  createState(parameter: Parameter): State;
  /** Learning rate and decay of a parameter before its role and multipliers are looked at; absent: the step's. */
  valuesOf?(parameter: Parameter, values: UpdateValues): UpdateValues;
  /** Changes one parameter by its gradient; `step` counts the parameter's own updates, from 1. */
  update(parameter: Parameter, state: State, values: UpdateValues, step: number): void;
}

/** A parameter's own share of learning rate and decay. */
interface Factors {
  learningRate: number;
  weightDecay: number;
}

/** @throws UsageError for a multiplier that names no parameter, or a decay of parameters that never decay */
function factorsOf(
  parameters: readonly Parameter[],
  multipliers: readonly Multiplier[],
  decayEmbeddings: boolean,
): Map<Parameter, Factors> {
  const factors = new Map<Parameter, Factors>();
  for (const [i, { parameters: selector, ...values }] of multipliers.entries()) {
    const what = `optimizer.multipliers[${i}]`;
    const chosen = selectParameters(what, selector, parameters);
    if (values.weightDecay && chosen.every(({ role }) => !decays(role, decayEmbeddings)))
      throw new UsageError(
        `${what}: "${selector}" names parameters without weight decay (norms, and embedding and head unless optimizer.decayEmbeddings is true); leave weightDecay out`,
      );
    for (const parameter of chosen) {
      const before = factors.get(parameter) ?? { learningRate: 1, weightDecay: 1 };
      const { learningRate = before.learningRate, weightDecay = before.weightDecay } = values;
      factors.set(parameter, { learningRate, weightDecay });
    }
  }
  return factors;
}

/**
 * An optimiser of a rule: the way to write one. Call outside scopes.
 *
 * @throws UsageError for a multiplier that names no parameter, and for a clip where nothing is ternary
 */
export function assembleOptimizer<State extends ParameterState>(
  parameters: readonly Parameter[],
  { weightDecay = 0, decayEmbeddings = false, multipliers = [], latentClip = null }: DecaySettings,
  rule: OptimizerRule<State>,
): Optimizer {
  const factors = factorsOf(parameters, multipliers, decayEmbeddings);
  if (latentClip !== null && parameters.every(({ role }) => role !== "ternary"))
    throw new UsageError(
      `optimizer.latentClip is ${latentClip} but this model has no ternary layers; set it to null, or model.variant to bitnet`,
    );
  const states = new Map<Parameter, State>();
  const startedAt = new Map<Parameter, number>();
  const release = (state: State) => {
    for (const tensor of Object.values(state)) tensor?.dispose();
  };
  const optimizer: Optimizer = {
    kind: rule.kind,
    updates: 0,
    byParameter: { multipliers, latentClip },
    get state() {
      return rule.prefixes.flatMap((prefix) =>
        parameters.flatMap((parameter) => {
          const tensor = states.get(parameter)?.[prefix];
          return tensor ? [{ name: `${prefix}.${parameter.name}`, tensor }] : [];
        }),
      );
    },
    get startedAt() {
      return Object.fromEntries([...startedAt].map(([{ name }, at]) => [name, at]));
    },
    restoreStartedAt(saved) {
      startedAt.clear();
      for (const parameter of parameters)
        if (Object.hasOwn(saved, parameter.name)) startedAt.set(parameter, saved[parameter.name]);
    },
    parametersChanged() {
      for (const parameter of parameters) {
        const state = states.get(parameter);
        if (parameter.frozen && state) {
          release(state);
          states.delete(parameter);
          startedAt.delete(parameter);
        } else if (!parameter.frozen && !state) {
          states.set(parameter, rule.createState(parameter));
          if (this.updates > 0) startedAt.set(parameter, this.updates);
        }
      }
    },
    step(values) {
      this.updates++;
      const { learningRateScaleOf, ...given } = values;
      const all = { weightDecay, gradientScale: 1, ...given };
      for (const parameter of parameters) {
        if (!parameter.hasGradient) continue;
        const wanted = rule.valuesOf?.(parameter, all) ?? all;
        const own = factors.get(parameter) ?? { learningRate: 1, weightDecay: 1 };
        const decay = decays(parameter.role, decayEmbeddings) ? wanted.weightDecay * own.weightDecay : 0;
        const learningRate = wanted.learningRate * own.learningRate * (learningRateScaleOf?.(parameter) ?? 1);
        const state = states.get(parameter);
        if (!state) throw new Error(`optimizer: ${parameter.name} was unfrozen without parametersChanged()`);
        const step = this.updates - (startedAt.get(parameter) ?? 0);
        rule.update(parameter, state, { ...wanted, learningRate, weightDecay: decay }, step);
        const { tensor, role } = parameter;
        if (latentClip !== null && role === "ternary") clipLatent(tensor.storage, tensor, latentClip);
        parameter.changed();
        parameter.clearGradient();
      }
    },
    skip() {
      for (const parameter of parameters) parameter.clearGradient();
    },
    dispose() {
      for (const state of states.values()) release(state);
      states.clear();
    },
  };
  optimizer.parametersChanged!();
  return optimizer;
}

/**
 * What a checkpoint saves of an optimiser, and with it the values of parameters that are no part of the model (an objective's
 * projection): trained, saved and resumed with the run, and in no exported model.
 */
export function withParameters(
  optimizer: Optimizer,
  parameters: readonly Parameter[],
): { readonly kind: string; readonly state: readonly NamedTensor[] } {
  if (parameters.length === 0) return optimizer;
  return {
    kind: optimizer.kind,
    get state() {
      return [...optimizer.state, ...parameters.map(({ name, tensor }) => ({ name: `parameter.${name}`, tensor }))];
    },
  };
}

/** A zeroed float32 tensor of a shape, outside every scope. */
export function zeros(runtime: Runtime, shape: readonly number[]): Tensor {
  const tensor = runtime.empty(shape);
  fill(runtime.plainContext(), tensor, 0);
  return tensor;
}

/** Share of a gradient to take so that its norm is at most `clipNorm` (as PyTorch's clip_grad_norm_). */
export function clipScale(norm: number, clipNorm: number | null): number {
  return clipNorm === null ? 1 : Math.min(1, clipNorm / (norm + 1e-6));
}

/** L2 norm over all parameters, of their sums of squares; Infinity or NaN where one is. */
export function normOf(squares: Float64Array): number {
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
}

/** Σ g² of each parameter, 0 where one has no gradient; float32 sums, so a norm over 1.8e19 counts as infinite. */
export async function gradientSquares(runtime: Runtime, parameters: readonly Parameter[]): Promise<Float64Array> {
  return sumsOfSquares(
    runtime,
    parameters.map((parameter) => (parameter.hasGradient ? parameter.gradient : null)),
  );
}

/** L2 norm of the gradient over all parameters, before any scaling. */
export async function gradientNorm(runtime: Runtime, parameters: readonly Parameter[]): Promise<number> {
  return normOf(await gradientSquares(runtime, parameters));
}

/** Σ x² of each tensor, 0 for null. One read for all. */
export async function sumsOfSquares(runtime: Runtime, tensors: readonly (Tensor | null)[]): Promise<Float64Array> {
  const into = runtime.upload([tensors.length], "f32", new Float32Array(tensors.length));
  try {
    const cx = runtime.plainContext();
    for (const [i, tensor] of tensors.entries()) if (tensor) sumSquares(cx, tensor, into, i);
    return Float64Array.from(await runtime.readFloats(into));
  } finally {
    into.dispose();
  }
}
