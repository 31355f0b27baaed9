/**
 * A kernel for a GPU: WGSL beside kernel.cc and reference.ts, in `ops/<op>/shader.ts`. This file is the contract between
 * an op and a backend that runs shaders; it compiles nothing. Called by ops (the type) and by such a backend (`shaderOf`).
 */
import { UnsupportedError } from "../platform/errors.ts";
import type { DType, Kernel } from "./backend.ts";

/** One dispatch. A kernel may take several, in order: sums over everything take two. */
export interface ShaderPass<B extends Record<string, DType> = Record<string, DType>, P extends string = string> {
  /** The body of `main`, in WGSL; the backend writes the declarations around it. */
  readonly body: string;
  /** The kernel's buffers that it binds, in order. The access in the layout is the one in the source. */
  readonly bindings: readonly { readonly buffer: keyof B & string; readonly access: "read" | "read_write" }[];
  /** The kernel's numbers that it reads, and as which type. */
  readonly uniforms: readonly { readonly param: P; readonly type: "u32" | "i32" | "f32" }[];
  /** Invocations of one workgroup, as in `@workgroup_size`: at most 256 in all. */
  readonly workgroupSize: readonly [x: number, y: number, z: number];
  /** Workgroups to dispatch: at most 65,535 along each axis. */
  readonly workgroups: readonly [x: number, y: number, z: number];
}

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
