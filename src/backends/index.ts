/** Chooses and makes a backend. See backend.ts for what one is. */
import { UsageError } from "../platform/errors.ts";
import { environmentVariable, processorCount } from "../platform/machine.ts";
import type { Backend } from "./backend.ts";
import { createNativeBackend, nativeInstructionSets } from "./native.ts";
import { createReferenceBackend } from "./reference.ts";

export type { Backend, DeviceBuffer, DType, NDArray } from "./backend.ts";
export { createReferenceBackend } from "./reference.ts";

export interface BackendChoice {
  /** "auto": what BITNET_BACKEND names, else native where the addon loads, else wasm. */
  backend: "auto" | "native" | "wasm" | "reference";
  /** Instruction set, or "auto": what BITNET_ISA names, else the best that the processor has. */
  isa?: string;
  /** Threads; 0 or absent: what BITNET_THREADS says, else one for each processor. */
  threads?: number;
}

const backendNames = ["auto", "native", "wasm", "reference"] as const;
const maxThreads = 256;

/** Every backend and instruction set that could be here, for tests and `bitnet --version`; `absent` says why one is not. */
export function listBackends(): { choice: Required<BackendChoice>; absent: string | null }[] {
  // Three threads: shares that do not come out even, and on small machines more threads than processors.
  const withThreads = (backend: BackendChoice["backend"], isa: string, absent: string | null) =>
    [1, 3].map((threads) => ({ choice: { backend, isa, threads }, absent }));
  return [
    { choice: { backend: "reference", isa: "typescript", threads: 1 }, absent: null },
    ...nativeInstructionSets().flatMap(({ isa, absent }) => withThreads("native", isa, absent)),
  ];
}

/**
 * Makes a backend. What the choice leaves open, the environment says: BITNET_BACKEND, BITNET_ISA, BITNET_THREADS.
 *
 * @throws UsageError where the one asked for is not here, saying why and what is
 */
export async function createBackend(choice: BackendChoice): Promise<Backend> {
  const { backend, isa, threads } = resolve(choice);
  if (backend === "reference") return createReferenceBackend();
  if (backend === "native") return createNativeBackend({ isa, threads });
  throw new UsageError(`backend "${backend}" is not built`);
}

function resolve(choice: BackendChoice): Required<BackendChoice> {
  let backend: string = choice.backend === "auto" ? (environmentVariable("BITNET_BACKEND") ?? "auto") : choice.backend;
  if (!backendNames.includes(backend as BackendChoice["backend"]))
    throw new UsageError(`unknown backend "${backend}"; backends are: ${backendNames.join(", ")}`);

  const threads = choice.threads || Number(environmentVariable("BITNET_THREADS") ?? processorCount());
  if (!(Number.isInteger(threads) && threads >= 1 && threads <= maxThreads))
    throw new UsageError(`threads: ${threads} is not a number from 1 to ${maxThreads}`);

  const native = nativeInstructionSets().filter(({ absent }) => !absent);
  if (backend === "auto") backend = native.length > 0 ? "native" : "wasm";
  let isa = choice.isa ?? "auto";
  if (isa === "auto" && backend === "native") isa = environmentVariable("BITNET_ISA") ?? native.at(-1)?.isa ?? "auto";
  return { backend: backend as BackendChoice["backend"], isa, threads };
}
