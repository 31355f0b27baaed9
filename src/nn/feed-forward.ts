/** Gated feed-forward: down(norm(act(gate(x)) · up(x))), with SiLU (SwiGLU) or squared ReLU. */
import type { Runtime, Tensor } from "../tensor/index.ts";
import type { ParameterFactory } from "./layer.ts";
import { applyLinear, LinearInput, LinearLayer, type LinearSpec } from "./linear/index.ts";
import { RmsNorm } from "./norm.ts";

export interface FeedForwardConfig {
  /** F */
  hiddenWidth: number;
  activation: "silu" | "relu2";
  /** The name of the norm before the down projection; null: there is none. */
  subNorm: string | null;
  normEps: number;
  /** Its linear layers. */
  linear: Record<"gate" | "up" | "down", LinearSpec>;
}

export class FeedForward {
  readonly gate: LinearLayer;
  readonly up: LinearLayer;
  readonly down: LinearLayer;
  readonly subNorm: RmsNorm | null;

  constructor(
    factory: ParameterFactory,
    readonly config: FeedForwardConfig,
  ) {
    const { hiddenWidth, linear } = config;
    this.gate = new LinearLayer(factory, linear.gate);
    this.up = new LinearLayer(factory, linear.up);
    this.down = new LinearLayer(factory, linear.down);
    this.subNorm = config.subNorm ? new RmsNorm(factory, config.subNorm, hiddenWidth, config.normEps) : null;
  }

  /** x: [..., C] behind the block's norm → residual + [..., C]. */
  forward(runtime: Runtime, x: LinearInput, residual: Tensor): Tensor {
    const [gate, up] = applyLinear(runtime, x, [this.gate, this.up]);
    const pair = { gate, up, kind: this.config.activation };
    const hidden = this.subNorm ? this.subNorm.inputOf(pair) : new LinearInput(pair);
    return applyLinear(runtime, hidden, [this.down], residual)[0];
  }
}
