/**
 * What a kind of linear layer is: in which form it reads its input (with the fused op for that, its prologue), and its
 * product. A new kind is one file here and one line in apply.ts.
 */
import type { Runtime, Tensor } from "../../tensor/index.ts";
import type { LinearInput } from "./input.ts";
import type { LinearLayer } from "./layer.ts";

export interface LinearKind {
  readonly name: string;
  /** Whether the layer, as it is now, is of this kind. */
  takes(layer: LinearLayer): boolean;
  /**
   * The outputs [..., N_i] of layers of this kind that read one input, in the layers' order. With a residual [..., N],
   * which only a single layer may have, it is added to the output.
   */
  apply(runtime: Runtime, input: LinearInput, layers: readonly LinearLayer[], residual?: Tensor): Tensor[];
}
