/** absmean, the quantizer of BitNet b1.58 (arXiv:2402.17764): Wq = clip(round(W / s), -1, 1) with s from mean|W|. */
import { weightQuant } from "../../ops/weight-quant/index.ts";
import type { TernaryQuantizer } from "./quantizer.ts";

export const absmean: TernaryQuantizer<Record<string, never>> = {
  name: "absmean",
  form: "ternary",
  isAbsmean: true,
  quantize(runtime, w, _settings, { rule, eps }) {
    const [codes, scale] = runtime.detached(weightQuant, [w], { rule, eps });
    return { codes, scale };
  },
};
