/** RMSNorm with a gain (ops/rms-norm), alone or as the prologue of BitLinear layers (ops/norm-quant). */
import { gatedNormQuant } from "../ops/gated-norm-quant/index.ts";
import { normQuant } from "../ops/norm-quant/index.ts";
import { rmsNorm } from "../ops/rms-norm/index.ts";
import type { Parameter, Runtime, Tensor } from "../tensor/index.ts";
import type { ParameterFactory } from "./layer.ts";
import type { QuantizedInput } from "./linear.ts";

export class RmsNorm {
  readonly gain: Parameter;

  constructor(
    factory: ParameterFactory,
    name: string,
    width: number,
    readonly eps: number,
  ) {
    this.gain = factory.create(`${name}.weight`, "norm", [width], { fill: 1 });
  }

  forward(runtime: Runtime, x: Tensor): Tensor {
    return runtime.apply(rmsNorm, [x, this.gain.tensor], { eps: this.eps });
  }

  /** The normed x as ternary layers read it. */
  quantized(runtime: Runtime, x: Tensor): QuantizedInput {
    const [codes, scale, sums] = runtime.applyAll(normQuant, [x, this.gain.tensor], { eps: this.eps });
    return { codes, scale, sums };
  }

  /** The normed f(gate) · up as ternary layers read it. */
  gatedQuantized(runtime: Runtime, gate: Tensor, up: Tensor, kind: "silu" | "relu2"): QuantizedInput {
    const inputs = [gate, up, this.gain.tensor];
    const [codes, scale, sums] = runtime.applyAll(gatedNormQuant, inputs, { kind, eps: this.eps });
    return { codes, scale, sums };
  }
}
