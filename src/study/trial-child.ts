/** A trial in a process of its own (`isolate`): what platform/child.ts calls there. run.ts starts it. */
import type { ChildIo } from "../platform/child.ts";
import { peakResidentBytes, systemClock } from "../platform/system.ts";
import { loadTokenizer } from "../tokenizer/index.ts";
import { type ConfigLayer, openRuns, resolveConfig } from "../train/index.ts";
import { runTrial, type TrialRecord } from "./trial.ts";

export interface ChildInput {
  arm: string;
  seed: number;
  layers: readonly ConfigLayer[];
  folder: string;
  /** tokenizer.json of the study's text. */
  tokenizer: string;
  /** Time that it has; null: all. */
  maxMs: number | null;
}

export interface ChildMessage {
  note: string;
}

/** @returns null where it was saved before its end */
export async function runInChild(input: ChildInput, { send, signal }: ChildIo): Promise<TrialRecord | null> {
  const { arm, seed, layers, folder, maxMs } = input;
  const clock = systemClock;
  const deadline = maxMs === null ? Number.POSITIVE_INFINITY : clock.monotonicMs() + maxMs;
  const onNote = (note: string) => send({ note } satisfies ChildMessage);
  const late = new AbortController();
  const config = resolveConfig(layers);
  // A tokenizer that the config names is loaded by the run itself.
  const given = config.tokenizer.file === null ? { tokenizer: loadTokenizer(input.tokenizer) } : {};
  const opened = await openRuns(config, { ...given, onNote, signal });
  try {
    return await runTrial({
      ...{ arm, seed, layers, folder, opened, clock, onNote, peakResidentBytes, isolated: true },
      signal: AbortSignal.any([signal, late.signal]),
      callbacks: [
        {
          name: "study-time",
          on(event) {
            if (event.type === "step" && clock.monotonicMs() >= deadline) late.abort(new Error("out of time"));
          },
        },
      ],
    });
  } finally {
    await opened.close();
  }
}
