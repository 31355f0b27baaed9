/** Chooses and makes a backend. See backend.ts for what one is. */
import { UsageError } from "../platform/errors.ts";
import type { Backend } from "./backend.ts";
import { createReferenceBackend } from "./reference.ts";

export type { Backend, DeviceBuffer, DType, NDArray } from "./backend.ts";
export { createReferenceBackend } from "./reference.ts";

export interface BackendChoice {
  /** "auto": native where the addon loads, else wasm. */
  backend: "auto" | "native" | "wasm" | "reference";
  /** Instruction set, or "auto": the best that the processor has, or what BITNET_ISA names. */
  isa?: string;
  /** Threads; 0 or absent: one for each core. */
  threads?: number;
}

/** Every backend and instruction set that could be here, for tests and `bitnet --version`; `absent` says why one is not. */
export function listBackends(): { choice: Required<BackendChoice>; absent: string | null }[] {
  return [{ choice: { backend: "reference", isa: "typescript", threads: 1 }, absent: null }];
}

/** Makes a backend. @throws UsageError where the one asked for is not here, saying why. */
export async function createBackend(choice: BackendChoice): Promise<Backend> {
  if (choice.backend === "reference") return createReferenceBackend();
  throw new UsageError(`backend "${choice.backend}" is not built`);
}
