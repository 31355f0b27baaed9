/** A study's summary as a table of words, for the page, Markdown, the terminal and docs/. No number is computed here. */
import { formatBytes, formatCount, formatDuration } from "../platform/format.ts";
import type { ArmSummary, Estimate, StudyMetric, StudySummary } from "../study/index.ts";

export const metricWords: Record<StudyMetric, string> = { bitsPerByte: "bits per byte", lossNats: "nats per token" };

const none = "–";
const signed = (x: number, text: string): string => (x < 0 ? `-${text}` : `+${text}`);
const percent = (x: number): string => signed(x, `${Math.abs(100 * x).toFixed(2)} %`);

/** 1.2345 ± 0.0012; of one value without an error. */
const plain = ({ mean, standardError }: Estimate): string =>
  `${mean.toFixed(4)}${standardError === null ? "" : ` ± ${standardError.toFixed(4)}`}`;

function differenceText({ difference }: ArmSummary): string {
  if (!difference) return none;
  const { mean, standardError, verdict } = difference;
  const error = standardError === null ? "" : ` ± ${standardError.toFixed(4)}`;
  return `${signed(mean, Math.abs(mean).toFixed(4))}${error}, ${verdict}`;
}

function gapText({ gap }: ArmSummary): string {
  if (!gap) return none;
  const { mean, standardError } = gap.relative;
  const error = standardError === null ? "" : ` ± ${(100 * standardError).toFixed(2)}`;
  return `${percent(mean)}${error} to ${gap.to}`;
}

const ratio = (x: number | null | undefined): string => (x === null || x === undefined ? none : `${x.toFixed(2)}x`);

export const studyHead = ({ metric }: StudySummary): string[] => [
  "arm",
  "group",
  "n",
  `${metricWords[metric]}, mean ± SE`,
  "difference to baseline",
  "gap to best full arm",
  "time",
  "memory",
  "weights",
];

export const studyRows = (summary: StudySummary): string[][] =>
  summary.arms.map((arm) => [
    arm.arm === summary.baseline ? `${arm.arm} (baseline)` : arm.arm,
    arm.group,
    `${arm.finished}${arm.diverged > 0 ? `, ${arm.diverged} diverged` : ""}`,
    arm.final ? plain(arm.final) : none,
    differenceText(arm),
    gapText(arm),
    arm.trainingMs ? `${formatDuration(arm.trainingMs.mean)}, ${ratio(arm.timeRatio?.mean)}` : none,
    arm.peakTensorBytes === null ? none : `${formatBytes(arm.peakTensorBytes)}, ${ratio(arm.memoryRatio)}`,
    arm.exportedBytes === null ? none : formatBytes(arm.exportedBytes),
  ]);

/** What the columns mean, and what the table does not show, in sentences. */
export function studyNotes(summary: StudySummary): string[] {
  const { metric, arms, seeds, trials, planned } = summary;
  const tokens = new Set(arms.flatMap((arm) => (arm.tokens === null ? [] : [arm.tokens])));
  const sizes = tokens.size === 1 ? `${formatCount([...tokens][0])} tokens in each trial; ` : "";
  const full = arms.find(({ gap }) => gap)?.gap?.of;
  const notes = [
    `${sizes}${seeds.length === 1 ? "one seed" : `${seeds.length} seeds`} (${seeds.join(", ")}); ${metricWords[metric]} of all of the validation text after the last step, lower is better.`,
    "Differences are paired: of each seed that two arms have in common, then mean and standard error. lower, higher: zero is outside the 95 % interval by Student's t; within noise: it is inside; one seed: nothing can be said.",
    "Time is of training steps alone; memory is the most that tensors took at once; weights are as published (two bits a ternary weight, float16 for the rest). Ratios are to the baseline.",
  ];
  if (full !== undefined)
    notes.push(
      `The gap is this arm's value over that of the full-precision arm with the lowest mean, of ${full} that trained on as many tokens. The best of several is a little too good, so the gap is not flattered.`,
    );
  if (trials < planned) notes.push(`${trials} of ${planned} trials have ended; the rest are missing.`);
  const uneven = arms.filter(({ finished, diverged, missing }) => finished > 0 && diverged + missing.length > 0);
  if (uneven.length > 0) notes.push(`Without a result of every seed: ${uneven.map(({ arm }) => arm).join(", ")}.`);
  return notes;
}

/** Text of a cell: what Markdown would read is written out. */
const cell = (text: string): string => text.replace(/[\\|*_`<>]/g, (c) => `\\${c}`).replace(/\s+/g, " ");

export const markdownTable = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => "---"), ...rows]
    .map((row, i) => `| ${(i === 1 ? row : row.map(cell)).join(" | ")} |`)
    .join("\n");

/** The table, its notes and the failures. */
export function studyMarkdown(summary: StudySummary): string {
  const parts = [
    markdownTable(studyHead(summary), studyRows(summary)),
    studyNotes(summary)
      .map((note) => `- ${cell(note)}`)
      .join("\n"),
  ];
  if (summary.failures.length > 0)
    parts.push(
      summary.failures
        .map(
          ({ arm, seed, reason, steps }) =>
            `- ${cell(`${arm}, seed ${seed}: diverged after ${steps} steps: ${reason}`)}`,
        )
        .join("\n"),
    );
  return `${parts.join("\n\n")}\n`;
}
