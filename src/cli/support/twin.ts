/** The full-precision twin of a run's config: it quantizes nothing, whatever is asked for the layers of the ternary model. */
import type { ConfigLayer } from "../../train/config.ts";

/** @param layers of the config, with `model.variant: full` */
export function twinLayers(layers: readonly ConfigLayer[]): ConfigLayer[] {
  if (layers.every(({ patch }) => patch.model?.quantization === undefined)) return [...layers];
  const quantization = { weights: "none", activations: "none", estimator: "auto", overrides: [] };
  return [...layers, { from: "the full-precision twin", patch: { model: { quantization } } }];
}
