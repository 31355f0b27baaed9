/** Options of the commands that run a model on the packed engine: which engine, and how it holds what it reads. */
import { type Command, Option } from "commander";
import type { OpenEngineOptions } from "../../infer/index.ts";
import { addModelOptions, type ModelFlags, startTokenChoice } from "./model-options.ts";
import { addBackendOptions, type BackendOptions } from "./options.ts";

export interface EngineFlags extends BackendOptions, ModelFlags {
  engine: NonNullable<OpenEngineOptions["engine"]>;
  weightsType?: NonNullable<OpenEngineOptions["packed"]>["weights"];
  headType?: NonNullable<OpenEngineOptions["packed"]>["head"];
  cacheType?: NonNullable<OpenEngineOptions["packed"]>["cache"];
  contextRing?: boolean;
}

/** --engine, --weights-type, --head-type, --cache-type, --context-ring; those of models and backends. */
export function addEngineOptions(command: Command): Command {
  command
    .addOption(
      new Option(
        "--engine <name>",
        "packed: weights stay packed; float: as in training; auto: packed for ternary models",
      )
        .choices(["auto", "packed", "float"])
        .default("auto"),
    )
    .addOption(
      new Option(
        "--weights-type <type>",
        "of ternary weights in memory (packed engine; default auto: what this machine reads fastest)",
      ).choices(["auto", "2bit", "trits"]),
    )
    .addOption(
      new Option(
        "--head-type <type>",
        "of output head and embeddings (packed engine; default: exact, f32 or as the file has it)",
      ).choices(["f32", "bf16", "f16", "int8", "int4"]),
    )
    .addOption(
      new Option("--cache-type <type>", "of keys and values (packed engine; default f32, exact)").choices([
        "f32",
        "f16",
        "int8",
        "int4",
      ]),
    )
    .option(
      "--context-ring",
      "past the end of the context go on: each token sees the last ones that fit (packed engine)",
    );
  return addBackendOptions(addModelOptions(command));
}

export function engineOptions({
  engine,
  weightsType,
  headType,
  cacheType,
  contextRing,
  pre,
  startToken,
}: EngineFlags): OpenEngineOptions {
  const packed = {
    ...(weightsType ? { weights: weightsType } : {}),
    ...(headType ? { head: headType } : {}),
    ...(cacheType ? { cache: cacheType } : {}),
    ...(contextRing ? { overflow: "slide" as const } : {}),
  };
  return {
    engine,
    ...(Object.keys(packed).length > 0 ? { packed } : {}),
    ...(pre === undefined ? {} : { pre }),
    ...startTokenChoice({ startToken }),
  };
}
