/** Adds up what the report of a run says: loss by epoch, time, validation before and after. Survives a resume. */
import type { Callback } from "../events.ts";

export interface EpochSummary {
  /** From 0. */
  epoch: number;
  /** Mean training loss over the epoch's targets, in nats per token; of those steps that were not skipped. */
  loss: number;
  tokens: number;
}

export interface Measured {
  step: number;
  /** Nats per token. */
  loss: number;
  /** e^loss. */
  perplexity: number;
  bitsPerByte: number | null;
}

export interface Summary {
  epochs: EpochSummary[];
  /** Of the steps alone, over all processes that worked on the run. */
  elapsedMs: number;
  /** Of that, waiting for batches. */
  dataWaitMs: number;
  /** Targets of these steps. */
  tokens: number;
  first: Measured | null;
  last: Measured | null;
  best: Measured | null;
}

const empty: Summary = { epochs: [], elapsedMs: 0, dataWaitMs: 0, tokens: 0, first: null, last: null, best: null };

export function summary(): Callback & { summary(): Summary } {
  let state: Summary = structuredClone(empty);
  return {
    name: "summary",
    on(event) {
      if (event.type === "step") {
        state.elapsedMs += event.elapsedMs;
        state.dataWaitMs += event.dataWaitMs;
        state.tokens += event.tokens;
        if (event.skipped) return;
        let epoch = state.epochs.at(-1);
        if (epoch?.epoch !== event.epoch) {
          epoch = { epoch: event.epoch, loss: 0, tokens: 0 };
          state.epochs.push(epoch);
        }
        epoch.tokens += event.tokens;
        epoch.loss += (event.loss - epoch.loss) * (event.tokens / epoch.tokens);
      } else if (event.type === "evaluation") {
        const { step, loss, bitsPerByte } = event;
        const measured = { step, loss, perplexity: Math.exp(loss), bitsPerByte };
        state.first ??= measured;
        state.last = measured;
        if (event.best) state.best = measured;
      }
    },
    summary: () => structuredClone(state),
    state: () => structuredClone(state),
    restore(saved) {
      // Checkpoints of earlier versions have no time of waiting.
      state = structuredClone({ ...empty, ...(saved as Summary) });
    },
  };
}
