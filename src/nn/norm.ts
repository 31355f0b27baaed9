/** RMSNorm with a gain (ops/rms-norm): alone, or in front of linear layers, whose kind decides how it is computed. */
import { rmsNorm } from "../ops/rms-norm/index.ts";
import type { Parameter, Runtime, Tensor } from "../tensor/index.ts";
import type { ParameterFactory } from "./layer.ts";
import { type GatedPair, LinearInput } from "./linear/index.ts";

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

  /** The normed x, or the normed act(gate) · up, for linear layers to read. */
  inputOf(x: Tensor | GatedPair): LinearInput {
    return new LinearInput(x, { gain: this.gain.tensor, eps: this.eps });
  }
}
