/** What a backend's file exports to registry.ts: how the backend is found and made. */
import type { Backend } from "./backend.ts";

/** One instruction set (or device) that a backend could have here. */
export interface FoundBackend {
  isa: string;
  /** Why it is not here; null: it is. */
  absent: string | null;
}

/** What a backend's file exports. */
export interface BackendModule {
  /** What could be here, the best first. A promise where asking takes its time, as it does for a GPU's adapter. */
  find(): FoundBackend[] | Promise<FoundBackend[]>;
  /** @param choice an instruction set that `find` says is here, and at least one thread */
  create(choice: { isa: string; threads: number }): Promise<Backend>;
}
