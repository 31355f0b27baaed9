/**
 * The WASM backend: the same kernels as 128-bit SIMD in wasm/bitnet.wasm, for machines with no compiler (and, one day,
 * browsers), on threads that share one linear memory of up to 4 GiB. This file lays that memory out, and starts and
 * ends the threads; native/wasm/wasm.cc is the other side of `Exports`. Buffers and checks are in processor.ts.
 *
 *   0 .. heap base      the main thread's stack, constants (laid out by the linker)
 *   control             arguments of a launch, counters that threads wait on
 *   shared, scratch     what kernels see as call.shared(), and one call.scratch() for each thread
 *   stacks              of threads 1, 2, ...
 *   buffers             the rest, growing
 */
import { UsageError } from "../platform/errors.ts";
import { environmentVariable, fileExists, packageFile, processorCount, readBytes } from "../platform/machine.ts";
import {
  compileWasm,
  createSharedMemory,
  instantiateWasm,
  startWasmThread,
  type WasmModule,
  wasmPageBytes,
} from "../platform/wasm-threads.ts";
import type { Backend, TypedArray } from "./backend.ts";
import type { BackendModule } from "./backend-module.ts";
import { createLinearAllocator } from "./linear-allocator.ts";
import { createLoss } from "./lost.ts";
import { commandNumbers, createProcessorBackend, maxArguments } from "./processor.ts";

interface Exports {
  __heap_base: { value: number };
  kernel_names(): number;
  kernel_names_size(): number;
  control_bytes(): number;
  shared_bytes(): number;
  scratch_bytes(): number;
  addresses_of(control: number): number;
  numbers_of(control: number): number;
  setup(control: number, threads: number, spins: number, scratch: number, shared: number): void;
  launch(control: number, kernel: number): void;
  run_program(control: number, commands: number, count: number): void;
  stop(control: number): void;
  fail(control: number): void;
}

const stackBytes = 1 << 20;
const initialPages = 64; // enough for the stack and constants; the layout below grows it
// One page short of 4 GiB, so that the address after the last byte is not 0.
const maximumPages = 65535;
/** Memory grows by at least so much, for each growth makes a new view. */
const growthBytes = 16 << 20;
/** Looks at a counter before a thread sleeps: some 12 microseconds. More is worse on a machine with other work to do. */
const spins = 20_000;

/** BITNET_WASM names another module, built aside while writing a kernel. */
const moduleFile = () => environmentVariable("BITNET_WASM") ?? packageFile("wasm/bitnet.wasm");
let compiled: WasmModule | undefined;

/** Why there is no WASM backend here; null: there is. */
export function wasmAbsence(): string | null {
  return fileExists(moduleFile()) ? null : `${moduleFile()} is not there; \`npm run build:wasm\` builds it`;
}

/** @throws UsageError where the module is not there; RangeError where memory cannot be had */
export async function createWasmBackend({ threads }: { threads: number }): Promise<Backend> {
  const absence = wasmAbsence();
  if (absence) throw new UsageError(`wasm backend: ${absence}`);
  compiled ??= compileWasm(readBytes(moduleFile()));
  const module = compiled;
  const memory = createSharedMemory(initialPages, maximumPages);
  const exports = instantiateWasm(module, memory) as unknown as Exports;

  /** The end of memory after it grew by at least so much; 0 where it cannot. */
  function grow(sizeBytes: number): number {
    const tryPages = (pages: number) => {
      try {
        memory.grow(pages);
        return memory.buffer.byteLength;
      } catch {
        return 0;
      }
    };
    return (
      tryPages(Math.ceil(Math.max(sizeBytes, growthBytes) / wasmPageBytes)) ||
      tryPages(Math.ceil(sizeBytes / wasmPageBytes))
    );
  }

  let end = exports.__heap_base.value;
  const reserve = (sizeBytes: number) => {
    const start = Math.ceil(end / 64) * 64;
    end = start + sizeBytes;
    return start;
  };
  const control = reserve(exports.control_bytes());
  const shared = reserve(exports.shared_bytes());
  const scratch = reserve(threads * exports.scratch_bytes());
  const stackTops = Array.from({ length: threads }, (_, t) => (t === 0 ? 0 : reserve(stackBytes) + stackBytes));
  const firstBuffer = reserve(0);
  if (firstBuffer > memory.buffer.byteLength && !grow(firstBuffer - memory.buffer.byteLength))
    throw new RangeError(`wasm backend: no room for ${firstBuffer} bytes, which ${threads} threads need`);

  const bytesAt = (address: number, size: number) => new Uint8Array(memory.buffer, address, size);
  const bytesOf = (data: TypedArray) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  // A copy: text decoders refuse shared memory.
  const names = new TextDecoder().decode(bytesAt(exports.kernel_names(), exports.kernel_names_size()).slice());
  // Views that stay good as memory grows: the old buffer is of the same bytes.
  const addresses = new Float64Array(memory.buffer, exports.addresses_of(control), maxArguments);
  const numbers = new Float64Array(memory.buffer, exports.numbers_of(control), maxArguments);
  const allocator = createLinearAllocator(firstBuffer, memory.buffer.byteLength, grow);

  // With more threads than processors, spinning only delays the one that is waited for.
  exports.setup(control, threads, threads <= processorCount() ? spins : 0, scratch, shared);
  try {
    await Promise.all(
      stackTops
        .map((stackTop, thread) => ({ module, memory, stackTop, control, thread }))
        .slice(1)
        .map(startWasmThread),
    );
  } catch (error) {
    exports.stop(control);
    throw new Error(`wasm backend: a thread did not start: ${(error as Error).message}`, { cause: error });
  }

  const kernels = names.split("\n").slice(0, -1);
  const loss = createLoss();
  /** Commands of each program, by its address. */
  const programs = new Map<number, number>();
  function guarded(run: () => void, what: string): void {
    loss.check();
    try {
      run();
    } catch (error) {
      exports.fail(control); // the other threads must not wait for this one
      throw loss.report(`wasm backend: ${what} trapped (${error}); the backend is of no more use`, error);
    }
  }
  return createProcessorBackend({
    name: "wasm",
    isa: "simd128",
    threads,
    bf16: false,
    int8Columns: 2048, // its products take pairs, not fours, of 1024 words
    loss,
    kernels,
    remedy: `if its kernel.cc is newer than ${moduleFile()}, \`npm run build:wasm\` builds it anew`,
    addresses,
    numbers,
    allocate: allocator.allocate,
    free: allocator.free,
    write: (address, byteOffset, data) => bytesAt(address + byteOffset, data.byteLength).set(bytesOf(data)),
    read: (address, byteOffset, into) => bytesOf(into).set(bytesAt(address + byteOffset, into.byteLength)),
    launch: (kernel) => guarded(() => exports.launch(control, kernel), `kernel "${kernels[kernel]}"`),
    createProgram(commands) {
      const address = allocator.allocate(Math.max(8, commands.byteLength));
      if (!address) throw new RangeError(`wasm backend: no room for a program of ${commands.byteLength} bytes`);
      new Float64Array(memory.buffer, address, commands.length).set(commands);
      programs.set(address, commands.length / commandNumbers);
      return address;
    },
    runProgram: (program) =>
      guarded(() => exports.run_program(control, program, programs.get(program) ?? 0), "a kernel of a program"),
    freeProgram(program) {
      programs.delete(program);
      allocator.free(program);
    },
    close: () => exports.stop(control),
  });
}

export const wasmBackend: BackendModule = {
  find: () => [{ isa: "simd128", absent: wasmAbsence() }],
  create: (choice) => createWasmBackend(choice),
};
