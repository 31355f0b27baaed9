/** Gated feed-forward: down(norm(act(gate(x)) · up(x))), with SiLU (SwiGLU) or squared ReLU. */
import { gatedActivation } from "../ops/gated-activation/index.ts";
import type { Runtime, Tensor } from "../tensor/index.ts";
import type { ParameterFactory } from "./layer.ts";
import { applyLinear, type LinearConfig, linearInput, LinearLayer, type QuantizedInput } from "./linear.ts";
import { RmsNorm } from "./norm.ts";

export interface FeedForwardConfig {
  /** C */
  width: number;
  /** F */
  hiddenWidth: number;
  activation: "silu" | "relu2";
  subNorm: boolean;
  normEps: number;
  linear: LinearConfig;
}

export class FeedForward {
  readonly gate: LinearLayer;
  readonly up: LinearLayer;
  readonly down: LinearLayer;
  readonly subNorm: RmsNorm | null;

  constructor(
    factory: ParameterFactory,
    name: string,
    readonly config: FeedForwardConfig,
  ) {
    const { width, hiddenWidth, linear } = config;
    this.gate = new LinearLayer(factory, `${name}.gate_proj`, width, hiddenWidth, linear);
    this.up = new LinearLayer(factory, `${name}.up_proj`, width, hiddenWidth, linear);
    this.down = new LinearLayer(factory, `${name}.down_proj`, hiddenWidth, width, linear);
    this.subNorm = config.subNorm ? new RmsNorm(factory, `${name}.ffn_sub_norm`, hiddenWidth, config.normEps) : null;
  }

  /** x [..., C], normed, as the layers read it → residual + [..., C]. */
  forward(runtime: Runtime, x: Tensor | QuantizedInput, residual: Tensor): Tensor {
    const kind = this.config.activation;
    const [gate, up] = applyLinear(runtime, x, [this.gate, this.up]);
    const hidden = this.subNorm
      ? this.subNorm.gatedInputOf(this.down, runtime, [gate, up], kind)
      : linearInput(runtime, runtime.apply(gatedActivation, [gate, up], { kind }), this.down);
    return applyLinear(runtime, hidden, [this.down], residual)[0];
  }
}
