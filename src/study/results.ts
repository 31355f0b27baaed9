/**
 * A study as one JSON file: what `bitnet study report --json` prints and bench/results/ keeps, with all that a table needs.
 * Paths of the machine are left out.
 */
import { z } from "zod";
import { FormatError } from "../platform/errors.ts";
import { issueWords } from "../platform/issue.ts";
import type { SavedStudy } from "./folder.ts";
import type { Group, StudyFile } from "./spec.ts";
import { type StudySummary, summarizeStudy } from "./summary.ts";
import type { TrialRecord } from "./trial.ts";

export const studyResultsFormat = "bitnet.ts study results";

export interface StudyResults {
  format: typeof studyResultsFormat;
  version: 1;
  name: string;
  baseline: string;
  seeds: number[];
  /** Of the last trial. */
  machine: TrialRecord["machine"] | null;
  software: TrialRecord["software"] | null;
  endedMs: number | null;
  commands: string[];
  /** The study's file. */
  file: StudyFile;
  /** Of the text: what it came to, without its paths. */
  data: { tokens: number; validationTokens: number; identity: string; validationIdentity: string; tokenizer: string }[];
  arms: { name: string; group: Group }[];
  trials: TrialRecord[];
  summary: StudySummary;
}

export function studyResults(study: SavedStudy): StudyResults {
  const { name, baseline, seeds, commands, file, data, trials } = study;
  const last = trials.at(-1);
  return {
    format: studyResultsFormat,
    version: 1,
    ...{ name, baseline, seeds },
    machine: last?.machine ?? null,
    software: last?.software ?? null,
    endedMs: last?.endedMs ?? null,
    ...{ commands, file },
    data: Object.values(data),
    arms: study.arms.map(({ name: arm, group }) => ({ name: arm, group })),
    trials,
    summary: summarizeStudy(study),
  };
}

const schema = z.looseObject({
  format: z.literal(studyResultsFormat),
  version: z.literal(1),
  name: z.string(),
  trials: z.array(z.looseObject({})),
  summary: z.looseObject({ arms: z.array(z.looseObject({})) }),
});

/** @throws FormatError for JSON that is no such file */
export function parseStudyResults(text: string, from: string): StudyResults {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`${from}: is no JSON: ${(cause as Error).message}`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new FormatError(`${from}: is no results of a study: ${issueWords(parsed.error.issues[0])}`);
  return value as StudyResults;
}
