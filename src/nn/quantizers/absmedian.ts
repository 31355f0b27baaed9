/**
 * absmedian (arXiv:2407.09527): absmean with the median of |w| in the mean's place, by the model's scale rule. "On par or better than
 * the mean in most scenarios" (arXiv:2411.05882). The definition is in ops/median-quant.
 */
import { medianQuant } from "../../ops/median-quant/index.ts";
import type { TernaryQuantizer } from "./quantizer.ts";

export const absmedian: TernaryQuantizer<Record<string, never>> = {
  name: "absmedian",
  form: "ternary",
  quantize(runtime, w, _settings, { rule, eps }) {
    const [codes, scale] = runtime.detached(medianQuant, [w], { rule, eps });
    return { codes, scale };
  },
};
