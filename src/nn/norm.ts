/** RMSNorm with a gain (ops/rms-norm), alone or as the prologue of BitLinear layers (ops/norm-quant). */
import { gatedNormQuant } from "../ops/gated-norm-quant/index.ts";
import { normQuant } from "../ops/norm-quant/index.ts";
import { rmsNorm } from "../ops/rms-norm/index.ts";
import type { Parameter, Runtime, Tensor } from "../tensor/index.ts";
import type { ParameterFactory } from "./layer.ts";
import { gatedActivation } from "../ops/gated-activation/index.ts";
import { linearInput, type LinearLayer, type QuantizedInput } from "./linear.ts";

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

  /** The normed x as `layer` reads it. */
  inputOf(layer: LinearLayer, runtime: Runtime, x: Tensor): Tensor | QuantizedInput {
    if (!layer.readsCodes) return linearInput(runtime, this.forward(runtime, x), layer);
    const [codes, scale, sums] = runtime.applyAll(normQuant, [x, this.gain.tensor], { eps: this.eps });
    return { codes, scale, sums };
  }

  /** The normed f(gate) · up as `layer` reads it. */
  gatedInputOf(
    layer: LinearLayer,
    runtime: Runtime,
    [gate, up]: readonly [Tensor, Tensor],
    kind: "silu" | "relu2",
  ): Tensor | QuantizedInput {
    if (!layer.readsCodes) return this.inputOf(layer, runtime, runtime.apply(gatedActivation, [gate, up], { kind }));
    const inputs = [gate, up, this.gain.tensor];
    const [codes, scale, sums] = runtime.applyAll(gatedNormQuant, inputs, { kind, eps: this.eps });
    return { codes, scale, sums };
  }
}
