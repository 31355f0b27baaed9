/**
 * Training that begins from weights that are there (`bitnet train --from`): another run's checkpoint, an imported model,
 * one converted to ternary. Weights, model config and tokenizer are taken; the optimiser, the schedule and the data's
 * order begin anew.
 */
import { describeModel, localModel } from "../exchange/index.ts";
import { readTokenizer } from "../checkpoint/index.ts";
import { type ModelConfig, shapeKeys } from "../model/index.ts";
import { UsageError } from "../platform/errors.ts";
import { describePath } from "../platform/files.ts";
import { loadTokenizer, type Tokenizer } from "../tokenizer/index.ts";
import type { ConfigLayer } from "./config.ts";
import type { RunConfig } from "./config-schema.ts";

export interface StartingPoint {
  folder: string;
  model: ModelConfig;
  layers: ConfigLayer[];
}

/**
 * @param nameOrPath a model folder, a checkpoint, a run (its newest checkpoint), or a name on the hub
 * @throws FileError, FormatError, UsageError where there is no model
 */
export async function startingPoint(nameOrPath: string, onNote: (text: string) => void): Promise<StartingPoint> {
  const path = await localModel(nameOrPath, { onNote });
  const { folder, config } = describeModel(path);
  if (describePath(folder).kind !== "folder")
    throw new UsageError(`${path}: is a file; make a model folder of it first (bitnet import)`);
  return { folder, model: config, layers: [{ from: path, patch: { model: config } }] };
}

/** @throws UsageError where the run's model is another */
export function checkStart({ folder, model }: StartingPoint, config: RunConfig): void {
  // The rest (context, scale rule, quantizers, recompute, ...) is the run's to choose.
  for (const key of shapeKeys)
    if (config.model[key] !== model[key])
      throw new UsageError(
        `${folder}: its model has ${key} ${JSON.stringify(model[key])}, but ${JSON.stringify(config.model[key])} was asked for; weights fit one model only, leave model.${key} out`,
      );
}

/** The tokenizer that the weights were trained with. @throws UsageError for another one, or none */
export function startTokenizer({ folder, model }: StartingPoint, config: RunConfig): Tokenizer {
  const own = readTokenizer(folder, model);
  const { file } = config.tokenizer;
  if (!own && file === null)
    throw new UsageError(`${folder}: came without a tokenizer; name the one that it was trained with (--tokenizer)`);
  if (own && file !== null && loadTokenizer(file).hash !== own.hash)
    throw new UsageError(
      `${file}: is another tokenizer than the one in ${folder}; weights know one only, leave it out`,
    );
  return own ?? loadTokenizer(file as string);
}
