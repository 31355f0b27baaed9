/**
 * int4 in blocks of 32 columns, for layers that stay more exact than ternary (mixed precision): the numbers of GGUF's Q4_0, so
 * that such a layer is exported as it was trained. The definition is in ops/int4-blocks.
 */
import { int4BlockSize, int4Blocks } from "../../ops/int4-blocks/index.ts";
import type { ValueQuantizer } from "./quantizer.ts";

export const int4: ValueQuantizer<Record<string, never>> = {
  name: "int4",
  form: "values",
  ggufType: "Q4_0",
  refuses: ({ inputs }) =>
    inputs % int4BlockSize === 0
      ? null
      : `int4 has one scale for each ${int4BlockSize} columns, and this layer has ${inputs}; use none, or a width that is a multiple of ${int4BlockSize}`,
  quantize(runtime, w) {
    const [values] = runtime.detached(int4Blocks, [w], {});
    return { values };
  },
};
