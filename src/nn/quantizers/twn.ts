/**
 * Ternary weight networks (Li et al., arXiv:1605.04711): a weight is 0 up to threshold · mean|w|, and the scale is the mean magnitude
 * of the others, which has the least squared error for them. The definition is in ops/twn-quant.
 */
import { z } from "zod";
import { twnQuant } from "../../ops/twn-quant/index.ts";
import type { TernaryQuantizer } from "./quantizer.ts";

interface TwnSettings {
  threshold: number;
  scale: "survivors" | "mean";
}

export const twn: TernaryQuantizer<TwnSettings> = {
  name: "twn",
  form: "ternary",
  schema: z.strictObject({
    /** Of mean|w|: weights up to it are 0. 0.7: the paper's; 0.767 has the least squared error for normal weights. */
    threshold: z.number().positive().default(0.7),
    /** Mean magnitude of the weights that are not 0, or of all (absmean's level). */
    scale: z.enum(["survivors", "mean"]).default("survivors"),
  }),
  quantize(runtime, w, { threshold, scale: level }, { eps }) {
    const [codes, scale] = runtime.detached(twnQuant, [w], {
      threshold,
      survivors: level === "survivors" ? 1 : 0,
      eps,
    });
    return { codes, scale };
  },
};
