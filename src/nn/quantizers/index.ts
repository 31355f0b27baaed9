/** The quantizers there are. `none`, for weights or activations, is the absence of one. */
import { Registry } from "../../platform/registry.ts";
import { absmax4 } from "./absmax4.ts";
import { absmax8 } from "./absmax8.ts";
import { absmean } from "./absmean.ts";
import { absmedian } from "./absmedian.ts";
import { int4 } from "./int4.ts";
import { int8 } from "./int8.ts";
import { learned } from "./learned.ts";
import { lsq } from "./lsq.ts";
import { pact4, pact8 } from "./pact.ts";
import { seq } from "./seq.ts";
import { twn } from "./twn.ts";
import type { ActivationQuantizer, WeightQuantizer } from "./quantizer.ts";
import { static8 } from "./static8.ts";

const builtIn = [absmean, absmedian, twn, learned, lsq, seq, int8, int4];

export const weightQuantizers = new Registry<WeightQuantizer>("weight quantizer", builtIn, (part) =>
  part.form !== "ternary" && part.form !== "values"
    ? 'form "ternary" or "values"'
    : typeof part.quantize !== "function"
      ? "quantize()"
      : part.parameters && typeof part.gradient?.backward !== "function"
        ? "gradient with backward, for the parameters that it learns"
        : null,
);
export const activationQuantizers = new Registry<ActivationQuantizer>(
  "activation quantizer",
  [absmax8, absmax4, pact8, pact4, static8],
  (part) =>
    typeof part.op?.forward === "function" && typeof part.op.backward === "function"
      ? null
      : "op with forward and backward",
);

export { inputClip } from "./pact.ts";
export type {
  ActivationQuantizer,
  LearnedParameter,
  MatrixShape,
  ModelScale,
  QuantizedWeight,
  TernaryQuantizer,
  TernaryWeight,
  ValueQuantizer,
  WeightQuantizer,
  WeightValues,
} from "./quantizer.ts";
