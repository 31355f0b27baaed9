/**
 * PACT (arXiv:1805.06085): the input clipped to a learned bound and rounded to a fixed grid, with a gradient that is masked outside
 * the bound and, from there, goes to it. One bound for each layer, `input_clip`. An L2 penalty on it is the objective `clip-l2`.
 * The formula is in ops/clip-quant.
 *
 * A bound is no scale by token, so there is no integer product: layers multiply the rounded floats.
 */
import { int4Levels, int8Levels } from "../../ops/activation-quant/index.ts";
import { clipQuant } from "../../ops/clip-quant/index.ts";
import type { ActivationQuantizer } from "./quantizer.ts";

/** Of the parameter that holds a layer's bound. */
export const inputClip = "input_clip";

/** @param begins the bound at the start: for normed inputs, whose root mean square is 1, that of the least squared error */
const pact = (name: string, levels: number, begins: number): ActivationQuantizer => ({
  name,
  codes: null,
  parameters: () => [{ name: inputClip, shape: [1], initial: () => Float32Array.of(begins) }],
  op: clipQuant(levels),
});

// QuEST (arXiv:2502.05003) has these bounds for normal numbers of 8 and 4 bits.
export const pact8 = pact("pact8", int8Levels, 3.885);
export const pact4 = pact("pact4", int4Levels, 2.514);
