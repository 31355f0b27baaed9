/**
 * Optimisers over a model's parameters: AdamW and SGD with momentum, both with decoupled decay, their arithmetic in
 * ops/adamw and ops/sgd. An optimiser owns its state tensors and hands them out by name, to be saved and restored.
 *
 * The role of a parameter decides its decay: block matrices ("ternary", "linear") decay, norms never do, embedding and
 * head only with `decayEmbeddings` (decay on embeddings and norms is a known mistake; PyTorch's fixtures want it).
 */
import { adamwStep } from "../ops/adamw/index.ts";
import { fill } from "../ops/fill/index.ts";
import { sgdStep } from "../ops/sgd/index.ts";
import { sumSquares } from "../ops/sum-squares/index.ts";
import type { Parameter, ParameterRole, Runtime, Tensor } from "../tensor/index.ts";
import type { OptimizerConfig } from "./config-schema.ts";

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
  readonly kind: OptimizerConfig["kind"];
  /** Steps made, skipped ones not counted; what Adam corrects its moments' bias by. Set when a run is resumed. */
  updates: number;
  /** L2 norm of the gradient over all parameters, before any scaling; Infinity or NaN where one is. */
  gradientNorm(): Promise<number>;
  /** Changes every parameter that has a gradient, and clears the gradients. */
  step(values: StepValues): void;
  /** Clears the gradients without a step. */
  skip(): void;
  /** Running means and the like, as `m.<parameter>`. */
  readonly state: readonly NamedTensor[];
  dispose(): void;
}

/** Share of a gradient to take so that its norm is at most `clipNorm` (as PyTorch's clip_grad_norm_). */
export function clipScale(norm: number, clipNorm: number | null): number {
  return clipNorm === null ? 1 : Math.min(1, clipNorm / (norm + 1e-6));
}

interface Settings {
  weightDecay?: number;
  decayEmbeddings?: boolean;
}

function decays(role: ParameterRole, decayEmbeddings: boolean): boolean {
  return role === "ternary" || role === "linear" || (decayEmbeddings && role !== "norm");
}

/** What every optimiser does around its own arithmetic. */
function assemble(
  runtime: Runtime,
  parameters: readonly Parameter[],
  settings: Settings,
  own: {
    kind: Optimizer["kind"];
    state: NamedTensor[];
    update(index: number, values: Required<StepValues>, updates: number): void;
  },
): Optimizer {
  const { weightDecay = 0, decayEmbeddings = false } = settings;
  return {
    kind: own.kind,
    updates: 0,
    state: own.state,
    async gradientNorm() {
      const squares = await gradientSquares(runtime, parameters);
      return Math.sqrt(squares.reduce((sum, square) => sum + square, 0));
    },
    step(values) {
      this.updates++;
      const wanted = { weightDecay, gradientScale: 1, ...values };
      for (const [i, parameter] of parameters.entries()) {
        if (!parameter.hasGradient) continue;
        const decay = decays(parameter.role, decayEmbeddings) ? wanted.weightDecay : 0;
        own.update(i, { ...wanted, weightDecay: decay }, this.updates);
        parameter.changed();
        parameter.clearGradient();
      }
    },
    skip() {
      for (const parameter of parameters) parameter.clearGradient();
    },
    dispose() {
      for (const { tensor } of own.state) tensor.dispose();
    },
  };
}

/** Σ g² of each parameter, 0 where one has no gradient; float32 sums, so a norm over 1.8e19 counts as infinite. */
export async function gradientSquares(runtime: Runtime, parameters: readonly Parameter[]): Promise<Float64Array> {
  return sumsOfSquares(
    runtime,
    parameters.map((parameter) => (parameter.hasGradient ? parameter.gradient : null)),
  );
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

/** A zeroed tensor like each parameter, outside every scope. */
function zerosLike(runtime: Runtime, parameters: readonly Parameter[], prefix: string): NamedTensor[] {
  return parameters.map((parameter) => {
    const tensor = runtime.empty(parameter.shape);
    fill(runtime.plainContext(), tensor, 0);
    return { name: `${prefix}.${parameter.name}`, tensor };
  });
}

export interface AdamWSettings extends Settings {
  /** Default 0.9. */
  beta1?: number;
  /** Default 0.95. */
  beta2?: number;
  /** Default 1e-8. */
  eps?: number;
}

/** AdamW (Loshchilov & Hutter, arXiv:1711.05101). State: m.<name> and v.<name>. Call outside scopes. */
export function createAdamW(
  runtime: Runtime,
  parameters: readonly Parameter[],
  settings: AdamWSettings = {},
): Optimizer {
  const { beta1 = 0.9, beta2 = 0.95, eps = 1e-8 } = settings;
  const m = zerosLike(runtime, parameters, "m");
  const v = zerosLike(runtime, parameters, "v");
  return assemble(runtime, parameters, settings, {
    kind: "adamw",
    state: [...m, ...v],
    update(i, values, step) {
      const { tensor, gradient } = parameters[i];
      const arrays = { weight: tensor, gradient, m: m[i].tensor, v: v[i].tensor };
      adamwStep(runtime.plainContext(), arrays, { ...values, beta1, beta2, eps, step });
    },
  });
}

export interface SgdSettings extends Settings {
  /** Default 0: no state. */
  momentum?: number;
}

/** Gradient descent with momentum. State: momentum.<name>, none where the momentum is 0. Call outside scopes. */
export function createSgd(runtime: Runtime, parameters: readonly Parameter[], settings: SgdSettings = {}): Optimizer {
  const { momentum = 0 } = settings;
  const state = momentum === 0 ? [] : zerosLike(runtime, parameters, "momentum");
  return assemble(runtime, parameters, settings, {
    kind: "sgd",
    state,
    update(i, values) {
      const { tensor, gradient } = parameters[i];
      const arrays = { weight: tensor, gradient, momentum: state[i]?.tensor ?? null };
      sgdStep(runtime.plainContext(), arrays, { ...values, momentum });
    },
  });
}

/** The optimiser that a config names; its schedule and clipping are the trainer's. Call outside scopes. */
export function createOptimizer(
  runtime: Runtime,
  parameters: readonly Parameter[],
  config: ({ kind: "adamw" } & AdamWSettings) | ({ kind: "sgd" } & SgdSettings),
): Optimizer {
  return config.kind === "adamw" ? createAdamW(runtime, parameters, config) : createSgd(runtime, parameters, config);
}
