/** Chooses and makes a backend. See backend.ts for what one is. */
import { UsageError } from "../platform/errors.ts";
import { environmentVariable, processorCount } from "../platform/machine.ts";
import type { Backend } from "./backend.ts";
import type { BackendModule, FoundBackend } from "./backend-module.ts";
import { nativeBackend } from "./native.ts";
import { referenceBackend } from "./reference.ts";
import { type BackendKind, type BackendName, backendKinds, backendNames } from "./registry.ts";
import { wasmBackend } from "./wasm.ts";

export {
  type Backend,
  type BackendSupports,
  type DeviceBuffer,
  type DType,
  defineKernel,
  type Kernel,
  type NDArray,
} from "./backend.ts";
export { createReferenceBackend } from "./reference.ts";
export { type BackendName, backendNames } from "./registry.ts";

export interface BackendChoice {
  /** "auto": what BITNET_BACKEND names, else native where the addon loads, else wasm. */
  backend: "auto" | BackendName;
  /** Instruction set, or "auto": what BITNET_ISA names, else the best that the processor has. */
  isa?: string;
  /** Threads; 0 or absent: what BITNET_THREADS says, else one for each processor. */
  threads?: number;
}

/** One that could be here. */
export interface ListedBackend {
  choice: Required<BackendChoice>;
  /** Why it is not here; null: it is. */
  absent: string | null;
}

interface Candidate extends FoundBackend {
  kind: BackendKind;
}

/** Everything that could be here, the best first. */
async function candidates(): Promise<Candidate[]> {
  const found = await Promise.all(backendKinds.map(async (kind) => (await kind.load()).find()));
  return backendKinds.flatMap((kind, i) => found[i].map((entry) => ({ kind, ...entry })));
}

// Three threads: shares that do not come out even, and on small machines more threads than processors.
const listed = (all: readonly Candidate[]): ListedBackend[] =>
  [...all].reverse().flatMap(({ kind, isa, absent }) =>
    (kind.maxThreads === 1 ? [1] : [1, 3]).map((threads) => ({
      choice: { backend: kind.name as BackendName, isa, threads },
      absent,
    })),
  );

/** Every backend and instruction set that could be here, for tests and `bitnet --version`; `absent` says why one is not. */
export const findBackends = async (): Promise<ListedBackend[]> => listed(await candidates());

/**
 * Those of `findBackends` that are found without waiting: native, wasm and reference.
 *
 * @deprecated Use `findBackends`, which knows all.
 */
export function listBackends(): ListedBackend[] {
  const modules: Record<string, BackendModule> = {
    native: nativeBackend,
    wasm: wasmBackend,
    reference: referenceBackend,
  };
  return listed(
    backendKinds.flatMap((kind) => {
      const found = modules[kind.name]?.find() ?? [];
      return Array.isArray(found) ? found.map((entry) => ({ kind, ...entry })) : [];
    }),
  );
}

/**
 * Makes a backend. What the choice leaves open, the environment says: BITNET_BACKEND, BITNET_ISA, BITNET_THREADS.
 *
 * @throws UsageError where the one asked for is not here, saying why and what is
 */
export async function createBackend(choice: BackendChoice): Promise<Backend> {
  const { kind, isa, threads } = await resolve(choice);
  return (await kind.load()).create({ isa, threads });
}

async function resolve(choice: BackendChoice): Promise<{ kind: BackendKind; isa: string; threads: number }> {
  const backend: string =
    choice.backend === "auto" ? (environmentVariable("BITNET_BACKEND") ?? "auto") : choice.backend;
  if (!backendNames.includes(backend as BackendChoice["backend"]))
    throw new UsageError(`unknown backend "${backend}"; backends are: ${backendNames.join(", ")}`);
  let isa = choice.isa ?? "auto";
  // The reference has nothing to choose from, and tests ask for it whatever the environment says.
  if (isa === "auto" && backend !== "reference") isa = environmentVariable("BITNET_ISA") ?? "auto";

  const all = await candidates();
  const fitting = all.filter(
    (entry) =>
      (backend === "auto" ? entry.kind.auto : entry.kind.name === backend) &&
      (isa === "auto" || entry.isa === isa || entry.isa === "auto"),
  );
  // An addon that is named is meant: nothing else steps in for it.
  const lost =
    backend === "auto" &&
    environmentVariable("BITNET_ADDON") !== undefined &&
    fitting.some((entry) => entry.kind.name === "native" && entry.isa === "auto" && entry.absent);
  const found = lost ? undefined : fitting.find(({ absent }) => !absent);
  if (!found) {
    const here = all.filter(({ absent }) => !absent).map((entry) => `${entry.kind.name} ${entry.isa}`);
    const why =
      fitting.length > 0
        ? fitting.flatMap(({ absent }) => absent ?? []).join("; ")
        : "there is no such instruction set";
    throw new UsageError(
      `backend "${backend}" with instruction set "${isa}": ${why}; what is here: ${here.join(", ")}`,
    );
  }
  const { kind } = found;
  if (kind.maxThreads === 1) {
    if ((choice.threads ?? 0) > 1)
      throw new UsageError(`the ${kind.name} backend has one thread, and ${choice.threads} were asked for`);
    return { kind, isa: found.isa, threads: 1 };
  }
  return { kind, isa: found.isa, threads: threadsOf(choice, kind.maxThreads) };
}

function threadsOf(choice: BackendChoice, maxThreads: number): number {
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
