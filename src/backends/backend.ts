/**
 * What a backend is: where bytes live, and how a kernel is launched over them. It does no arithmetic and knows no op:
 * an op hands it a `Kernel` (the symbol's name for native and WASM, and the reference function), so that adding an op
 * touches one folder.
 *
 * Implementations: those in registry.ts, and dry.ts (only counts). Called by ops/ through OpContext, and by tensor/ for
 * storage.
 */
import type { BackendLostError } from "../platform/errors.ts";

export type DType = "f32" | "i32" | "i8" | "u8";

/** The typed array that views an array of each dtype. */
export interface TypedArrays {
  f32: Float32Array;
  i32: Int32Array;
  i8: Int8Array;
  u8: Uint8Array;
}
export type TypedArray = TypedArrays[DType];

export const dtypeBytes: Record<DType, number> = { f32: 4, i32: 4, i8: 1, u8: 1 };

/** A piece of a backend's memory. Opaque to all but the backend that made it. Freed by hand, never by the collector. */
export interface DeviceBuffer {
  readonly sizeBytes: number;
}

/** Of platform/files.ts: a file open for reading. */
export interface MappableFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly descriptor: number;
}

/** Memory with a meaning: row-major, dense. What ops take and give. */
export interface NDArray {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly buffer: DeviceBuffer;
}

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
 * One kernel: a function over buffers and numbers. The order of `buffers` and `params` is the order in which kernel.cc
 * reads them (call.f32(0), call.param(0), ...).
 */
export interface Kernel<B extends Record<string, DType> = Record<string, DType>, P extends string = string> {
  /** Symbol in native/ and WASM, as in KERNEL(name). */
  readonly name: string;
  /** Buffer names and dtypes, in the order of the C++ side. A buffer may be null where the kernel says so. */
  readonly buffers: B;
  /** Names of the numbers, in the order of the C++ side; they travel as float64 (integers are exact to 2^53). */
  readonly params: readonly P[];
  /**
   * There is no C++ side: backends on a processor run `reference` over copies, slowly and on one thread. For kernels of
   * extensions. They cannot be recorded in a program.
   */
  readonly host?: boolean;
  /**
   * For backends on a GPU (shader.ts); a kernel without it is refused there by its name.
   *
   * @param has which buffers are not null: a missing one is a variant without its binding
   */
  shader?(params: Record<P, number>, has: { readonly [K in keyof B]: boolean }): readonly ShaderPass<B, P>[];
  /** The slow definition: writes its outputs in place. */
  reference(arrays: { [K in keyof B]: TypedArrays[B[K]] }, params: Record<P, number>): void;
}

/** Gives a kernel its types; see any `ops/<op>/index.ts`. */
export function defineKernel<const B extends Record<string, DType>, const P extends string>(
  kernel: Kernel<B, P>,
): Kernel<B, P> {
  return kernel;
}

/** Launches that were recorded, to be run again and again. Opaque to all but the backend that made it. */
export interface Program {
  dispose(): void;
}

/**
 * What a backend has, said honestly: whoever wants what is missing refuses it by name, and tests take the bound that
 * belongs to it (test/support/bounds.ts). A processor has nearly all of it; a GPU with WGSL has little. What is a method of
 * its own (`withFile`) is there or absent, and stands not here.
 */
export interface BackendSupports {
  /** Kernels take precision = bf16 (bfloat16 operands, float32 sums) for float matrix products. */
  readonly bf16: boolean;
  /** The kernels of precision = int8: BitLinear's gradients as products of int8. */
  readonly int8Gradients: boolean;
  /** Sums that decide something (means, norms, losses, scales) are kept in float64. Without: float32, so a little off. */
  readonly float64Sums: boolean;
  /**
   * Float32 is IEEE 754's: division is correctly rounded, and NaN, infinity and denormals are what they are. Without:
   * division is off by an ulp or two, so that an int8 code may be off by 1, and NaN in promises nothing.
   */
  readonly ieee: boolean;
  /** i8 and u8 arrays have rows of any width. Without: only of a multiple of 4, for bytes come in words. */
  readonly anyByteWidth: boolean;
  /** Columns of int8 that a packed product runs through at once: with more, its epilogue needs a workspace. */
  readonly int8Columns: number;
}

/**
 * Calls come back at once and take effect in their order; only `read` is waited for.
 *
 * **What fails later.** A GPU tells only later that there was no room, that a kernel failed or that the device is gone.
 * Whatever makes a backend useless after a call has come back is one `BackendLostError`: `lost` resolves with it, and from
 * then on `allocate`, `upload`, `launch`, `run` and `read` (also one under way) fail with that same error. Its memory is
 * gone: a run goes on from its checkpoint, on a new backend. `free`, `trim` and `close` stay allowed. See lost.ts.
 */
export interface Backend {
  /** As in registry.ts; "dry" of the one that only counts. */
  readonly name: string;
  /** Instruction set in use: "typescript", "x86-64-v2", "avx2", "avx512", "neon", "simd128". */
  readonly isa: string;
  readonly threads: number;
  readonly supports: BackendSupports;
  /** Bytes now allocated and not freed, and the most there ever were. For tests and memory reports. */
  readonly stats: { liveBytes: number; peakBytes: number };
  /** Resolves with what made the backend useless; never, where nothing can. */
  readonly lost: Promise<BackendLostError>;
  /** Uninitialised memory. @throws Error naming the size when there is no room, here or later (`lost`) */
  allocate(sizeBytes: number): DeviceBuffer;
  /** Gives memory back (to a free list, so that a step reuses the memory of the step before). */
  free(buffer: DeviceBuffer): void;
  /** Returns cached free memory to the system. */
  trim(): void;
  upload(buffer: DeviceBuffer, data: TypedArray, byteOffset?: number): void;
  /**
   * Calls `body` with a stretch of a file as a buffer that kernels read where it lies in the system's memory, without a copy.
   * It may not be written, and ends with the call. A file that is cut meanwhile ends no process: what is gone reads as zeros.
   * Absent in a backend that cannot.
   *
   * @returns false where the system does not map this file; `body` was not called
   * @throws FormatError where the file ends before, or was cut while `body` ran: what was made of it is worth nothing
   */
  withFile?(file: MappableFile, byteOffset: number, sizeBytes: number, body: (bytes: DeviceBuffer) => void): boolean;
  /**
   * Copies out what the buffer holds at the call: after all that was launched and uploaded before it, and whatever is
   * launched, uploaded or freed before the promise resolves. `into` is filled when it does. Asynchronous because a GPU's is.
   */
  read(buffer: DeviceBuffer, into: TypedArray, byteOffset?: number): Promise<void>;
  launch<B extends Record<string, DType>, P extends string>(
    kernel: Kernel<B, P>,
    arrays: { [K in keyof B]: NDArray | null },
    params: Record<P, number>,
  ): void;
  /**
   * Keeps the launches of `body` instead of running them. Their buffers must live as long as the program runs.
   *
   * One program is one call and one waking of the threads for all its kernels, where each launch would be its own: what
   * generating a token, some hundred small kernels, wants.
   */
  record(body: () => void): Program;
  /** Runs a program's kernels in order. */
  run(program: Program): void;
  /** Stops threads and frees everything. */
  close(): void;
}
