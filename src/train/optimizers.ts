/**
 * Optimisers over a model's parameters: AdamW, with moments of 32 or of 8 bits, and SGD with momentum, all with decoupled
 * decay, their arithmetic in ops/adamw, ops/adamw-8bit and ops/sgd. An optimiser owns its state tensors and hands them out by name, to be saved and restored.
 *
 * The role of a parameter decides its decay: block matrices ("ternary", "linear") decay, norms never do, embedding and
 * head only with `decayEmbeddings` (decay on embeddings and norms is a known mistake; PyTorch's fixtures want it).
 */
import { adamw8bitStep, blocksOf, emptyCodes } from "../ops/adamw-8bit/index.ts";
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
  /** Running means and the like, as `m.<parameter>`: float32, or codes (u8) and their scales (float32). */
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

/** Matrices of fewer values keep moments of 32 bits, as published: they have little to save. */
const smallestIn8Bits = 4096;

/**
 * Whether AdamW's moments of a parameter can be of 8 bits. Those of embeddings stay at 32 as published (the gradients of
 * rare tokens differ too much in size; a tied head is one with its embedding), and so do those of norms.
 */
function in8Bits({ role, count }: { role: ParameterRole; count: number }): boolean {
  return role !== "embedding" && role !== "norm" && count >= smallestIn8Bits;
}

/**
 * AdamW with moments of 8 bits (Dettmers et al., arXiv:2110.02861; see ops/adamw-8bit): 2.03 bytes of state for a weight
 * instead of 8, where it pays. State: m.<name> and v.<name>, codes where m_scale.<name> and v_scale.<name> are too. Call
 * outside scopes.
 */
export function createAdamW8bit(
  runtime: Runtime,
  parameters: readonly Parameter[],
  settings: AdamWSettings = {},
): Optimizer {
  const { beta1 = 0.9, beta2 = 0.95, eps = 1e-8 } = settings;
  const codes = (moment: "m" | "v", { shape, size }: Parameter) =>
    runtime.upload(shape, "u8", emptyCodes[moment](size));
  const zeros = (shape: readonly number[]) => {
    const tensor = runtime.empty(shape);
    fill(runtime.plainContext(), tensor, 0);
    return tensor;
  };
  const states = parameters.map((parameter) => {
    const { shape, size, role } = parameter;
    if (!in8Bits({ role, count: size })) return { m: zeros(shape), v: zeros(shape) };
    const scales = [blocksOf(size)];
    return { m: codes("m", parameter), v: codes("v", parameter), mScale: zeros(scales), vScale: zeros(scales) };
  });
  const named = (prefix: string, tensorOf: (state: (typeof states)[number]) => Tensor | undefined): NamedTensor[] =>
    parameters.flatMap(({ name }, i) => {
      const tensor = tensorOf(states[i]);
      return tensor ? [{ name: `${prefix}.${name}`, tensor }] : [];
    });
  return assemble(runtime, parameters, settings, {
    kind: "adamw8bit",
    state: [
      ...named("m", ({ m }) => m),
      ...named("m_scale", ({ mScale }) => mScale),
      ...named("v", ({ v }) => v),
      ...named("v_scale", ({ vScale }) => vScale),
    ],
    update(i, values, step) {
      const { tensor: weight, gradient } = parameters[i];
      const { m, v, mScale, vScale } = states[i];
      const cx = runtime.plainContext();
      const wanted = { ...values, beta1, beta2, eps, step };
      if (mScale && vScale) adamw8bitStep(cx, { weight, gradient, m, v, mScale, vScale }, wanted);
      else adamwStep(cx, { weight, gradient, m, v }, wanted);
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

/** An optimiser by its kind, with its settings. */
export type OptimizerChoice = ({ kind: "adamw" | "adamw8bit" } & AdamWSettings) | ({ kind: "sgd" } & SgdSettings);

/** The optimiser that a config names; its schedule and clipping are the trainer's. Call outside scopes. */
export function createOptimizer(
  runtime: Runtime,
  parameters: readonly Parameter[],
  config: OptimizerChoice,
): Optimizer {
  switch (config.kind) {
    case "adamw":
      return createAdamW(runtime, parameters, config);
    case "adamw8bit":
      return createAdamW8bit(runtime, parameters, config);
    case "sgd":
      return createSgd(runtime, parameters, config);
  }
}

/** Bytes of state that the optimiser keeps for one parameter of `count` values. */
export function optimizerStateBytes(
  config: OptimizerChoice,
  parameter: { role: ParameterRole; count: number },
): number {
  const { count } = parameter;
  if (config.kind === "sgd") return (config.momentum ?? 0) === 0 ? 0 : 4 * count;
  return config.kind === "adamw8bit" && in8Bits(parameter) ? 2 * (count + 4 * blocksOf(count)) : 8 * count;
}
