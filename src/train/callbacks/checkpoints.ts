/**
 * Saves before the first step where that is asked for, every n steps, at a new lowest validation loss, and at the end;
 * keeps the newest few and the best. Comes last among the callbacks that have a state, so that what it saves has what the
 * others did at this step.
 */
import { checkpointName, listCheckpoints } from "../../checkpoint/index.ts";
import { joinPath, removePath } from "../../platform/files.ts";
import type { Callback, Training } from "../events.ts";

export interface CheckpointsConfig {
  every: number | null;
  /** The weights before the first step too, kept whatever comes after. */
  first?: boolean;
  keepLast: number;
  keepBest: boolean;
}

/** Writes the checkpoint of this moment at `path`, whole or not at all. */
export type SaveCheckpoint = (path: string, training: Training) => Promise<void>;

interface State {
  bestStep: number | null;
}

export interface CheckpointsCallback extends Callback {
  /** The newest checkpoint, and that of the lowest validation loss where it was kept. */
  found(): { checkpoint: string | null; bestCheckpoint: string | null };
}

export function checkpoints(config: CheckpointsConfig, folder: string, save: SaveCheckpoint): CheckpointsCallback {
  const { every, first = false, keepLast, keepBest } = config;
  let state: State = { bestStep: null };
  let lastPath: string | null = null;
  // Whether something happened since the last save.
  let unsaved = false;

  async function saveNow(step: number, training: Training): Promise<void> {
    const path = joinPath(folder, checkpointName(step));
    await save(path, training);
    lastPath = path;
    unsaved = false;
    removeOld(step);
    await training.emit({ type: "checkpoint", step, path, best: keepBest && state.bestStep === step });
  }

  /** Of those up to this step; one beyond it is of a run that this one repeats, and may be the only copy of its end. */
  function removeOld(step: number): void {
    const mine = listCheckpoints(folder).filter(
      (checkpoint) => checkpoint.step <= step && !(first && checkpoint.step === 0),
    );
    for (const old of mine.slice(0, -keepLast)) if (!(keepBest && old.step === state.bestStep)) removePath(old.path);
  }

  return {
    name: "checkpoints",
    async on(event, training) {
      switch (event.type) {
        case "start":
          // A run of no steps is saved as it is.
          if (event.step === 0 && (first || event.steps === 0)) await saveNow(0, training);
          break;
        case "evaluation":
          unsaved = true;
          if (event.best && event.step > 0) state = { bestStep: event.step };
          break;
        case "step": {
          unsaved = true;
          const due = every !== null && event.step % every === 0;
          const best = keepBest && state.bestStep === event.step;
          // The last step is saved at the end, after the last evaluation.
          // What a run is about to go back from is not worth keeping, and would be what it goes back to.
          if (training.controls?.rollingBack) break;
          if ((due || best) && event.step < training.steps) await saveNow(event.step, training);
          break;
        }
        case "end":
          if (unsaved && event.step > 0) await saveNow(event.step, training);
          break;
      }
    },
    state: () => state,
    restore(saved) {
      state = saved as State;
    },
    found() {
      const all = listCheckpoints(folder);
      const best = keepBest ? all.find(({ step }) => step === state.bestStep) : undefined;
      return { checkpoint: lastPath ?? all.at(-1)?.path ?? null, bestCheckpoint: best?.path ?? null };
    },
  };
}
