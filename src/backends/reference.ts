/**
 * The reference backend: JavaScript memory, and each kernel's slow definition. It is the judge of the others in tests,
 * and never chosen for real work unless asked for by name.
 */
import type { Backend, DeviceBuffer, DType, Kernel, NDArray, Program, TypedArray } from "./backend.ts";
import type { BackendModule } from "./backend-module.ts";
import { neverLost } from "./lost.ts";

class HostBuffer implements DeviceBuffer {
  readonly bytes: ArrayBuffer;
  freed = false;
  constructor(readonly sizeBytes: number) {
    // Rounded up so that every typed array can view it.
    this.bytes = new ArrayBuffer(Math.ceil(sizeBytes / 8) * 8);
  }
}

export function viewOf(dtype: DType, bytes: ArrayBufferLike, byteOffset: number, length: number): TypedArray {
  switch (dtype) {
    case "f32":
      return new Float32Array(bytes, byteOffset, length);
    case "i32":
      return new Int32Array(bytes, byteOffset, length);
    case "i8":
      return new Int8Array(bytes, byteOffset, length);
    case "u8":
      return new Uint8Array(bytes, byteOffset, length);
  }
}

class RecordedLaunches implements Program {
  readonly launches: (() => void)[] = [];
  dispose(): void {
    this.launches.length = 0;
  }
}

export function createReferenceBackend(): Backend {
  let recording: RecordedLaunches | null = null;
  const stats = { liveBytes: 0, peakBytes: 0 };
  const host = (buffer: DeviceBuffer): HostBuffer => {
    if (!(buffer instanceof HostBuffer)) throw new Error("reference backend: a buffer of another backend came in");
    if (buffer.freed) throw new Error("reference backend: use of a freed buffer");
    return buffer;
  };
  const bytesOf = (data: TypedArray) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return {
    name: "reference",
    isa: "typescript",
    threads: 1,
    supports: {
      bf16: false,
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
      return new HostBuffer(sizeBytes);
    },
    free(buffer) {
      const b = host(buffer);
      b.freed = true;
      stats.liveBytes -= b.sizeBytes;
    },
    trim() {},
    upload(buffer, data, byteOffset = 0) {
      new Uint8Array(host(buffer).bytes, byteOffset, data.byteLength).set(bytesOf(data));
    },
    async read(buffer, into, byteOffset = 0) {
      bytesOf(into).set(new Uint8Array(host(buffer).bytes, byteOffset, into.byteLength));
    },
    record(body) {
      if (recording) throw new Error("reference backend: record() inside record()");
      const program = new RecordedLaunches();
      recording = program;
      try {
        body();
      } finally {
        recording = null;
      }
      return program;
    },
    run(program) {
      if (!(program instanceof RecordedLaunches)) throw new Error("reference backend: a program of another backend");
      for (const launch of program.launches) launch();
    },
    launch<B extends Record<string, DType>, P extends string>(
      kernel: Kernel<B, P>,
      arrays: { [K in keyof B]: NDArray | null },
      params: Record<P, number>,
    ) {
      if (recording) {
        const kept = { ...params };
        recording.launches.push(() => this.launch(kernel, arrays, kept));
        return;
      }
      const views: Record<string, TypedArray | null> = {};
      for (const [name, dtype] of Object.entries(kernel.buffers)) {
        const array = arrays[name];
        if (array && array.dtype !== dtype)
          throw new Error(`${kernel.name}: buffer "${name}" is ${array.dtype}; expected ${dtype}`);
        views[name] = array
          ? viewOf(
              dtype,
              host(array.buffer).bytes,
              0,
              array.shape.reduce((a, b) => a * b, 1),
            )
          : null;
      }
      kernel.reference(views as Parameters<typeof kernel.reference>[0], params);
    },
    close() {},
  };
}

export const referenceBackend: BackendModule = {
  find: () => [{ isa: "typescript", absent: null }],
  create: async () => createReferenceBackend(),
};
