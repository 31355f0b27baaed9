/** Everything that was measured of one model, as the JSON that a report is made of and that is kept beside it. */
import type { SizeMeasurement, TextMeasurement, TrainingMeasurement } from "../analysis/index.ts";
import type { ModelConfig } from "../model/index.ts";
import type { MachineFacts } from "../platform/system.ts";
import type { TimedResult } from "./contenders.ts";
import type { Made } from "./store.ts";

/** One metric of one task, as lm-evaluation-harness names it. */
export interface TaskScore {
  task: string;
  metric: string;
  value: number;
  standardError: number | null;
  higherIsBetter: boolean;
  /** null: the results file that it is from does not say. */
  items: number | null;
  fewshot: number | null;
  /** Where the items are from, or the score itself: paths, or the hub's repository; and the hash of that file. */
  source: string;
  sha256: string;
  /** What needs no model (docs/evaluation.md). */
  baselines?: number[];
  /** The accuracy says no more than those. */
  withinNoise?: boolean;
}

export interface ModelMeasurement {
  format: "bitnet.ts measurement";
  version: 1;
  /** Short, for columns and legends; no two of a report are the same. */
  name: string;
  /** What was read: a checkpoint's folder, or a file. */
  path: string;
  /** Where they are not the path's own: random, or the path's full-precision ones rounded to ternary. */
  weights?: "random" | "rounded";
  step: number | null;
  config: ModelConfig;
  parameters: number;
  tokenizer: { name: string; vocabSize: number; hash: string } | null;
  /** null for a model without a run's folder. */
  training: TrainingMeasurement | null;
  /** `sha256`: of the text's files, so that models of different tokenizers can be seen to have read the same. */
  text: (TextMeasurement & { files: string[]; sha256: string }) | null;
  tasks: TaskScore[];
  size: SizeMeasurement | null;
  speed: TimedResult | null;
  /**
   * How each part that took measuring was made: "text", "size", "speed", "task-NAME". A part may have been kept from before,
   * and training may have been elsewhere (training.sessions).
   */
  made: Record<string, Made>;
  /** Where and when the parts were put together. */
  machine: MachineFacts;
  backend: { name: string; isa: string; threads: number };
  software: { version: string; commit: string | null };
  measuredMs: number;
  /** What is missing, and why. */
  notes: string[];
}
