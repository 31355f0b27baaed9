/** A device's memory for the packed engine: weights, the cache, and the workspaces are each a set of arrays freed together. */
import { type Backend, type DType, dtypeBytes, type NDArray } from "../../backends/backend.ts";
import type { OpContext } from "../../ops/op.ts";

/** Memory on a device that is freed together. */
export class DeviceArrays {
  private readonly made = new Set<NDArray>();
  constructor(readonly backend: Backend) {}

  create(shape: readonly number[], dtype: DType): NDArray {
    const array = { shape, dtype, buffer: this.backend.allocate(Math.max(1, bytesOf(shape, dtype))) };
    this.made.add(array);
    return array;
  }

  free(array: NDArray): void {
    if (this.made.delete(array)) this.backend.free(array.buffer);
  }

  dispose(): void {
    for (const { buffer } of this.made) this.backend.free(buffer);
    this.made.clear();
  }
}

export const bytesOf = (shape: readonly number[], dtype: DType): number =>
  shape.reduce((a, b) => a * b, 1) * dtypeBytes[dtype];

/** Arrays smaller than this are made anew: they need no room, and would take that of a larger one. */
const leastLent = 4096;

/**
 * For an op: what it creates lies in arrays that are idle meanwhile, each lent once, the smallest that has room; what finds no
 * room is made by `arrays`.
 */
export function contextOver(arrays: DeviceArrays, idle: readonly NDArray[] = []): OpContext {
  const left = [...idle].sort((a, b) => a.buffer.sizeBytes - b.buffer.sizeBytes);
  return {
    backend: arrays.backend,
    precision: "fp32",
    create(shape, dtype) {
      const bytes = bytesOf(shape, dtype);
      const at = bytes < leastLent ? -1 : left.findIndex(({ buffer }) => buffer.sizeBytes >= bytes);
      return at < 0 ? arrays.create(shape, dtype) : { shape, dtype, buffer: left.splice(at, 1)[0].buffer };
    },
  };
}
