/**
 * What a group of linear layers reads, before any of them says in which form: x, behind a norm or not; or the gated pair
 * act(gate) · up of the feed-forward. Each kind of layer makes its own form of it, by a fused op where there is one.
 */
import { gatedActivation } from "../../ops/gated-activation/index.ts";
import { rmsNorm } from "../../ops/rms-norm/index.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";

/** The norm in front of linear layers: its gain [K] and the epsilon inside the root. */
export interface InputNorm {
  readonly gain: Tensor;
  readonly eps: number;
}

/** gate and up [..., K], joined by the gate's function. */
export interface GatedPair {
  readonly gate: Tensor;
  readonly up: Tensor;
  readonly kind: "silu" | "relu2";
}

export class LinearInput {
  private made: Tensor | null = null;

  constructor(
    readonly x: Tensor | GatedPair,
    readonly norm: InputNorm | null = null,
  ) {}

  /** Float32 [..., K], made once. Called inside the scope in which the layers are applied. */
  floats(runtime: Runtime): Tensor {
    if (this.made) return this.made;
    const { x, norm } = this;
    const plain = "gate" in x ? runtime.apply(gatedActivation, [x.gate, x.up], { kind: x.kind }) : x;
    this.made = norm ? runtime.apply(rmsNorm, [plain, norm.gain], { eps: norm.eps }) : plain;
    return this.made;
  }
}
