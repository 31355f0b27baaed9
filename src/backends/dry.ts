/**
 * A backend that allocates nothing and computes nothing: it counts. A model built and run on it, forward and backward,
 * asks for the memory that it would ask of a real one, in the same order, so `stats` tells what a run of any size needs,
 * on any machine. Whatever is read from it is 0. Used by `bitnet inspect`; never chosen for work.
 */
import type { Backend, DeviceBuffer } from "./backend.ts";
import { neverLost } from "./lost.ts";

class DryBuffer implements DeviceBuffer {
  freed = false;
  constructor(readonly sizeBytes: number) {}
}

/** @param options.bf16 take precision "bf16", as a processor with bfloat16 products does */
export function createDryBackend(options: { bf16?: boolean } = {}): Backend {
  const stats = { liveBytes: 0, peakBytes: 0 };
  return {
    name: "dry",
    isa: "none",
    threads: 1,
    supports: {
      bf16: options.bf16 ?? false,
      int8Gradients: true,
      float64Sums: true,
      ieee: true,
      anyByteWidth: true,
      int8Columns: 4096,
    },
    lost: neverLost,
    stats,
    allocate(sizeBytes) {
      stats.liveBytes += sizeBytes;
      stats.peakBytes = Math.max(stats.peakBytes, stats.liveBytes);
      return new DryBuffer(sizeBytes);
    },
    free(buffer) {
      if (!(buffer instanceof DryBuffer) || buffer.freed) throw new Error("dry backend: freed twice, or of another");
      buffer.freed = true;
      stats.liveBytes -= buffer.sizeBytes;
    },
    trim() {},
    upload() {},
    async read(_buffer, into) {
      into.fill(0);
    },
    launch() {},
    record(body) {
      body();
      return { dispose() {} };
    },
    run() {},
    close() {},
  };
}
