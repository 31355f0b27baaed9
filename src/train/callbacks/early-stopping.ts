/** Stops training after `patience` evaluations in a row whose loss is not lower than the best by more than `minDelta`. */
import type { Callback } from "../events.ts";

interface State {
  best: number | null;
  withoutBetter: number;
}

export function earlyStopping(patience: number, minDelta: number): Callback {
  let state: State = { best: null, withoutBetter: 0 };
  return {
    name: "early-stopping",
    on(event, training) {
      if (event.type !== "evaluation") return;
      if (state.best === null || event.loss < state.best - minDelta) state = { best: event.loss, withoutBetter: 0 };
      else state = { ...state, withoutBetter: state.withoutBetter + 1 };
      if (state.withoutBetter >= patience) training.stop("early-stopping");
    },
    state: () => state,
    restore(saved) {
      state = saved as State;
    },
  };
}
