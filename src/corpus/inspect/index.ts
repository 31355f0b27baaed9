/** Looking into text, datasets and deduplications: what `bitnet data inspect` shows. */
export { type MarkedText, markDifferences } from "./differences.ts";
export { inspectDataset } from "./inspect-dataset.ts";
export { inspectSources, type InspectSourcesOptions } from "./inspect-sources.ts";
export {
  type InspectedGroup,
  inspectDeduplication,
  type Inspection,
  kindOfFolder,
  tokensPerByte,
} from "./inspection.ts";
export type { InspectedLengths } from "./lengths.ts";
