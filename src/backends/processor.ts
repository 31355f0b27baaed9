/**
 * What the native and WASM backends share: both run kernel.cc on this processor, over memory with addresses. Here are
 * the buffers and their reuse, and the checks between a caller's mistake and a crash: freed or foreign buffers, ranges,
 * dtypes, sizes. A `KernelProcessor` is the rest: where memory comes from and how a kernel starts.
 *
 * Memory that is freed is kept, by size, for the next buffer of that size: a training step asks for the sizes of the
 * step before. What is kept never grows past a quarter of the most that was ever in use (see `allocate`).
 */
import {
  type Backend,
  type DeviceBuffer,
  type DType,
  dtypeBytes,
  type Kernel,
  type MappableFile,
  type NDArray,
  type Program,
  type TypedArray,
} from "./backend.ts";
import { FormatError } from "../platform/errors.ts";
import { runOnHost } from "./host-kernel.ts";
import { type Loss, neverLost } from "./lost.ts";

/** A kernel has at most so many buffers, and so many numbers. */
export const maxArguments = 32;
/** Of one kernel in a program: its index, its addresses and its numbers. */
export const commandNumbers = 1 + 2 * maxArguments;

export interface KernelProcessor {
  readonly name: string;
  readonly isa: string;
  readonly threads: number;
  readonly bf16: boolean;
  /** As `BackendSupports.int8Columns`. */
  readonly int8Columns: number;
  /** Of one that can be lost; it checks before a kernel itself. */
  readonly loss?: Loss;
  /** The kernels that it has; a kernel's index is what `launch` takes. */
  readonly kernels: readonly string[];
  /** What to do where a kernel is missing. */
  readonly remedy: string;
  /** Where a launch finds its buffers' addresses (0 for null) and its numbers; `maxArguments` of each. */
  readonly addresses: Float64Array;
  readonly numbers: Float64Array;
  /** 64-byte aligned memory; 0 where there is no room. */
  allocate(sizeBytes: number): number;
  free(address: number): void;
  write(address: number, byteOffset: number, data: TypedArray): void;
  read(address: number, byteOffset: number, into: TypedArray): void;
  launch(kernelIndex: number): void;
  /** Takes commands, each `commandNumbers` numbers: a kernel's index, addresses, numbers. What `run` and `free` name it by. */
  createProgram(commands: Float64Array): number;
  runProgram(program: number): void;
  freeProgram(program: number): void;
  /** Where a file's bytes lie, read-only; 0 where the file is shorter, -1 where the system does not map it. */
  mapFile?(descriptor: number, byteOffset: number, sizeBytes: number): number;
  /** Whether the file was whole all the time. */
  unmapFile?(address: number): boolean;
  close(): void;
}

class ProcessorBuffer implements DeviceBuffer {
  freed = false;
  /** Only a kernel may touch it, and only read: a file's bytes. */
  readOnly = false;
  constructor(
    readonly owner: KernelProcessor,
    readonly sizeBytes: number,
    readonly address: number,
  ) {}
}

class ProcessorProgram implements Program {
  disposed = false;
  constructor(
    readonly owner: KernelProcessor,
    readonly id: number,
    /** What its kernels read and write; checked before each run, for a freed buffer may be another's by then. */
    readonly buffers: readonly ProcessorBuffer[],
  ) {}
  dispose(): void {
    if (!this.disposed) this.owner.freeProgram(this.id);
    this.disposed = true;
  }
}

interface PreparedKernel {
  index: number;
  buffers: [name: string, dtype: DType][];
}

const mebibyte = 1048576;
const inMebibytes = (bytes: number) => `${(bytes / mebibyte).toFixed(1)} MiB`;

export function createProcessorBackend(processor: KernelProcessor): Backend {
  const stats = { liveBytes: 0, peakBytes: 0 };
  const title = `${processor.name} backend`;
  const { addresses, numbers } = processor;
  const indices = new Map(processor.kernels.map((name, i) => [name, i]));
  const prepared = new WeakMap<object, PreparedKernel>();
  /** Kept addresses by the size that they were allocated with; and all sizes, live and kept. */
  const kept = new Map<number, number[]>();
  let keptBytes = 0;
  let closed = false;
  let recording: { commands: Float64Array[]; buffers: Set<ProcessorBuffer> } | null = null;

  const roundUp = (sizeBytes: number) => Math.ceil(sizeBytes / 64) * 64;

  function check(buffer: DeviceBuffer, what: string): ProcessorBuffer {
    if (closed) throw new Error(`${title}: ${what} after close()`);
    if (!(buffer instanceof ProcessorBuffer) || buffer.owner !== processor)
      throw new Error(`${title}: ${what} of a buffer that another backend made`);
    if (buffer.freed) throw new Error(`${title}: ${what} of a freed buffer (${buffer.sizeBytes} bytes)`);
    return buffer;
  }

  function checkRange(buffer: DeviceBuffer, what: string, byteOffset: number, data: TypedArray): ProcessorBuffer {
    const b = check(buffer, what);
    processor.loss?.check();
    if (b.readOnly) throw new Error(`${title}: ${what} of a buffer that is a file's bytes; only kernels may read it`);
    if (!(Number.isInteger(byteOffset) && byteOffset >= 0 && byteOffset + data.byteLength <= b.sizeBytes))
      throw new Error(
        `${title}: ${what} of ${data.byteLength} bytes at offset ${byteOffset} of a buffer of ${b.sizeBytes} bytes`,
      );
    return b;
  }

  function trim(): void {
    for (const addresses of kept.values()) for (const address of addresses) processor.free(address);
    kept.clear();
    keptBytes = 0;
  }

  function allocate(sizeBytes: number): ProcessorBuffer {
    if (closed) throw new Error(`${title}: allocate after close()`);
    processor.loss?.check();
    if (!(Number.isSafeInteger(sizeBytes) && sizeBytes >= 1))
      throw new Error(`${title}: allocate of ${sizeBytes} bytes; expected a whole number from 1`);
    const size = roundUp(sizeBytes);
    let address = kept.get(size)?.pop() ?? 0;
    if (address) {
      keptBytes -= size;
    } else {
      // Sizes that never come again (sequences of many lengths) must not pile up.
      if (stats.liveBytes + keptBytes + size > 1.25 * Math.max(stats.peakBytes, stats.liveBytes + size) + 64 * mebibyte)
        trim();
      address = processor.allocate(size);
      if (!address && keptBytes > 0) {
        trim();
        address = processor.allocate(size);
      }
      if (!address)
        throw new Error(
          `${title}: no room for ${sizeBytes} bytes (${inMebibytes(sizeBytes)}); ${inMebibytes(stats.liveBytes)} are in use`,
        );
    }
    stats.liveBytes += sizeBytes;
    stats.peakBytes = Math.max(stats.peakBytes, stats.liveBytes);
    return new ProcessorBuffer(processor, sizeBytes, address);
  }

  function withFile(file: MappableFile, offset: number, size: number, body: (bytes: DeviceBuffer) => void): boolean {
    if (closed) throw new Error(`${title}: withFile after close()`);
    if (recording) throw new Error(`${title}: withFile inside record()`);
    const address = processor.mapFile!(file.descriptor, offset, size);
    if (address === 0)
      throw new FormatError(
        `${file.path}: wanted ${size} bytes at byte ${offset}, but the file ends before; is it cut short?`,
      );
    if (address < 0) return false;
    const buffer = new ProcessorBuffer(processor, size, address);
    buffer.readOnly = true;
    let whole = true;
    try {
      body(buffer);
    } finally {
      buffer.freed = true;
      whole = processor.unmapFile!(address);
    }
    if (!whole)
      throw new FormatError(`${file.path}: became shorter while it was read; read it again when nobody writes it`);
    return true;
  }

  /** Looks a kernel up, once for each kernel object. */
  function prepare(kernel: Kernel): PreparedKernel {
    let known = prepared.get(kernel);
    if (!known) {
      // -1: runs in TypeScript.
      const index = indices.get(kernel.name) ?? (kernel.host ? -1 : undefined);
      if (index === undefined)
        throw new Error(`${title}: there is no kernel "${kernel.name}" for ${processor.isa}; ${processor.remedy}`);
      known = { index, buffers: Object.entries(kernel.buffers) };
      if (known.buffers.length > maxArguments || kernel.params.length > maxArguments)
        throw new Error(`${kernel.name}: a kernel has at most ${maxArguments} buffers and ${maxArguments} numbers`);
      prepared.set(kernel, known);
    }
    return known;
  }

  function addressOf(kernel: string, name: string, dtype: DType, array: NDArray | null | undefined): number {
    if (array === null) return 0;
    if (array === undefined) throw new Error(`${kernel}: buffer "${name}" is missing`);
    if (array.dtype !== dtype)
      throw new Error(`${kernel}: buffer "${name}" is ${array.dtype}; the kernel takes ${dtype}`);
    const buffer = check(array.buffer, `${kernel}: use as "${name}"`);
    let bytes = dtypeBytes[dtype];
    for (const n of array.shape) bytes *= n;
    if (!(bytes <= buffer.sizeBytes))
      throw new Error(
        `${kernel}: "${name}" is [${array.shape}] ${dtype}, ${bytes} bytes, over a buffer of ${buffer.sizeBytes} bytes`,
      );
    recording?.buffers.add(buffer);
    return buffer.address;
  }

  function launchHere(
    kernel: Kernel,
    arrays: Readonly<Record<string, NDArray | null>>,
    params: Record<string, number>,
  ): void {
    if (recording)
      throw new Error(`${kernel.name}: has no C++ side, so it cannot be recorded in a program; use the float engine`);
    runOnHost(kernel, arrays, params, {
      read: ({ buffer }, into) => processor.read(checkRange(buffer, kernel.name, 0, into).address, 0, into),
      write: ({ buffer }, data) => processor.write(checkRange(buffer, kernel.name, 0, data).address, 0, data),
    });
  }

  return {
    name: processor.name,
    isa: processor.isa,
    threads: processor.threads,
    supports: {
      bf16: processor.bf16,
      int8Gradients: true,
      float64Sums: true,
      ieee: true,
      anyByteWidth: true,
      int8Columns: processor.int8Columns,
    },
    lost: processor.loss?.lost ?? neverLost,
    stats,
    allocate,
    trim,
    ...(processor.mapFile ? { withFile } : {}),
    free(buffer) {
      const b = check(buffer, "free");
      if (b.readOnly) throw new Error(`${title}: free of a buffer that is a file's bytes; it ends by itself`);
      b.freed = true;
      stats.liveBytes -= b.sizeBytes;
      const size = roundUp(b.sizeBytes);
      const list = kept.get(size);
      if (list) list.push(b.address);
      else kept.set(size, [b.address]);
      keptBytes += size;
    },
    upload(buffer, data, byteOffset = 0) {
      processor.write(checkRange(buffer, "upload", byteOffset, data).address, byteOffset, data);
    },
    async read(buffer, into, byteOffset = 0) {
      processor.read(checkRange(buffer, "read", byteOffset, into).address, byteOffset, into);
    },
    launch<B extends Record<string, DType>, P extends string>(
      kernel: Kernel<B, P>,
      arrays: { [K in keyof B]: NDArray | null },
      params: Record<P, number>,
    ) {
      if (closed) throw new Error(`${title}: launch of ${kernel.name} after close()`);
      const { index, buffers } = prepare(kernel as unknown as Kernel);
      if (index < 0) return launchHere(kernel as unknown as Kernel, arrays, params);
      for (let i = 0; i < buffers.length; i++)
        addresses[i] = addressOf(kernel.name, buffers[i][0], buffers[i][1], arrays[buffers[i][0]]);
      // Those of the launch before may have been given back since, and the addon refuses an address that it does not know.
      addresses.fill(0, buffers.length);
      for (let i = 0; i < kernel.params.length; i++) {
        const value = params[kernel.params[i]];
        if (typeof value !== "number")
          throw new Error(`${kernel.name}: parameter "${kernel.params[i]}" is ${value}; expected a number`);
        numbers[i] = value;
      }
      if (recording) {
        const command = new Float64Array(commandNumbers);
        command[0] = index;
        command.set(addresses.subarray(0, maxArguments), 1);
        command.set(numbers.subarray(0, kernel.params.length), 1 + maxArguments);
        recording.commands.push(command);
        return;
      }
      processor.launch(index);
    },
    record(body) {
      if (recording) throw new Error(`${title}: record() inside record()`);
      const mine = { commands: [] as Float64Array[], buffers: new Set<ProcessorBuffer>() };
      recording = mine;
      try {
        body();
      } finally {
        recording = null;
      }
      const all = new Float64Array(mine.commands.length * commandNumbers);
      for (const [i, command] of mine.commands.entries()) all.set(command, i * commandNumbers);
      return new ProcessorProgram(processor, processor.createProgram(all), [...mine.buffers]);
    },
    run(program) {
      if (closed) throw new Error(`${title}: run of a program after close()`);
      if (!(program instanceof ProcessorProgram) || program.owner !== processor || program.disposed)
        throw new Error(`${title}: run of a program that is disposed of, or another backend's`);
      for (const buffer of program.buffers) check(buffer, "run of a program: use");
      processor.runProgram(program.id);
    },
    close() {
      if (closed) return;
      closed = true;
      stats.liveBytes = 0;
      processor.close();
    },
  };
}
