/**
 * What an optimiser is to the trainer and to a config, and what every optimiser does around its own arithmetic: which
 * parameters decay, state made for those that train alone, the count of updates. One file beside this for each optimiser;
 * ../optimizers.ts lists them.
 *
 * The role of a parameter decides its decay: block matrices ("ternary", "linear") decay, norms never do, embedding and
 * head only with `decayEmbeddings` (decay on embeddings and norms is a known mistake; PyTorch's fixtures want it).
 */
import { z } from "zod";
import { fill } from "../../ops/fill/index.ts";
import { sumSquares } from "../../ops/sum-squares/index.ts";
import type { Parameter, ParameterRole, Runtime, Tensor } from "../../tensor/index.ts";

export interface StepValues {
  learningRate: number;
  /** Absent: the optimiser's own. */
  weightDecay?: number;
  /** Multiplies every gradient first: the clipping coefficient. Absent: 1. */
  gradientScale?: number;
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
  dispose(): void;
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
};

export interface DecaySettings {
  weightDecay?: number;
  decayEmbeddings?: boolean;
}

function decays(role: ParameterRole, decayEmbeddings: boolean): boolean {
  return role === "ternary" || role === "linear" || (decayEmbeddings && role !== "norm");
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
  /** Changes one parameter by its gradient; `step` counts the parameter's own updates, from 1. */
  update(parameter: Parameter, state: State, values: Required<StepValues>, step: number): void;
}

/** An optimiser of a rule: the way to write one. Call outside scopes. */
export function assembleOptimizer<State extends ParameterState>(
  parameters: readonly Parameter[],
  { weightDecay = 0, decayEmbeddings = false }: DecaySettings,
  rule: OptimizerRule<State>,
): Optimizer {
  const states = new Map<Parameter, State>();
  const startedAt = new Map<Parameter, number>();
  const release = (state: State) => {
    for (const tensor of Object.values(state)) tensor?.dispose();
  };
  const optimizer: Optimizer = {
    kind: rule.kind,
    updates: 0,
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
      const wanted = { weightDecay, gradientScale: 1, ...values };
      for (const parameter of parameters) {
        if (!parameter.hasGradient) continue;
        const decay = decays(parameter.role, decayEmbeddings) ? wanted.weightDecay : 0;
        const state = states.get(parameter);
        if (!state) throw new Error(`optimizer: ${parameter.name} was unfrozen without parametersChanged()`);
        const step = this.updates - (startedAt.get(parameter) ?? 0);
        rule.update(parameter, state, { ...wanted, weightDecay: decay }, step);
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
