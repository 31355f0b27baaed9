/**
 * What an observer of a runtime sees (`runtime.observe`): every op, after its forward, with what it read and made. For
 * statistics of activations, audits, error analysis: code that must not stand in the layers. Types alone; the hook is in
 * runtime.ts.
 */
import type { Tensor } from "./tensor.ts";

export interface OpObservation {
  /** The op's name, as in its folder: "bit-linear", "rms-norm". */
  readonly op: string;
  readonly params: unknown;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** The second forward of a checkpoint, whose first was observed too: the same values again. */
  readonly recomputed: boolean;
}

export type OpObserver = (observation: OpObservation) => void;
