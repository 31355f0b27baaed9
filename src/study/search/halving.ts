/**
 * Asynchronous successive halving (arXiv:1810.05934) with the decisions of Optuna's SuccessiveHalvingPruner: at each rung, step
 * minStep * factor^r, a trial goes on where its value is among the lowest 1/factor of those that came there. NaN is pruned.
 * Lower is better. Called by programs that report values on the way.
 */
import { UsageError } from "../../platform/errors.ts";

export interface Halving {
  /** Whether the trial should stop, after a value at a step. */
  prune(trial: number, step: number, value: number): boolean;
}

export function createHalving({ minStep, factor = 4 }: { minStep: number; factor?: number }): Halving {
  if (!Number.isSafeInteger(minStep) || minStep < 1)
    throw new UsageError(`halving: minStep is ${minStep}; expected a whole number of 1 or more`);
  if (!Number.isSafeInteger(factor) || factor < 2)
    throw new UsageError(`halving: factor is ${factor}; expected a whole number of 2 or more`);
  const rungs: number[][] = [];
  const reached = new Map<number, number>();
  return {
    prune(trial, step, value) {
      for (let rung = reached.get(trial) ?? 0; step >= minStep * factor ** rung; rung++) {
        if (Number.isNaN(value)) return true;
        rungs[rung] ??= [];
        const values = rungs[rung];
        values.push(value);
        reached.set(trial, rung + 1);
        values.sort((a, b) => a - b);
        if (value > values[Math.max(0, Math.floor(values.length / factor) - 1)]!) return true;
      }
      return false;
    },
  };
}

/** The first rung of a run: 30 % of it, since ternary loss falls late and earlier values rank wrongly. */
export const firstRung = (steps: number): number => Math.max(1, Math.ceil(steps * 0.3));
