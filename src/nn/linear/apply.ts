/** Applies linear layers that read one input, whatever their kinds: those of one kind together, so that they share it. */
import { ShapeError } from "../../platform/errors.ts";
import type { Runtime, Tensor } from "../../tensor/index.ts";
import { float } from "./float.ts";
import type { LinearInput } from "./input.ts";
import type { LinearKind } from "./kind.ts";
import type { LinearLayer } from "./layer.ts";
import { simulated } from "./simulated.ts";
import { ternary } from "./ternary.ts";

/** The first that takes a layer is its kind. */
const kinds: readonly LinearKind[] = [ternary, float, simulated];

export const kindOf = (layer: LinearLayer): LinearKind => kinds.find((kind) => kind.takes(layer))!;

/**
 * Outputs in the layers' order. To the output of a single layer a residual may be added.
 *
 * @throws ShapeError for a residual beside several layers
 */
export function applyLinear(
  runtime: Runtime,
  input: LinearInput,
  layers: readonly LinearLayer[],
  residual?: Tensor,
): Tensor[] {
  if (residual && layers.length !== 1)
    throw new ShapeError(`linear: a residual came for ${layers.length} layers; expected one layer`);
  const outputs = new Map<LinearLayer, Tensor>();
  for (const kind of new Set(layers.map(kindOf))) {
    const own = layers.filter((layer) => kindOf(layer) === kind);
    for (const [i, output] of kind.apply(runtime, input, own, residual).entries()) outputs.set(own[i], output);
  }
  return layers.map((layer) => outputs.get(layer)!);
}
