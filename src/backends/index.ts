/** Chooses and makes a backend. See backend.ts for what one is. */
import { UsageError } from "../platform/errors.ts";
import { environmentVariable, processorCount } from "../platform/machine.ts";
import type { Backend } from "./backend.ts";
import { createNativeBackend, nativeInstructionSets } from "./native.ts";
import { createReferenceBackend } from "./reference.ts";
import { createWasmBackend, wasmAbsence } from "./wasm.ts";

export { type Backend, type DeviceBuffer, type DType, defineKernel, type Kernel, type NDArray } from "./backend.ts";
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

/** Everything that could be here, the best first, and why one is not. */
function candidates(): { backend: "native" | "wasm" | "reference"; isa: string; absent: string | null }[] {
  return [
    ...nativeInstructionSets()
      .reverse()
      .map((entry) => ({ backend: "native" as const, ...entry })),
    { backend: "wasm", isa: "simd128", absent: wasmAbsence() },
    { backend: "reference", isa: "typescript", absent: null },
  ];
}

/** Every backend and instruction set that could be here, for tests and `bitnet --version`; `absent` says why one is not. */
export function listBackends(): { choice: Required<BackendChoice>; absent: string | null }[] {
  return candidates()
    .reverse()
    .flatMap(({ backend, isa, absent }) =>
      // Three threads: shares that do not come out even, and on small machines more threads than processors.
      (backend === "reference" ? [1] : [1, 3]).map((threads) => ({ choice: { backend, isa, threads }, absent })),
    );
}

/**
 * Makes a backend. What the choice leaves open, the environment says: BITNET_BACKEND, BITNET_ISA, BITNET_THREADS.
 *
 * @throws UsageError where the one asked for is not here, saying why and what is
 */
export async function createBackend(choice: BackendChoice): Promise<Backend> {
  const { backend, isa, threads } = resolve(choice);
  if (backend === "native") return createNativeBackend({ isa, threads });
  if (backend === "wasm") return createWasmBackend({ threads });
  return createReferenceBackend();
}

function resolve(choice: BackendChoice): Required<BackendChoice> {
  const backend: string =
    choice.backend === "auto" ? (environmentVariable("BITNET_BACKEND") ?? "auto") : choice.backend;
  if (!backendNames.includes(backend as BackendChoice["backend"]))
    throw new UsageError(`unknown backend "${backend}"; backends are: ${backendNames.join(", ")}`);
  let isa = choice.isa ?? "auto";
  // The reference has nothing to choose from, and tests ask for it whatever the environment says.
  if (isa === "auto" && backend !== "reference") isa = environmentVariable("BITNET_ISA") ?? "auto";

  const all = candidates();
  const fitting = all.filter(
    (entry) =>
      (backend === "auto" ? entry.backend !== "reference" : entry.backend === backend) &&
      (isa === "auto" || entry.isa === isa || entry.isa === "auto"),
  );
  // An addon that is named is meant: nothing else steps in for it.
  const lost =
    backend === "auto" &&
    environmentVariable("BITNET_ADDON") !== undefined &&
    fitting.some((entry) => entry.backend === "native" && entry.isa === "auto" && entry.absent);
  const found = lost ? undefined : fitting.find(({ absent }) => !absent);
  if (!found) {
    const here = all.filter(({ absent }) => !absent).map((entry) => `${entry.backend} ${entry.isa}`);
    const why =
      fitting.length > 0
        ? fitting.flatMap(({ absent }) => absent ?? []).join("; ")
        : "there is no such instruction set";
    throw new UsageError(
      `backend "${backend}" with instruction set "${isa}": ${why}; what is here: ${here.join(", ")}`,
    );
  }
  if (found.backend === "reference") {
    if ((choice.threads ?? 0) > 1)
      throw new UsageError(`the reference backend has one thread, and ${choice.threads} were asked for`);
    return { backend: "reference", isa: found.isa, threads: 1 };
  }
  return { backend: found.backend, isa: found.isa, threads: threadsOf(choice) };
}

function threadsOf(choice: BackendChoice): number {
  const variable = environmentVariable("BITNET_THREADS");
  const [from, value] = choice.threads
    ? ["threads", choice.threads]
    : variable === undefined
      ? ["processors", Math.min(processorCount(), maxThreads)]
      : [`BITNET_THREADS="${variable}"`, Number(variable)];
  if (!(Number.isInteger(value) && value >= 1 && value <= maxThreads))
    throw new UsageError(`${from}: ${value} is not a whole number from 1 to ${maxThreads}`);
  return value;
}
