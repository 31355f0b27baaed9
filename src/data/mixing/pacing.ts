/**
 * Pacing functions of a curriculum: which share of the sequences, the easiest first, may be drawn at a time. Numbers only;
 * what is easy is in scores.ts, and how draws are made of it in mixture.ts.
 *
 * With c0 the share at the start and D the tokens after which everything is allowed, at t tokens:
 *
 *     linear   c(t) = min(1, c0 + (1 - c0) t / D)
 *     root     c(t) = min(1, (c0^p + (1 - c0^p) t / D)^(1/p)), p = 2
 *     step     c(t) = min(1, c0 + (1 - c0) floor(K t / D) / K), K steps; K = 1: the easy ones alone until D, then all
 *
 * Linear and root are the competence functions of Platanios et al., "Competence-based Curriculum Learning for Neural
 * Machine Translation" (NAACL 2019, equations 6 to 8); the step of K = 1 is the switch from an easy set to the whole of
 * Bengio et al., "Curriculum Learning" (ICML 2009, sections 5 and 6).
 */
import { UsageError } from "../../platform/errors.ts";

export const pacingNames = ["linear", "root", "step"] as const;
export type PacingName = (typeof pacingNames)[number];

export interface Pacing {
  pacing: PacingName;
  /** c0, in (0, 1]: the share that may be drawn at the start. */
  start: number;
  /** D: tokens of the whole mixture after which every sequence may be drawn. */
  tokens: number;
  /** K, of "step" (default 1). */
  steps?: number;
  /** p, of "root" (default 2): the larger, the sooner hard sequences come. */
  power?: number;
}

/**
 * The share that may be drawn at t tokens, in (0, 1]; it never falls.
 *
 * @throws UsageError for a start, length, step or power that is none
 */
export function competence(pacing: Pacing): (tokens: number) => number {
  const { start, tokens: length, steps = 1, power = 2 } = pacing;
  if (!(start > 0 && start <= 1))
    throw new UsageError(
      `curriculum.start is ${start}; expected a share above 0 and at most 1, such as 0.1 for the easiest tenth`,
    );
  if (!(Number.isFinite(length) && length > 0))
    throw new UsageError(`curriculum.tokens is ${length}; expected the tokens after which everything is drawn`);
  if (!(Number.isInteger(steps) && steps >= 1))
    throw new UsageError(`curriculum.steps is ${steps}; expected a whole number from 1`);
  if (!(Number.isFinite(power) && power >= 1))
    throw new UsageError(`curriculum.power is ${power}; expected a number from 1`);
  const shares: Record<PacingName, (x: number) => number> = {
    linear: (x) => start + (1 - start) * x,
    root: (x) => (start ** power + (1 - start ** power) * x) ** (1 / power),
    step: (x) => start + ((1 - start) * Math.floor(steps * x)) / steps,
  };
  const share = shares[pacing.pacing];
  return (tokens) => (tokens >= length ? 1 : Math.min(1, share(tokens / length)));
}
