/**
 * Kernels without C++: on a processor's backend, the kernel's TypeScript definition runs over copies of its buffers. For
 * kernels of extensions, whose authors say so by `host: true`; it is slow, and single-threaded. Called by processor.ts.
 */
import type { DType, Kernel, NDArray, TypedArray } from "./backend.ts";
import { viewOf } from "./reference.ts";

/** Copies an array's bytes out of, or back into, a backend's memory, at once. */
export interface ArrayAccess {
  read(array: NDArray, into: TypedArray): void;
  write(array: NDArray, data: TypedArray): void;
}

/** Runs `kernel.reference`. What it did not change is written back too, as it was. */
export function runOnHost(
  kernel: Kernel,
  arrays: Readonly<Record<string, NDArray | null>>,
  params: Record<string, number>,
  access: ArrayAccess,
): void {
  const copies = Object.entries(kernel.buffers).map(([name, dtype]) => {
    const array = arrays[name];
    if (array === undefined) throw new Error(`${kernel.name}: buffer "${name}" is missing`);
    return { name, array, copy: array && copyOf(kernel.name, name, dtype, array) };
  });
  for (const { array, copy } of copies) if (array && copy) access.read(array, copy);
  const views = Object.fromEntries(copies.map(({ name, copy }) => [name, copy]));
  kernel.reference(views as never, params);
  for (const { array, copy } of copies) if (array && copy) access.write(array, copy);
}

function copyOf(kernel: string, name: string, dtype: DType, array: NDArray): TypedArray {
  if (array.dtype !== dtype)
    throw new Error(`${kernel}: buffer "${name}" is ${array.dtype}; the kernel takes ${dtype}`);
  const n = array.shape.reduce((a, b) => a * b, 1);
  return viewOf(dtype, new ArrayBuffer(Math.max(8, 4 * n)), 0, n);
}
