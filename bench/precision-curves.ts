/** bench/results/precision.json, which bench/precision.ts writes and docs/results.md shows. */
export interface PrecisionCurves {
  date: string;
  commit: string;
  command: string;
  machine: { cpu: string; cores: number; memoryGiB: number; system: string; node: string };
  preset: string;
  batch: number;
  sequence: number;
  steps: number;
  seed: number;
  threads: number;
  isa: string;
  /** The first is what the others are held to. `loss` is of steps 1, 2, 3, ... */
  series: { name: string; precision: string; optimizer: string; stateBytes: number; loss: number[] }[];
}
