/**
 * The two models of `bitnet compare` where nothing is trained: both variants of a preset with random weights, or with those
 * of Hugging Face folders (`--weights`): of a full-precision one its own and the same rounded to ternary; of a ternary one
 * its own, and for a twin a full-precision one of random weights; of both, both.
 */
import type { Command } from "commander";
import type { ModelConfig } from "../../model/index.ts";
import type { ModelSource } from "../../report/index.ts";
import { layersOf, type TrainCommandOptions } from "../train.ts";
import { downloaded } from "./model.ts";
import { twinLayers } from "./twin.ts";

interface Flags extends Omit<TrainCommandOptions, "backend"> {
  backend?: TrainCommandOptions["backend"];
  randomWeights?: boolean;
  weights?: string[];
}

/** What has no meaning without a training. */
const ofTraining = ["data", "valData", "tokenizer", "steps", "epochs", "tokens", "seed"] as const;
const kebab = (name: string) => name.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);

/** @throws UsageError for options that do not go together, or weights of another shape than the preset's */
export async function untrainedTwins(flags: Flags, command: Command): Promise<ModelSource[]> {
  const { UsageError } = await import("../../platform/errors.ts");
  const { resolveConfig } = await import("../../train/index.ts");
  const { randomWeights, weights = [] } = flags;
  if (randomWeights && weights.length > 0) throw new UsageError("name one of --random-weights and --weights");
  const wrong = ofTraining.find((key) => flags[key] !== undefined);
  if (wrong)
    throw new UsageError(
      `--${kebab(wrong)} is of training, and with --${randomWeights ? "random-weights" : "weights"} nothing is trained; leave it out${wrong === "data" || wrong === "valData" ? " (the text to score is --eval-data)" : ""}`,
    );
  const shapeOf = async (variant: ModelConfig["variant"]) => {
    const layers = await layersOf({ ...flags, variant, resume: undefined } as TrainCommandOptions, command);
    // A text is asked for by the config of a run; there is none here.
    const own = { bitnet: layers, full: twinLayers(layers) }[variant];
    return resolveConfig([...own, { from: "no training", patch: { data: { files: ["none"] } } }]);
  };
  const shapes = { bitnet: await shapeOf("bitnet"), full: await shapeOf("full") };
  const names = { bitnet: "BitNet", full: "full precision" };
  const random = (variant: ModelConfig["variant"]): ModelSource => ({
    name: `${names[variant]} (random weights)`,
    path: `${shapes[variant].preset}, ${variant}`,
    weights: { kind: "random", config: shapes[variant].model },
  });
  if (randomWeights) return [random("bitnet"), random("full")];

  const found = new Map<ModelConfig["variant"], string>();
  for (const path of await Promise.all(weights.map((path) => downloaded(path)))) {
    const { describeModel } = await import("../../exchange/index.ts");
    const { sizeKeys } = await import("../../model/index.ts");
    const { config } = describeModel(path);
    const before = found.get(config.variant);
    if (before)
      throw new UsageError(
        `--weights: ${before} and ${path} are both of the ${config.variant} variant; give one of each`,
      );
    const wanted = shapes[config.variant].model;
    const other = sizeKeys.find((key) => config[key] !== wanted[key]);
    if (other)
      throw new UsageError(
        `${path}: its ${other} is ${config[other]}, the preset ${shapes.bitnet.preset} has ${wanted[other]}; name the preset that it is of, or compare it with \`bitnet report\``,
      );
    found.set(config.variant, path);
  }
  const [bitnet, full] = [found.get("bitnet"), found.get("full")];
  return [
    bitnet !== undefined
      ? { name: "BitNet", path: bitnet }
      : { name: "BitNet (rounded, not trained)", path: full!, weights: { kind: "rounded" } },
    full !== undefined ? { name: "full precision", path: full } : random("full"),
  ];
}
