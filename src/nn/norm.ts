/** RMSNorm with a gain (ops/rms-norm). */
import { rmsNorm } from "../ops/rms-norm/index.ts";
import type { Parameter, Runtime, Tensor } from "../tensor/index.ts";
import type { ParameterFactory } from "./layer.ts";

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
}
