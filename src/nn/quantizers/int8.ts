/**
 * int8 in blocks of 32 columns, for layers that stay more exact than ternary (mixed precision): the numbers of GGUF's
 * Q8_0, so that such a layer is exported as it was trained. The definition is in ops/int8-blocks.
 */
import { int8BlockSize, int8Blocks } from "../../ops/int8-blocks/index.ts";
import type { ValueQuantizer } from "./quantizer.ts";

export const int8: ValueQuantizer<Record<string, never>> = {
  name: "int8",
  form: "values",
  ggufType: "Q8_0",
  refuses: ({ inputs }) =>
    inputs % int8BlockSize === 0
      ? null
      : `int8 has one scale for each ${int8BlockSize} columns, and this layer has ${inputs}; use none, or a width that is a multiple of ${int8BlockSize}`,
  quantize(runtime, w) {
    const [values] = runtime.detached(int8Blocks, [w], {});
    return { values };
  },
};
