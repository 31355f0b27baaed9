/** The sizes by which two models are of one shape: the numbers of their weights, but for variant and norms. */
import type { ModelConfig } from "./config.ts";

export const shapeKeys = [
  "vocabSize",
  "width",
  "layers",
  "heads",
  "kvHeads",
  "hiddenWidth",
] as const satisfies readonly (keyof ModelConfig)[];
