/** absmax8: activations to int8 with one scale for each token, as BitNet b1.58 has them (ops/activation-quant). */
import { rampActivations } from "../../ops/quant-ramp/index.ts";
import type { ActivationQuantizer } from "./quantizer.ts";

export const absmax8: ActivationQuantizer = {
  name: "absmax8",
  codes: "int8",
  packed: true,
  op: rampActivations,
};
