/**
 * AdamW with moments of 8 bits (Dettmers et al., arXiv:2110.02861; see ops/adamw-8bit): 2.03 bytes of state for a weight
 * instead of 8, where it pays.
 */
import { z } from "zod";
import { adamw8bitStep, blocksOf, emptyCodes } from "../../ops/adamw-8bit/index.ts";
import { adamwStep } from "../../ops/adamw/index.ts";
import type { Parameter, ParameterRole, Runtime, Tensor } from "../../tensor/index.ts";
import { type AdamWSettings, adamwDefaults, adamwKeys } from "./adamw.ts";
import { assembleOptimizer, type Optimizer, type OptimizerDefinition, zeros } from "./optimizer.ts";

type State = { m: Tensor; v: Tensor; m_scale?: Tensor; v_scale?: Tensor };

/** Matrices of fewer values keep moments of 32 bits, as published: they have little to save. */
const smallestIn8Bits = 4096;

/**
 * Whether AdamW's moments of a parameter can be of 8 bits. Those of embeddings stay at 32 as published (the gradients of
 * rare tokens differ too much in size; a tied head is one with its embedding), and so do those of norms.
 */
function in8Bits({ role, count }: { role: ParameterRole; count: number }): boolean {
  return (role === "ternary" || role === "linear" || role === "head") && count >= smallestIn8Bits;
}

/** State: m.<name> and v.<name>, codes where m_scale.<name> and v_scale.<name> are too. Call outside scopes. */
export function createAdamW8bit(
  runtime: Runtime,
  parameters: readonly Parameter[],
  settings: AdamWSettings = {},
): Optimizer {
  const { beta1, beta2, eps, cautious } = { ...adamwDefaults, ...settings };
  const codes = (moment: "m" | "v", { shape, size }: Parameter) =>
    runtime.upload(shape, "u8", emptyCodes[moment](size));
  return assembleOptimizer<State>(parameters, settings, {
    kind: "adamw8bit",
    prefixes: ["m", "m_scale", "v", "v_scale"],
    createState(parameter) {
      const { shape, size, role } = parameter;
      if (!in8Bits({ role, count: size })) return { m: zeros(runtime, shape), v: zeros(runtime, shape) };
      const scales = [blocksOf(size)];
      return {
        m: codes("m", parameter),
        v: codes("v", parameter),
        m_scale: zeros(runtime, scales),
        v_scale: zeros(runtime, scales),
      };
    },
    update({ tensor: weight, gradient }, { m, v, m_scale: mScale, v_scale: vScale }, values, step) {
      const cx = runtime.plainContext();
      const wanted = { ...values, beta1, beta2, eps, step, cautious };
      if (mScale && vScale) adamw8bitStep(cx, { weight, gradient, m, v, mScale, vScale }, wanted);
      else adamwStep(cx, { weight, gradient, m, v }, wanted);
    },
  });
}

/** But for embedding, norms and small matrices, whose running means have 32 bits. */
const schema = z.strictObject({ kind: z.literal("adamw8bit"), ...adamwKeys });

export const adamw8bit = {
  kind: "adamw8bit",
  stateLabel: "AdamW's moments, of 8 bits where it pays",
  schema,
  defaults: adamwDefaults,
  create: createAdamW8bit,
  stateBytes(_config, parameter) {
    const { count } = parameter;
    return in8Bits(parameter) ? 2 * (count + 4 * blocksOf(count)) : 8 * count;
  },
} as const satisfies OptimizerDefinition<{ kind: "adamw8bit" } & AdamWSettings>;
