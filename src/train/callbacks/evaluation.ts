/** Validation every n steps, before the first and after the last: emits `evaluation` and remembers the best. */
import type { Callback } from "../events.ts";
import { measureLoss, type ValidationData } from "../evaluate.ts";

interface State {
  best: number | null;
  lastStep: number;
}

export function evaluation(data: ValidationData, every: number | null): Callback {
  let state: State = { best: null, lastStep: -1 };
  return {
    name: "evaluation",
    async on(event, training) {
      const due =
        (event.type === "start" && event.step === 0) ||
        (event.type === "step" && every !== null && event.step % every === 0) ||
        // Ctrl-C wants to leave soon.
        (event.type === "end" && event.reason !== "interrupted");
      if (!due || state.lastStep === event.step) return;
      const result = await measureLoss(training.runtime, training.model, data);
      const best = Number.isFinite(result.loss) && (state.best === null || result.loss < state.best);
      state = { best: best ? result.loss : state.best, lastStep: event.step };
      await training.emit({ type: "evaluation", step: event.step, ...result, best });
    },
    state: () => state,
    restore(saved) {
      state = saved as State;
    },
  };
}
