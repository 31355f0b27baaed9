/** The quantizers there are. `none`, for weights or activations, is the absence of one. */
import { Registry } from "../../platform/registry.ts";
import { absmax8 } from "./absmax8.ts";
import { absmean } from "./absmean.ts";
import { int8 } from "./int8.ts";
import type { ActivationQuantizer, WeightQuantizer } from "./quantizer.ts";
import { static8 } from "./static8.ts";

export const weightQuantizers = new Registry<WeightQuantizer>("weight quantizer", [absmean, int8], (part) =>
  part.form !== "ternary" && part.form !== "values"
    ? 'form "ternary" or "values"'
    : typeof part.quantize === "function"
      ? null
      : "quantize()",
);
export const activationQuantizers = new Registry<ActivationQuantizer>(
  "activation quantizer",
  [absmax8, static8],
  (part) =>
    typeof part.op?.forward === "function" && typeof part.op.backward === "function"
      ? null
      : "op with forward and backward",
);

export type {
  ActivationQuantizer,
  ModelScale,
  QuantizedWeight,
  TernaryQuantizer,
  TernaryWeight,
  ValueQuantizer,
  WeightQuantizer,
  WeightValues,
} from "./quantizer.ts";
