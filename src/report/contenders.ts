/**
 * What is timed of a model. A ternary one runs on the packed engine. A full-precision one has two engines: packed, with
 * half-precision weights, and the training-time model with the matrix products that training uses (bfloat16 where the
 * processor has it), which read a prompt faster. Both are timed, and each row takes the faster: a twin is not held to the
 * slower of what we have. Memory is the packed engine's, the smaller.
 */
import {
  type Contender,
  type EngineMeasurement,
  measureSpeed,
  type SpeedMeasurement,
  type SpeedOptions,
} from "../analysis/index.ts";
import { type Backend, type BackendChoice, createBackend } from "../backends/index.ts";
import { createPackedEngine, type PackedEngineOptions, TransformerEngine, weightsOfModel } from "../infer/index.ts";
import { type ModelConfig, type ModelPlan, planModel, type Transformer } from "../model/index.ts";
import { hasTernaryWeights } from "../nn/index.ts";
import { Runtime } from "../tensor/index.ts";

/** How models are held where they are compared: the same head and cache for both; ternary weights in the engine's 2 bits. */
export const comparedEngine: PackedEngineOptions = { linear: "f16", head: "f16", cache: "f32" };

export interface TimedModel {
  name: string;
  config: ModelConfig;
  backend: Pick<Backend, "name" | "isa" | "threads">;
  contenders: Contender[];
  close(): void;
}

/** @param load builds or reads the model on a runtime; called once, and the float weights are there once at most */
export async function openTimed(
  name: string,
  choice: BackendChoice,
  load: (runtime: Runtime) => Promise<Transformer>,
): Promise<TimedModel> {
  const open: (() => void)[] = [];
  const close = () => {
    for (const one of open.splice(0).reverse()) one();
  };
  try {
    const backend = await createBackend(choice);
    open.push(() => backend.close());
    // The float weights are on a backend of their own: memory is counted by backend.
    const from = await createBackend(choice);
    const closeFloat = [() => from.close()];
    open.push(() => {
      for (const one of closeFloat.splice(0).reverse()) one();
    });
    const model = await load(new Runtime(from, from.supports.bf16 ? "bf16" : "fp32"));
    closeFloat.push(() => model.dispose());
    const { config } = model;
    const packed = await createPackedEngine(backend, config, weightsOfModel(model), comparedEngine);
    open.push(() => packed.dispose());
    const contenders: Contender[] = [{ name, model: name, engine: packed, backend }];
    if (!model.plan.anyTernary) {
      const engine = new TransformerEngine(model);
      closeFloat.push(() => engine.dispose());
      contenders.push({ name: `${name}, as in training`, model: name, engine, backend: from });
    } else {
      for (const one of closeFloat.splice(0).reverse()) one();
    }
    return { name, config, backend, contenders, close };
  } catch (error) {
    close();
    throw error;
  }
}

export type TimedResult = SpeedMeasurement & {
  /** Which engine each row is of. */
  engines: Record<"prompt" | "decode" | "firstToken", "packed" | "float">;
  /** Of the linear layers on the packed engine. */
  weights: string;
};

/** Times models in turns. @throws as measureSpeed */
export async function timeModels(models: readonly TimedModel[], options: SpeedOptions): Promise<TimedResult[]> {
  const results = await measureSpeed(
    models.flatMap(({ contenders }) => contenders),
    options,
  );
  return models.map(({ contenders, config }) => {
    const [packed, float] = results.splice(0, contenders.length);
    return fastest(packed, float, weightsHeld(planModel(config)));
  });
}

/** How the packed engine of the comparison holds the linear layers. */
function weightsHeld(plan: ModelPlan): string {
  if (!plan.anyTernary) return "f16";
  const others = plan.layers.filter((layer) => !hasTernaryWeights(layer)).length;
  return others === 0 ? "2 bits" : `2 bits, f16 for ${others} of ${plan.layers.length} layers`;
}

/** Each row of the engine that is faster at it; memory of the packed one. A row that one of them lacks is the other's. */
export function fastest(packed: EngineMeasurement, float: EngineMeasurement | undefined, weights: string): TimedResult {
  const pick = <K extends "prompt" | "decode" | "firstToken">(key: K, higher: boolean) => {
    const [a, b] = [packed[key], float?.[key] ?? null];
    const floatIsBetter = b !== null && (a === null || (higher ? b.mean > a.mean : b.mean < a.mean));
    return { value: (floatIsBetter ? b : a)!, engine: floatIsBetter ? ("float" as const) : ("packed" as const) };
  };
  const [prompt, decode, first] = [pick("prompt", true), pick("decode", true), pick("firstToken", false)];
  return {
    ...packed,
    prompt: prompt.value,
    decode: decode.value,
    firstToken: first.value,
    engines: { prompt: prompt.engine, decode: decode.engine, firstToken: first.engine },
    weights,
  } as TimedResult;
}
