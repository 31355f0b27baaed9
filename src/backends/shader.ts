/**
 * What a backend that runs shaders asks of a kernel (`Kernel.shader` and `ShaderPass` in backend.ts; WGSL stands in
 * `ops/<op>/shader.ts`). It compiles nothing. Called by such a backend.
 */
import { UnsupportedError } from "../platform/errors.ts";
import type { DType, Kernel } from "./backend.ts";

/**
 * A kernel's shader.
 *
 * @param where the backend that needs it, for the message
 * @throws UnsupportedError naming the kernel where it has none
 */
export function shaderOf<B extends Record<string, DType>, P extends string>(
  kernel: Kernel<B, P>,
  where: string,
): NonNullable<Kernel<B, P>["shader"]> {
  const { shader } = kernel;
  if (!shader)
    throw new UnsupportedError(
      `${kernel.name}: has no shader, and the ${where} backend runs nothing else; use the native or the wasm backend`,
    );
  return (params, has) => shader.call(kernel, params, has);
}
