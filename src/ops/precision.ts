/** What ops with float matrix products share: the precision of their context as a kernel's number. */
import { UnsupportedError } from "../platform/errors.ts";
import type { OpContext } from "./op.ts";

/** @throws UnsupportedError where the gradients of precision int8 are asked for and the backend does not have them */
export function checkInt8Gradients({ backend }: OpContext, op: string): void {
  if (!backend.supports.int8Gradients)
    throw new UnsupportedError(
      `${op}: precision int8 is not supported by the ${backend.name} backend with ${backend.isa}; use precision fp32 or auto`,
    );
}

/**
 * 1 for bfloat16 operands, 0 for float32. Precision int8 takes the better that the backend has.
 *
 * @throws UnsupportedError where bfloat16 is asked for and the backend does not have it
 */
export function bf16Flag(cx: OpContext, op: string): 0 | 1 {
  if (cx.precision === "fp32") return 0;
  const { backend } = cx;
  if (cx.precision === "int8") return backend.supports.bf16 ? 1 : 0;
  if (!backend.supports.bf16)
    throw new UnsupportedError(
      `${op}: precision bf16 is not supported by the ${backend.name} backend with ${backend.isa}; use precision fp32 or auto`,
    );
  return 1;
}
