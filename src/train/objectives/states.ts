/**
 * Holds the states of a forward pass that somebody wants, of the model under training or of a teacher, from the moment they are
 * computed until `release`. Called by weighted.ts and distillation.ts.
 */
import type { StateTap } from "../../model/index.ts";
import type { Tensor } from "../../tensor/index.ts";
import type { StateKind, WantedState } from "./objective.ts";

export class StateHolder {
  private readonly held = new Map<string, Tensor>();
  readonly tap: StateTap;

  constructor(wanted: readonly WantedState[]) {
    const asked = new Set(wanted.map(({ kind, layer }) => `${kind}.${layer}`));
    const keep = (kind: StateKind, layer: number, tensor: Tensor) => {
      const key = `${kind}.${layer}`;
      if (!asked.has(key) || this.held.has(key)) return;
      tensor.storage.retain();
      this.held.set(key, tensor);
    };
    this.tap = {
      attention(layer, { query, key, value }) {
        keep("query", layer, query);
        keep("key", layer, key);
        keep("value", layer, value);
      },
      hidden: (layer, state) => keep("hidden", layer, state),
    };
  }

  get(kind: StateKind, layer: number): Tensor {
    const tensor = this.held.get(`${kind}.${layer}`);
    if (!tensor)
      throw new Error(`objectives: the model told of no ${kind} state of block ${layer}, or nobody wants it`);
    return tensor;
  }

  release(): void {
    for (const tensor of this.held.values()) tensor.storage.release();
    this.held.clear();
  }
}
