/**
 * static8: activations to int8 with one fixed scale for a layer's input, found on a text (`bitnet calibrate`), where absmax8
 * has one for each token. Its products are of floats: the integer product of ternary layers reads codes of absmax8.
 */
import { z } from "zod";
import { staticQuant } from "../../ops/static-quant/index.ts";
import type { ActivationQuantizer } from "./quantizer.ts";

const schema = z.strictObject({
  /** s: x ≈ s · code, codes -127 to 127. */
  scale: z.number().positive(),
});

const withScale = (settings: z.infer<typeof schema>): ActivationQuantizer => ({
  name: "static8",
  codes: null,
  packed: true,
  schema,
  settings,
  configure: (given) => withScale(given as z.infer<typeof schema>),
  op: {
    ...staticQuant,
    forward: (cx, inputs, { lambda }) => staticQuant.forward(cx, inputs, { ...settings, lambda }),
    backward: (cx, saved, gradients, { lambda }) =>
      staticQuant.backward!(cx, saved, gradients, { ...settings, lambda }),
  },
});

/** The scale is a setting without a default: a plan always configures it. */
export const static8: ActivationQuantizer = withScale({ scale: 1 });
