/**
 * The backends there are, in one place: names for options and configs, and how each is loaded, found and made. A backend
 * is one file that exports a `BackendModule`, and one entry in `kinds` below. A file is loaded when it is first asked, so
 * that a command's help waits for none. Called by index.ts, and by whoever lists names.
 */
import type { BackendModule } from "./backend-module.ts";

export interface BackendKind {
  readonly name: string;
  /** "auto" may choose it. */
  readonly auto: boolean;
  /** 1: there is nothing to choose. */
  readonly maxThreads: number;
  load(): Promise<BackendModule>;
}

const maxThreads = 256;

/** "auto" takes the first that is here. */
const kinds = [
  { name: "native", auto: true, maxThreads, load: async () => (await import("./native.ts")).nativeBackend },
  { name: "wasm", auto: true, maxThreads, load: async () => (await import("./wasm.ts")).wasmBackend },
  {
    name: "reference",
    auto: false,
    maxThreads: 1,
    load: async () => (await import("./reference.ts")).referenceBackend,
  },
] as const satisfies readonly BackendKind[];

export const backendKinds: readonly BackendKind[] = kinds;

export type BackendName = (typeof kinds)[number]["name"];

/** What an option or a config may name. */
export const backendNames = ["auto", ...kinds.map(({ name }) => name)] as ["auto", ...BackendName[]];
