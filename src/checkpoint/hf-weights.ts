/**
 * The weights in a Hugging Face folder as the float32 values of our parameters: one file or shards, float of any width
 * or packed ternary, by today's names or those of the first reproduction. Exactly the tensors that the model has are
 * wanted; what is missing or left over is named.
 */
import type { SafetensorsFile } from "../formats/safetensors.ts";
import { openSafetensorsFolder } from "../formats/safetensors-shards.ts";
import { embeddingName, headName, inBlock, type ModelConfig, normNames, planModel } from "../model/index.ts";
import { FormatError } from "../platform/errors.ts";
import { joinPath } from "../platform/files.ts";
import { unpackHuggingFace } from "../quant/hf-pack.ts";
import { masterWeightsOf, ternaryOf } from "../quant/ternary.ts";
import type { Parameter } from "../tensor/index.ts";
import { learnedOf } from "../nn/index.ts";
import { fromHuggingFaceConfig, readWeightLayout, type WeightLayout } from "./hf-config.ts";
import { configFile, readJson } from "./json-file.ts";

type Wanted = Pick<Parameter, "name" | "role" | "shape">;

export interface WeightsReader {
  /** Float32 values of one of the parameters, row-major. @throws FormatError */
  read(parameter: Wanted): Promise<Float32Array>;
  /** Names of parameters that quantizers learn and the folder has not; only `asStart` leaves any. */
  missing: ReadonlySet<string>;
  close(): void;
}

/** Other names of a parameter: 1bitLLM's reproduction calls its sub-norms so. */
function namesOf(name: string): string[] {
  const module = inBlock(name)?.module ?? "";
  const older = olderNames[module];
  return older === undefined ? [name] : [name, name.replace(module, older)];
}
const olderNames: Record<string, string> = {
  [normNames.attentionSub]: "self_attn.inner_attn_ln",
  [normNames.feedForwardSub]: "mlp.ffn_layernorm",
};

const subNorms = Object.entries(olderNames).flat();
const isSubNorm = (name: string) => subNorms.includes(inBlock(name)?.module ?? "");
const scaleName = (name: string) => `${name}_scale`;
/** Tables that old exporters put among the weights; they are computed. */
const isComputed = (name: string) => name.endsWith(".rotary_emb.inv_freq");

export interface OpenWeightsOptions {
  /**
   * As the start of a run whose quantizers may be others: what those of the folder learned is left out, and what those of the
   * model learn may be missing. Default: everything is wanted, and nothing else.
   */
  asStart?: boolean;
}

/**
 * Opens a folder's weights for a model. The caller closes it.
 *
 * @throws FileError; FormatError naming tensors that are missing, of another shape, or nobody's
 */
export async function openWeights(
  folder: string,
  config: ModelConfig,
  parameters: readonly Wanted[],
  { asStart = false }: OpenWeightsOptions = {},
): Promise<WeightsReader> {
  const configPath = joinPath(folder, configFile);
  const content = readJson(configPath);
  const layout = readWeightLayout(content, configPath);
  const own = asStart ? learnedBy(fromHuggingFaceConfig(content, configPath)) : new Map<string, string>();
  const wanted = asStart ? learnedBy(config) : own;
  // Of another quantizer, the same name means another thing.
  const missing = new Set([...wanted].filter(([name, by]) => own.get(name) !== by).map(([name]) => name));
  const file = await openSafetensorsFolder(folder);
  try {
    const found = findTensors(
      file,
      layout,
      parameters.filter(({ name }) => !missing.has(name)),
    );
    await refuseStrangers(file, found, config, new Set(own.keys()));
    return {
      missing,
      read: (parameter) => readParameter(file, found.get(parameter.name)!, parameter, layout, config),
      close: () => file.close(),
    };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** What a model's quantizers learn, by the parameters' names: the quantizer of each. */
function learnedBy(config: ModelConfig): Map<string, string> {
  const learned = new Map<string, string>();
  for (const layer of planModel(config).layers) {
    const { weights, activations } = learnedOf(layer);
    for (const { name } of weights) learned.set(`${layer.name}.${name}`, String(layer.weights?.quantizer.name));
    for (const { name } of activations) learned.set(`${layer.name}.${name}`, String(layer.activations?.name));
  }
  return learned;
}

interface Found {
  /** Its name in the file. */
  name: string;
  /** The name of the scale beside it, where there is one. */
  scale?: string;
}

/** What stands behind the first of several names: how many more, and some of them. */
function others(names: readonly string[]): string {
  if (names.length < 2) return "";
  const some = names.slice(1, 6).join(", ");
  return `, and ${names.length - 1} more (${some}${names.length > 6 ? ", ..." : ""})`;
}

function findTensors(file: SafetensorsFile, layout: WeightLayout, parameters: readonly Wanted[]): Map<string, Found> {
  const found = new Map<string, Found>();
  const missing: string[] = [];
  for (const { name, role, shape } of parameters) {
    const there = namesOf(name).find((one) => file.tensors.has(one));
    if (there === undefined) {
      missing.push(name);
      continue;
    }
    const entry = file.tensors.get(there)!;
    const scale = role === "ternary" && layout !== "float" ? scaleName(there) : undefined;
    const packed = scale !== undefined && entry.dtype === "U8";
    const wanted = packed ? [shape[0] / 4, ...shape.slice(1)] : shape;
    if (entry.shape.join() !== wanted.join())
      throw new FormatError(
        `${file.path}: tensor ${there} is [${entry.shape}]; the model wants [${wanted}]${packed ? " (four weights a byte)" : ""}; is it of another model?`,
      );
    if (scale !== undefined) {
      const beside = file.tensors.get(scale);
      if (!beside) missing.push(scale);
      else if (beside.shape.reduce((a, b) => a * b, 1) !== 1)
        throw new FormatError(`${file.path}: tensor ${scale} is [${beside.shape}]; expected one number`);
    }
    found.set(name, { name: there, scale });
  }
  if (missing.length > 0)
    throw new FormatError(
      `${file.path}: has no tensor ${missing[0]}, which the model has${others(missing)}; ${
        missing.every(isSubNorm)
          ? `if it was trained without sub-norms, set "sub_norm": false in ${configFile}`
          : "is it of another model?"
      }`,
    );
  return found;
}

async function refuseStrangers(
  file: SafetensorsFile,
  found: Map<string, Found>,
  config: ModelConfig,
  leftOut: ReadonlySet<string>,
): Promise<void> {
  const known = new Set(
    [...found.values()].flatMap(({ name, scale }) => (scale === undefined ? [name] : [name, scale])),
  );
  const strangers = [...file.tensors.keys()].filter(
    (name) => !known.has(name) && !leftOut.has(name) && !isComputed(name),
  );
  // A tied head may be stored all the same; then it must be the embedding.
  if (config.tiedHead && strangers.includes(headName)) {
    const [head, table] = [await file.read(headName), await file.read(found.get(embeddingName)!.name)];
    if (head.length !== table.length || head.some((value, i) => !Object.is(value, table[i])))
      throw new FormatError(
        `${file.path}: tensor ${headName} is not the embedding, but the config ties them (tie_word_embeddings); set it to false if the head is one of its own`,
      );
    strangers.splice(strangers.indexOf(headName), 1);
  }
  if (strangers.length > 0)
    throw new FormatError(
      `${file.path}: holds tensor ${strangers[0]}, which the model has not${others(strangers)}; ${
        planModel(config).anyTernary && strangers.every(isSubNorm)
          ? `if they are its sub-norms, set "sub_norm": true in ${configFile}`
          : "is it of another model?"
      }`,
    );
}

async function readParameter(
  file: SafetensorsFile,
  { name, scale }: Found,
  { shape }: Wanted,
  layout: WeightLayout,
  config: ModelConfig,
): Promise<Float32Array> {
  const values = await file.read(name);
  if (scale === undefined) {
    if (values instanceof Float32Array) return values;
    throw new FormatError(`${file.path}: tensor ${name} holds integers; expected float weights`);
  }
  const stored = (await file.read(scale))[0];
  const gamma = layout === "packed-inverse" ? Math.fround(1 / stored) : stored;
  if (!(gamma > 0 && Number.isFinite(gamma)))
    throw new FormatError(`${file.path}: tensor ${scale} is ${stored}; expected a finite number above 0`);
  const codes = values instanceof Uint8Array ? unpacked(values, file, name, shape) : ternaryCodes(values, file, name);
  const zeros = codes.every((code) => code === 1);
  if (!zeros && gamma < config.weightEps)
    throw new FormatError(
      `${file.path}: tensor ${scale} makes a scale of ${gamma}, below the least that the quantiser gives (${config.weightEps})`,
    );
  return masterWeightsOf({ codes, scale: gamma });
}

function unpacked(packed: Uint8Array, file: SafetensorsFile, name: string, shape: readonly number[]): Uint8Array {
  const { codes, wrongAt } = unpackHuggingFace(packed);
  if (wrongAt !== null)
    throw new FormatError(
      `${file.path}: tensor ${name}: byte ${wrongAt} (row ${Math.floor(wrongAt / shape[1])}) is ${packed[wrongAt]}, which holds a code 3; expected codes 0, 1 and 2`,
    );
  return codes;
}

/** Ternary weights in a float tensor, beside a scale of their own. */
function ternaryCodes(values: ArrayLike<number>, file: SafetensorsFile, name: string): Uint8Array {
  const found = values instanceof Float32Array ? ternaryOf(values) : null;
  if (!found || (found.scale !== 1 && found.scale !== 0))
    throw new FormatError(`${file.path}: tensor ${name}: expected weights of -1, 0 and 1 beside ${scaleName(name)}`);
  return found.codes;
}
