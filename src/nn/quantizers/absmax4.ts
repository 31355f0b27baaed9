/**
 * absmax4: activations to four bits, codes -7 to 7, with one scale for each token. The codes are kept in int8, so that ternary
 * layers have the same exact integer product as with absmax8 (ops/activation-quant, with 7 levels).
 */
import { rampActivations4 } from "../../ops/quant-ramp/index.ts";
import type { ActivationQuantizer } from "./quantizer.ts";

export const absmax4: ActivationQuantizer = {
  name: "absmax4",
  codes: "int4",
  packed: true,
  op: rampActivations4,
};
