/**
 * The native backend: kernels compiled for this processor, in the addon that scripts/native/build-native.js builds
 * (native/addon/ is the other side of `Addon`). Buffers and checks are in processor.ts.
 */
import { UsageError } from "../platform/errors.ts";
import { absolutePath } from "../platform/files.ts";
import { environmentVariable, fileExists, loadAddon, packageFile } from "../platform/machine.ts";
import type { Backend, TypedArray } from "./backend.ts";
import type { BackendModule } from "./backend-module.ts";
import { createProcessorBackend, maxArguments } from "./processor.ts";

interface Addon {
  /** Of the functions below; raised when they change. */
  interface: number;
  /** Names by index. */
  kernels: string[];
  isas: string[];
  /** For each instruction set: this processor has it. */
  supported: boolean[];
  createPool(threads: number): number;
  closePool(pool: number): void;
  allocate(sizeBytes: number): number;
  free(address: number): void;
  write(address: number, byteOffset: number, data: TypedArray): void;
  read(address: number, byteOffset: number, into: TypedArray): void;
  launch(pool: number, isa: number, kernel: number, addresses: Float64Array, numbers: Float64Array): void;
  createProgram(isa: number, commands: Float64Array): number;
  runProgram(pool: number, program: number): void;
  freeProgram(program: number): void;
  /** Absent in an addon built before there were these. */
  mapFile?(descriptor: number, byteOffset: number, sizeBytes: number): number;
  unmapFile?(address: number): boolean;
}

const addonInterface = 2;
const howToBuild = `node ${packageFile("scripts/native/build-native.js")}`;

/** The addon (of BITNET_ADDON, for one built aside while writing a kernel), or why there is none. Loaded once: the system would give the same one again. */
let loaded: Addon | string | undefined;

function load(): Addon | string {
  const named = environmentVariable("BITNET_ADDON");
  const path = named ? absolutePath(named) : packageFile("build/bitnet.node");
  if (named && !fileExists(named)) return `BITNET_ADDON names ${named}, which is not there`;
  if (!fileExists(path)) return `the native addon is not built; \`${howToBuild}\` builds it`;
  let addon: Addon;
  try {
    addon = loadAddon(path) as Addon;
  } catch (error) {
    return `the native addon does not load: ${(error as Error).message}`;
  }
  if (addon.interface !== addonInterface)
    return `the native addon is of another version of this package; \`${howToBuild}\` builds it anew`;
  return addon;
}

function getAddon(): Addon | string {
  loaded ??= load();
  return loaded;
}

/** x86_64_v2 in C++ is "x86-64-v2" to people. */
const isaName = (symbol: string) => symbol.replaceAll("_", "-");

/** Instruction sets of the addon, from the least to the best, and why one cannot be used here (null: it can). */
export function nativeInstructionSets(): { isa: string; absent: string | null }[] {
  const addon = getAddon();
  if (typeof addon === "string") return [{ isa: "auto", absent: addon }];
  return addon.isas.map((symbol, i) => ({
    isa: isaName(symbol),
    absent: addon.supported[i] ? null : "this processor does not have it",
  }));
}

/** @throws UsageError where the addon or the instruction set is not here; Error where threads cannot be had */
export function createNativeBackend({ isa, threads }: { isa: string; threads: number }): Backend {
  const addon = getAddon();
  if (typeof addon === "string") throw new UsageError(`native backend: ${addon}`);
  const isaIndex = addon.isas.findIndex((symbol) => isaName(symbol) === isa);
  if (!addon.supported[isaIndex]) {
    const here = nativeInstructionSets().filter(({ absent }) => !absent);
    throw new UsageError(
      `native backend: this processor has no "${isa}"; it has: ${here.map((entry) => entry.isa).join(", ")}`,
    );
  }
  const pool = addon.createPool(threads);
  const addresses = new Float64Array(maxArguments);
  const numbers = new Float64Array(maxArguments);
  const allocated = new Set<number>();
  return createProcessorBackend({
    name: "native",
    isa,
    threads,
    bf16: isa === "avx512",
    int8Columns: 4096,
    kernels: addon.kernels,
    remedy: `if its kernel.cc is newer than the addon, \`${howToBuild}\` builds it anew`,
    addresses,
    numbers,
    allocate(sizeBytes) {
      const address = addon.allocate(sizeBytes);
      if (address) allocated.add(address);
      return address;
    },
    free(address) {
      allocated.delete(address);
      addon.free(address);
    },
    write: addon.write,
    read: addon.read,
    launch: (kernel) => addon.launch(pool, isaIndex, kernel, addresses, numbers),
    createProgram: (commands) => addon.createProgram(isaIndex, commands),
    runProgram: (program) => addon.runProgram(pool, program),
    freeProgram: addon.freeProgram,
    mapFile: addon.mapFile,
    unmapFile: addon.unmapFile,
    close() {
      addon.closePool(pool);
      for (const address of allocated) addon.free(address);
      allocated.clear();
    },
  });
}

export const nativeBackend: BackendModule = {
  find: () => nativeInstructionSets().reverse(),
  create: async (choice) => createNativeBackend(choice),
};
