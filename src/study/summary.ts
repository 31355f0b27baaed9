/**
 * What a study's trials come to: each arm's mean and standard error, its paired difference to the baseline, the gap of each
 * ternary arm to the best full-precision arm at equal tokens, and what it cost. Numbers alone; report/ draws them.
 */
import { UsageError } from "../platform/errors.ts";
import type { SavedStudy } from "./folder.ts";
import type { Group } from "./spec.ts";
import { type BySeed, type Estimate, estimate, halfInterval, paired, type Verdict, verdictOf } from "./statistics.ts";
import type { CurvePoint, TrialRecord } from "./trial.ts";

/** Bits per byte where every trial has them; else nats per token, of which tokenizers must be the same. */
export type StudyMetric = "bitsPerByte" | "lossNats";

export interface Difference extends Estimate {
  /** Half of the 95 % interval; null of one seed. */
  halfInterval: number | null;
  verdict: Verdict;
}

export interface Gap {
  /** The full-precision arm with the lowest mean over the same number of tokens. */
  to: string;
  /** How many full-precision arms it is the best of. */
  of: number;
  /** Over common seeds: this arm's value over that one's, less 1. */
  relative: Estimate;
}

export interface ArmSummary {
  arm: string;
  group: Group;
  finished: number;
  diverged: number;
  /** Seeds of the study without a trial yet. */
  missing: number[];
  /** After the last step, on all of the validation text. */
  final: Estimate | null;
  lossNats: Estimate | null;
  /** Targets trained on; null where trials differ. */
  tokens: number | null;
  /** To the baseline, over common seeds, this arm less the baseline; null of the baseline itself, and without common seeds. */
  difference: Difference | null;
  /** Of ternary arms; null where no full-precision arm has as many tokens and a common seed. */
  gap: Gap | null;
  trainingMs: Estimate | null;
  /** Training time over the baseline's, over common seeds on one machine with as many threads; null without such. */
  timeRatio: Estimate | null;
  tokensPerSecond: Estimate | null;
  peakTensorBytes: number | null;
  memoryRatio: number | null;
  peakResidentBytes: number | null;
  exportedBytes: number | null;
  parameters: TrialRecord["parameters"] | null;
}

export interface StudySummary {
  name: string;
  baseline: string;
  seeds: number[];
  metric: StudyMetric;
  /** In the order of the file. */
  arms: ArmSummary[];
  failures: { arm: string; seed: number; reason: string; steps: number }[];
  /** Of each arm and seed. */
  curves: { arm: string; seed: number; points: CurvePoint[] }[];
  trials: number;
  /** Of all arms and seeds. */
  planned: number;
}

type Summarized = Pick<SavedStudy, "name" | "baseline" | "seeds" | "arms" | "trials">;

/** @throws UsageError where a trial is of no arm of the study */
export function summarizeStudy(study: Summarized): StudySummary {
  const { name, baseline, seeds, trials } = study;
  for (const { arm } of trials)
    if (!study.arms.some((one) => one.name === arm))
      throw new UsageError(`study ${name}: has a trial of arm "${arm}", which is none of its arms`);
  const finished = trials.filter(({ status, final }) => status === "finished" && final !== null);
  const metric: StudyMetric = finished.every(({ final }) => final!.bitsPerByte !== null) ? "bitsPerByte" : "lossNats";
  const of = (arm: string) => finished.filter((trial) => trial.arm === arm);
  const bySeed = (list: readonly TrialRecord[], value: (trial: TrialRecord) => number): BySeed =>
    new Map(list.map((trial) => [trial.seed, value(trial)]));
  const metricOf = ({ final }: TrialRecord) => final![metric] as number;
  const base = of(baseline);

  const summarize = ({ name: arm, group }: Summarized["arms"][number]): ArmSummary => {
    const own = of(arm);
    const all = trials.filter((trial) => trial.arm === arm);
    const difference = arm === baseline ? null : paired(bySeed(own, metricOf), bySeed(base, metricOf), (a, b) => a - b);
    const comparable = own.filter((trial) =>
      sameMachine(
        trial,
        base.find(({ seed }) => seed === trial.seed),
      ),
    );
    const ms = ({ trainingMs }: TrialRecord) => trainingMs;
    const most = (value: (trial: TrialRecord) => number) => (own.length > 0 ? Math.max(...own.map(value)) : null);
    const memory = most((trial) => trial.peakTensorBytes);
    const baseMemory = base.length > 0 ? Math.max(...base.map((trial) => trial.peakTensorBytes)) : null;
    const resident = own.every(({ peakResidentBytes }) => peakResidentBytes !== null)
      ? most(({ peakResidentBytes }) => peakResidentBytes!)
      : null;
    return {
      arm,
      group,
      finished: own.length,
      diverged: all.length - own.length,
      missing: seeds.filter((seed) => !all.some((trial) => trial.seed === seed)),
      final: estimate(own.map(metricOf)),
      lossNats: estimate(own.map(({ final }) => final!.lossNats)),
      tokens: tokensOf(own),
      difference: difference && {
        ...difference,
        halfInterval: halfInterval(difference),
        verdict: verdictOf(difference),
      },
      gap: group === "ternary" ? gapOf(own) : null,
      trainingMs: estimate(own.map(ms)),
      timeRatio: paired(bySeed(comparable, ms), bySeed(base, ms), (a, b) => a / b),
      tokensPerSecond: estimate(own.map(({ tokensPerSecond }) => tokensPerSecond)),
      peakTensorBytes: memory,
      memoryRatio: memory !== null && baseMemory !== null ? memory / baseMemory : null,
      peakResidentBytes: resident,
      exportedBytes: own[0]?.exportedBytes ?? null,
      parameters: own[0]?.parameters ?? null,
    };
  };

  /** To the best of the full-precision arms that trained on as many tokens. */
  function gapOf(own: readonly TrialRecord[]): Gap | null {
    const tokens = tokensOf(own);
    if (tokens === null) return null;
    const values = bySeed(own, metricOf);
    const others = study.arms
      .filter(({ group, name: arm }) => group === "full" && tokensOf(of(arm)) === tokens)
      .map(({ name: arm }) => ({ arm, values: bySeed(of(arm), metricOf) }))
      .filter((other) => [...values.keys()].some((seed) => other.values.has(seed)));
    if (others.length === 0) return null;
    const meanOf = (other: (typeof others)[number]) => estimate([...other.values.values()])!.mean;
    const best = others.reduce((a, b) => (meanOf(b) < meanOf(a) ? b : a));
    return { to: best.arm, of: others.length, relative: paired(values, best.values, (a, b) => a / b - 1)! };
  }

  return {
    ...{ name, baseline, seeds, metric },
    arms: study.arms.map(summarize),
    failures: trials
      .filter(({ status }) => status === "diverged")
      .map(({ arm, seed, reason, steps }) => ({ arm, seed, reason, steps })),
    curves: trials.map(({ arm, seed, curve }) => ({ arm, seed, points: curve })),
    trials: trials.length,
    planned: study.arms.length * seeds.length,
  };
}

/** Of all, where they have the same. */
function tokensOf(trials: readonly TrialRecord[]): number | null {
  const [first, ...rest] = trials;
  return first && rest.every(({ tokens }) => tokens === first.tokens) ? first.tokens : null;
}

const sameMachine = (a: TrialRecord, b: TrialRecord | undefined): boolean =>
  b !== undefined &&
  JSON.stringify([a.machine.processor, a.machine.processors, a.backend]) ===
    JSON.stringify([b.machine.processor, b.machine.processors, b.backend]);
