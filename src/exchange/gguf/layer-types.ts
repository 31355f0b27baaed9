/**
 * Mixed precision in a GGUF file: the type of each linear layer's tensor, what llama.cpp computes with it, and, reading, which
 * quantizers a layer has. A tensor's type says what its weights are; what no type says (which layers' inputs are rounded) is
 * in a key of our own, as a list of the layers that differ from the rest of the file.
 */
import { type GgufFile, type GgufValue, texts } from "../../formats/gguf/index.ts";
import {
  describeLayer,
  type LayerChoice,
  type LayerPlan,
  type ModelConfig,
  type ModelPlan,
  planModel,
  type QuantizationConfig,
  quantizationOf,
  someLayers,
  weightName,
} from "../../model/index.ts";
import {
  activationQuantizers,
  hasTernaryWeights,
  isBitLinear,
  type LinearSpec,
  weightQuantizers,
} from "../../nn/index.ts";
import { FormatError, UnsupportedError } from "../../platform/errors.ts";
import type { GgmlTypeName } from "../../quant/ggml-types.ts";
import { ternaryOf } from "../../quant/ternary.ts";
import { type GgufPlan, ggmlNameOf } from "./architecture.ts";
import { ggufNameOf, scaleNameOf } from "./names.ts";

/** Layers that are not as the rest: "blk.0.ffn_down int8 none", a layer, its weights and the quantizer of its input. */
const layersKey = "bitnet_ts.layers";

/** How a layer's weights are called in the key. */
const ternaryWord = "ternary";

/** The type of a layer's tensor: ternary weights as asked for, int8 as Q8_0 and int4 as Q4_0, which hold the same values, float in another. */
export function ggmlTypeOf(
  { weights }: Pick<LinearSpec, "weights">,
  plan: Pick<GgufPlan, "type" | "linearType">,
): GgmlTypeName {
  const quantizer = weights?.quantizer;
  if (!quantizer) return ggmlNameOf(plan.linearType);
  return quantizer.form === "ternary" ? ggmlNameOf(plan.type) : (quantizer.ggufType ?? "F32");
}

/** The value quantizer whose numbers a type holds. */
function quantizerOf(type: string | null): string {
  const holds = (name: string) => {
    const quantizer = weightQuantizers.get(name);
    return quantizer.form === "values" && quantizer.ggufType === type;
  };
  // Float types hold any values; only a type of codes names its quantizer.
  return ["F32", "F16", "BF16"].includes(String(type)) ? "none" : (weightQuantizers.names.find(holds) ?? "none");
}

const layerNameOf = ({ name }: Pick<LayerPlan, "name">) => ggufNameOf(weightName(name)).replace(/\.weight$/, "");

/** The key for the layers that are not as the file's architecture says: none for a model that is ternary, or float, throughout. */
export function layerKeys(model: ModelPlan, plan: GgufPlan): [string, GgufValue][] {
  const ternary = plan.architecture !== "llama" || model.anyTernary;
  const entries = model.layers.flatMap((layer) => {
    const { weights, activations } = layer;
    if (ternary ? isBitLinear(layer) : !weights && !activations) return [];
    if (activations?.settings !== undefined)
      throw new UnsupportedError(
        `gguf: layer ${layer.name} rounds its input by "${activations.name}", whose settings a GGUF file has no place for; checkpoints and compact files keep them`,
      );
    const word = hasTernaryWeights(layer) ? ternaryWord : quantizerOf(ggmlTypeOf(layer, plan));
    return [`${layerNameOf(layer)} ${word} ${activations?.name ?? "none"}`];
  });
  return entries.length > 0 ? [[layersKey, texts(entries)]] : [];
}

/** Where llama.cpp's products differ from the model's, by kind of layer: its weights are as they are, its inputs may not be. */
export function layerNotes(model: ModelPlan, plan: GgufPlan): string[] {
  if (model.allBitLinear || model.allFloat) return [];
  const kinds = new Map<string, LayerPlan[]>();
  for (const layer of model.layers)
    if (!isBitLinear(layer)) kinds.set(describeLayer(layer), [...(kinds.get(describeLayer(layer)) ?? []), layer]);
  return [...kinds].flatMap(([kind, layers]) => {
    const [{ activations, weights }] = layers;
    const type = ggmlTypeOf(layers[0], plan);
    const which = `${layers.length === 1 ? "layer" : "layers"} in ${kind} (${someLayers(layers)})`;
    const isFloat = ["F32", "F16", "BF16"].includes(type);
    const inputs = isFloat
      ? activations
        ? `those programs do not round the inputs of the ${which} to ${activations.codes ?? "codes"}, and the model does`
        : null
      : activations
        ? `those programs round the inputs of the ${which} to int8 in blocks, and the model to ${activations.codes ?? "codes"} one token at a time`
        : `those programs round the inputs of the ${which} to int8, and the model does not`;
    const stored =
      !weights && type !== "F32"
        ? `the ${which} are rounded to ${type}; --linear-type f32 keeps them as they are`
        : null;
    return [inputs, stored].filter((note) => note !== null);
  });
}

const ternaryTypes: readonly (string | null)[] = ["TQ1_0", "TQ2_0", "Q2_0", "I2_S"];

/**
 * Which layers of a file are not as the rest: by our key, and without it by the tensors' types, where they differ.
 *
 * @param ternary whether layers are ternary unless something else is said
 * @throws FormatError for a key that names what is not there
 */
export function readLayers(file: GgufFile, config: ModelConfig, ternary: boolean): QuantizationConfig | undefined {
  const { layers } = planModel(config);
  const choices = file.metadata.get(layersKey) ? saidLayers(file, layers) : ternary ? foundLayers(file, layers) : null;
  return choices ? quantizationOf(choices, config.layers) : undefined;
}

function saidLayers(file: GgufFile, layers: readonly LayerPlan[]): Map<string, LayerChoice> {
  const known = new Map(layers.map((layer) => [layerNameOf(layer), layer.name]));
  const choices = new Map<string, LayerChoice>();
  for (const entry of file.metadata.texts(layersKey)) {
    const refuse = (what: string): never => {
      throw new FormatError(`${file.path}: ${layersKey} has ${JSON.stringify(entry)}: ${what}`);
    };
    const [layer, weights, activations, ...rest] = entry.split(" ");
    const name = known.get(layer) ?? refuse("there is no such layer");
    if (rest.length > 0 || activations === undefined) refuse("expected a layer, its weights and its inputs");
    const type = file.tensors.get(`${layer}.weight`)?.type ?? null;
    if (weights !== ternaryWord && weights !== quantizerOf(type))
      refuse(`the tensor is ${type}; expected ${ternaryWord} or ${quantizerOf(type)}`);
    const plain = activationQuantizers.names.filter((one) => !activationQuantizers.get(one).configure);
    if (activations !== "none" && !plain.includes(activations))
      refuse(`unknown inputs; expected none or ${plain.join(", ")}`);
    choices.set(name, { weights: weights === ternaryWord ? "absmean" : weights, activations });
  }
  return choices;
}

/** A matrix of another type than the ternary ones may be ternary all the same: converters fall back where rows do not fit. */
function foundLayers(file: GgufFile, layers: readonly LayerPlan[]): Map<string, LayerChoice> | null {
  const tensorOf = (layer: LayerPlan) => file.tensors.get(`${layerNameOf(layer)}.weight`);
  const types = new Set(layers.map((layer) => tensorOf(layer)?.type));
  if (types.size < 2) return null;
  const choices = new Map<string, LayerChoice>();
  for (const layer of layers) {
    const tensor = tensorOf(layer);
    if (!tensor || tensor.type === null || ternaryTypes.includes(tensor.type)) continue;
    if (file.tensors.has(scaleNameOf(tensor.name)) || ternaryOf(file.readFloats(tensor.name))) continue;
    choices.set(layer.name, { weights: quantizerOf(tensor.type), activations: "none" });
  }
  return choices;
}
