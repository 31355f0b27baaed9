/**
 * Muon for the matrices of the blocks, AdamW for everything else: embedding, head, norms, projections of objectives (Jordan et al., "Muon: An optimizer
 * for hidden layers in neural networks", 2024). A block matrix moves by its momentum, orthogonalized; its arithmetic is in
 * ops/muon.
 *
 * Values are torch.optim.Muon's but for three: Newton-Schulz has three iterations instead of five (published runs of ternary
 * models gained nothing from more; docs/optimizers.md), its products are float32 instead of bfloat16, and M = mu M + g, 1 / (1
 * - mu) times PyTorch's, which its normalization takes out. With `scale: adamw` an update has AdamW's size, so that one
 * learning rate serves both parts.
 */
import { z } from "zod";
import { adamwStep } from "../../ops/adamw/index.ts";
import { type MuonScale, muonStep } from "../../ops/muon/index.ts";
import { UsageError } from "../../platform/errors.ts";
import type { Parameter, ParameterRole, Runtime, Tensor } from "../../tensor/index.ts";
import { adamwDefaults } from "./adamw.ts";
import {
  assembleOptimizer,
  cautiousKey,
  type DecaySettings,
  type Optimizer,
  type OptimizerDefinition,
  optimizerKeys,
  zeros,
} from "./optimizer.ts";

export interface MuonSettings extends DecaySettings {
  /** Peak of the block matrices' rate; needed where `adamw` has a rate of its own. */
  learningRate?: number;
  /** Default 0.95. */
  momentum?: number;
  /** Default true. */
  nesterov?: boolean;
  /** Newton-Schulz iterations. Default 3. */
  iterations?: number;
  /** Default "adamw". */
  scale?: MuonScale;
  /** Default false. */
  cautious?: boolean;
  /** Of all other parameters. */
  adamw?: {
    /** Peak; null, the default: as the block matrices'. */
    learningRate?: number | null;
    /** Decay of embedding and head, with `decayEmbeddings`; null, the default: as the block matrices'. */
    weightDecay?: number | null;
    /** Default 0.9. */
    beta1?: number;
    /** Default 0.95. */
    beta2?: number;
    /** Default 1e-8. */
    eps?: number;
  };
}

const { beta1, beta2, eps } = adamwDefaults;
const adamwPart = { learningRate: null, weightDecay: null, beta1, beta2, eps };
const defaults = { momentum: 0.95, nesterov: true, iterations: 3, scale: "adamw", cautious: false } as const;

/** Whether Muon moves a parameter: the matrices of the blocks. */
const isBlockMatrix = ({ role }: { role: ParameterRole }): boolean => role === "ternary" || role === "linear";

/** State: momentum.<name> of block matrices, m.<name> and v.<name> of all others. Call outside scopes. */
export function createMuon(runtime: Runtime, parameters: readonly Parameter[], settings: MuonSettings = {}): Optimizer {
  const { momentum: mu, nesterov, iterations, scale, cautious } = { ...defaults, ...settings };
  const other = { ...adamwPart, ...settings.adamw };
  const { learningRate: peak, weightDecay: decay = 0, decayEmbeddings = false } = settings;
  if (other.learningRate !== null && !(peak !== undefined && peak > 0))
    throw new UsageError(
      `optimizer.adamw.learningRate is ${other.learningRate}, but optimizer.learningRate, which the schedule scales, is ${peak}; set both`,
    );
  if (other.weightDecay !== null && !decayEmbeddings)
    throw new UsageError(
      `optimizer.adamw.weightDecay is ${other.weightDecay}, but embedding and head do not decay; set optimizer.decayEmbeddings to true, or leave it out`,
    );
  const rateShare = other.learningRate === null ? 1 : other.learningRate / peak!;
  return assembleOptimizer<{ momentum?: Tensor; m?: Tensor; v?: Tensor }>(parameters, settings, {
    kind: "muon",
    prefixes: ["momentum", "m", "v"],
    createState(parameter) {
      const { name, shape } = parameter;
      if (!isBlockMatrix(parameter)) return { m: zeros(runtime, shape), v: zeros(runtime, shape) };
      if (shape.length !== 2)
        throw new UsageError(`muon: ${name} is [${shape}]; expected a matrix among the weights of the blocks`);
      return { momentum: zeros(runtime, shape) };
    },
    valuesOf(parameter, values) {
      if (isBlockMatrix(parameter)) return values;
      // A schedule that moves the decay moves both in proportion.
      const scheduled = decay === 0 ? 1 : values.weightDecay / decay;
      return {
        ...values,
        learningRate: values.learningRate * rateShare,
        weightDecay: other.weightDecay === null ? values.weightDecay : other.weightDecay * scheduled,
      };
    },
    update({ tensor: weight, gradient }, { momentum, m, v }, values, step) {
      if (momentum)
        runtime.scope(() => {
          const wanted = { ...values, momentum: mu, nesterov, iterations, scale, cautious };
          muonStep(runtime.plainContext(), { weight, gradient, momentum }, wanted);
          return undefined;
        });
      else {
        const wanted = { ...values, beta1: other.beta1, beta2: other.beta2, eps: other.eps, step, cautious };
        adamwStep(runtime.plainContext(), { weight, gradient, m: m!, v: v! }, wanted);
      }
    },
  });
}

const schema = z.strictObject({
  kind: z.literal("muon"),
  ...optimizerKeys,
  ...cautiousKey,
  /** Share of the last direction that carries over. */
  momentum: z.number().min(0).lt(1),
  /** Looks one step of the momentum ahead. */
  nesterov: z.boolean(),
  /** Newton-Schulz iterations: more make the update more nearly orthogonal, and a step longer. */
  iterations: z.int().min(1).max(20),
  /**
   * Length of a step for a matrix [N, K]: adamw, learningRate · 0.2 √max(N, K), so that AdamW's learning rate serves; spectral,
   * learningRate · √max(1, N / K), as first published, for rates such as 0.02.
   */
  scale: z.enum(["adamw", "spectral"]),
  /** AdamW's settings, for embedding, head and norms. */
  adamw: z.strictObject({
    /** Peak learning rate; null: optimizer.learningRate. */
    learningRate: z.number().positive().nullable(),
    /** Decay of embedding and head, which optimizer.decayEmbeddings turns on; null: optimizer.weightDecay. */
    weightDecay: z.number().min(0).nullable(),
    beta1: z.number().min(0).lt(1),
    beta2: z.number().min(0).lt(1),
    eps: z.number().positive(),
  }),
});

export const muon = {
  kind: "muon",
  stateLabel: "Muon's momentum, AdamW's moments beside it",
  schema,
  defaults: { ...defaults, adamw: adamwPart },
  create: createMuon,
  stateBytes: (_config, parameter) => (isBlockMatrix(parameter) ? 4 : 8) * parameter.count,
} as const satisfies OptimizerDefinition<{ kind: "muon" } & MuonSettings>;
