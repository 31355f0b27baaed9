/**
 * Training that begins from weights that are there (`bitnet train --from`): another run's checkpoint, an imported model,
 * one converted to ternary. Weights, model config and tokenizer are taken; the optimiser, the schedule and the data's
 * order begin anew, with the training settings of a preset: the one that is named, or the one that suits the model.
 */
import { describeModel, localModel } from "../exchange/index.ts";
import { readTokenizer } from "../checkpoint/index.ts";
import { type ModelConfig, type PresetName, planModel, presetConfig, presets, shapeKeys } from "../model/index.ts";
import { UsageError } from "../platform/errors.ts";
import { show } from "../platform/show.ts";
import { describePath, joinPath } from "../platform/files.ts";
import { loadTokenizer, type Tokenizer } from "../tokenizer/index.ts";
import type { ConfigLayer } from "./config.ts";
import type { RunConfig } from "./config-schema.ts";
import { isRun, readRunConfig } from "./run-folder.ts";

export interface StartingPoint {
  folder: string;
  model: ModelConfig;
  /** Under what is asked for: where no preset is named, the one that suits, and the model. */
  layers: ConfigLayer[];
  /** Why that preset, for people. */
  why: string;
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
  const { preset, why } = suitingPreset(path, folder, config);
  const sequence = Math.min(presetConfig(preset, config.variant).contextLength, config.contextLength);
  return {
    folder,
    model: config,
    layers: [{ from: path, patch: { preset, model: config, train: { sequence } } }],
    why,
  };
}

/** The preset of the run that the model is of, else the one nearest in size. */
function suitingPreset(path: string, folder: string, model: ModelConfig): { preset: PresetName; why: string } {
  const run = [path, joinPath(folder, "..", "..")].find(isRun);
  const own = run === undefined ? undefined : readRunConfig(run).preset;
  if (own !== undefined && Object.hasOwn(presets, own)) return { preset: own as PresetName, why: `as in ${run}` };
  const size = logSize(model);
  const names = (Object.keys(presets) as PresetName[]).filter((name) => name !== madeForCharacters);
  const distance = (name: PresetName) => Math.abs(logSize(presetConfig(name, model.variant)) - size);
  const preset = names.reduce((best, name) => (distance(name) < distance(best) ? name : best));
  return { preset, why: "the preset nearest in size" };
}

/** Its settings are for texts of some characters each. */
const madeForCharacters: PresetName = "arithmetic";

/** log of the weights in the blocks' linear layers. */
const logSize = ({ quantization: _, ...config }: ModelConfig): number =>
  Math.log(planModel(config).layers.reduce((sum, { outputs, inputs }) => sum + outputs * inputs, 0));

/** @throws UsageError where the run's model is another */
export function checkStart({ folder, model }: StartingPoint, config: RunConfig): void {
  // The rest (context, scale rule, quantizers, recompute, ...) is the run's to choose.
  for (const key of shapeKeys)
    if (config.model[key] !== model[key])
      throw new UsageError(
        `${folder}: its model has ${key} ${show(model[key])}, but ${show(config.model[key])} was asked for; weights fit one model only, leave model.${key} out`,
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
