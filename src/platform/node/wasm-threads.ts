/**
 * WebAssembly on several threads that share one memory, as Node's worker_threads. A browser's Worker would be another
 * version of this file and of nothing else: the thread's code below needs only a message with `Start` in it.
 */
import { Worker } from "node:worker_threads";

/** As much of the WebAssembly interface as is used here; Node's types have none. */
export interface SharedMemory {
  /** Changes when the memory grows; the old one stays a view of the same bytes. */
  readonly buffer: SharedArrayBuffer;
  /** By so many pages. @throws RangeError where there is no room */
  grow(pages: number): number;
}
export type WasmExports = Record<string, unknown>;
declare const wasmModule: unique symbol;
export interface WasmModule {
  readonly [wasmModule]: true;
}

const { Module, Memory, Instance } = (
  globalThis as unknown as {
    WebAssembly: {
      Module: new (bytes: Uint8Array) => WasmModule;
      Memory: new (size: { initial: number; maximum: number; shared: true }) => SharedMemory;
      Instance: new (module: WasmModule, imports: object) => { exports: WasmExports };
    };
  }
).WebAssembly;

export const wasmPageBytes = 65536;

export const compileWasm = (bytes: Uint8Array): WasmModule => new Module(bytes);

/** @throws RangeError where the address space has no room for the most that it may grow to */
export const createSharedMemory = (initial: number, maximum: number): SharedMemory =>
  new Memory({ initial, maximum, shared: true });

/** An instance on this thread, with the memory as its import env.memory. */
export const instantiateWasm = (module: WasmModule, memory: SharedMemory): WasmExports =>
  new Instance(module, { env: { memory } }).exports;

export interface ThreadStart {
  module: WasmModule;
  memory: SharedMemory;
  /** Where this thread's stack begins; it grows down. */
  stackTop: number;
  /** Arguments of the export `work`, which the thread runs, and which returns when the thread is to end. */
  control: number;
  thread: number;
}

// Plain JavaScript in a string: worker threads of Node 20 cannot load TypeScript, and so the same few lines serve from
// src/ and from dist/. A trap is a bug in a kernel; `fail` frees whoever waits for this thread, and they report it.
const threadCode = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { module, memory, stackTop, control, thread } = workerData;
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  exports.__stack_pointer.value = stackTop;
  parentPort.postMessage("ready");
  try {
    exports.work(control, thread);
  } catch {
    exports.fail(control);
  }
`;

/** Starts a thread; resolves when it is about to work. It does not keep the process alive. @throws Error */
export function startWasmThread(start: ThreadStart): Promise<void> {
  return new Promise((resolve, reject) => {
    // No execArgv: a loader given to this process is of no use there.
    const worker = new Worker(threadCode, { eval: true, workerData: start, execArgv: [], name: "bitnet kernels" });
    worker.once("error", reject);
    worker.once("message", () => {
      worker.unref();
      resolve();
    });
  });
}
