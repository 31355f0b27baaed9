/**
 * A study's folder: study.json (the file, the arms as resolved, the text), trials.jsonl (a line for each trial that ended, only
 * ever appended to), trials/<arm>/seed-<n> (a run's folder each) and study.lock. A line that a killed process left unfinished
 * is passed over, and its trial is asked for again. Called by run.ts; reports read it by `readStudy`.
 */
import { z } from "zod";
import { FormatError, UsageError } from "../platform/errors.ts";
import { exists, joinPath, listFolder, makeFolder, readWhole, writeAtomically } from "../platform/files.ts";
import { issueWords } from "../platform/issue.ts";
import { show } from "../platform/show.ts";
import { resolveConfig } from "../train/config.ts";
import type { RunConfig, RunConfigPatch } from "../train/config-schema.ts";
import { groups, type Group, type Study, type StudyFile } from "./spec.ts";
import { decidingValues, type TrialRecord } from "./trial.ts";

/** The paths in a study's folder. */
export function studyPaths(folder: string) {
  const at = (...parts: string[]) => joinPath(folder, ...parts);
  return {
    folder,
    study: at("study.json"),
    trials: at("trials.jsonl"),
    lock: at("study.lock"),
    tokenizer: (key: string) => at("tokenizers", `${key}.json`),
    run: (arm: string, seed: number) => at("trials", arm, `seed-${seed}`),
  };
}

/** Text and tokenizer that trials read, by the keys that name them. */
export interface StudyData {
  identity: string;
  validationIdentity: string;
  tokenizer: string;
  tokens: number;
  validationTokens: number;
}

/** What study.json says. */
export interface StudyMeta {
  format: "bitnet.ts study";
  version: 1;
  name: string;
  baseline: string;
  seeds: number[];
  file: StudyFile;
  arms: { name: string; group: Group; config: RunConfigPatch }[];
  data: Record<string, StudyData>;
  createdMs: number;
  /** Of each time that it was run, where there was one. */
  commands: string[];
}

const metaSchema = z.looseObject({
  format: z.literal("bitnet.ts study"),
  version: z.literal(1),
  name: z.string(),
  baseline: z.string(),
  seeds: z.array(z.int()),
  file: z.looseObject({}),
  arms: z.array(z.looseObject({ name: z.string(), group: z.enum(groups), config: z.looseObject({}) })),
  data: z.record(z.string(), z.looseObject({ identity: z.string(), validationIdentity: z.string() })),
  createdMs: z.number(),
  commands: z.array(z.string()),
});

const number = z.number();
const measured = z.looseObject({ lossNats: number, bitsPerByte: number.nullable() });
const point = z.looseObject({ step: number, tokens: number, lossNats: number, bitsPerByte: number.nullable() });

/** Of a trial's line; what reports only show is not looked into. */
const trialSchema = z.looseObject({
  format: z.literal("bitnet.ts trial"),
  version: z.literal(1),
  arm: z.string(),
  seed: z.int(),
  status: z.enum(["finished", "diverged"]),
  reason: z.string(),
  steps: number,
  tokens: number,
  final: measured.nullable(),
  best: point.nullable(),
  curve: z.array(point),
  trainingMs: number,
  tokensPerSecond: number,
  peakTensorBytes: number,
  peakResidentBytes: number.nullable(),
  exportedBytes: number,
  parameters: z.looseObject({ total: number, ternary: number }),
  configHash: z.string(),
  backend: z.looseObject({ name: z.string(), isa: z.string(), threads: number, precision: z.string() }),
  machine: z.looseObject({ processor: z.string(), processors: number, memoryBytes: number, node: z.string() }),
  software: z.looseObject({ version: z.string(), commit: z.string().nullable() }),
});

/** A study as it stands in its folder. */
export interface SavedStudy extends StudyMeta {
  /** In the order in which they ended. */
  trials: TrialRecord[];
  /** Lines of trials.jsonl that are no JSON: left unfinished by a kill. */
  unfinishedLines: number;
}

/** @throws FormatError where a file is damaged; UsageError where there is no study */
export function readStudy(folder: string): SavedStudy {
  const paths = studyPaths(folder);
  if (!exists(paths.study))
    throw new UsageError(`${folder}: holds no study (study.json); bitnet study FILE.yaml -o makes one`);
  return { ...readStudyMeta(paths.study), ...readTrials(paths.trials) };
}

function readStudyMeta(path: string): StudyMeta {
  return parse(metaSchema, new TextDecoder().decode(readWhole(path)), path) as StudyMeta;
}

function parse(schema: z.ZodType, text: string, where: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new FormatError(`${where}: is damaged: ${(cause as Error).message}`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return value;
  throw new FormatError(`${where}: is damaged: ${issueWords(parsed.error.issues[0])}`);
}

export function readTrials(path: string): Pick<SavedStudy, "trials" | "unfinishedLines"> {
  if (!exists(path)) return { trials: [], unfinishedLines: 0 };
  const trials: TrialRecord[] = [];
  let unfinishedLines = 0;
  for (const [i, text] of new TextDecoder().decode(readWhole(path)).split("\n").entries()) {
    if (text.trim() === "") continue;
    try {
      JSON.parse(text);
    } catch {
      unfinishedLines++;
      continue;
    }
    const trial = parse(trialSchema, text, `${path}: line ${i + 1}`) as TrialRecord;
    if (trials.some(({ arm, seed }) => arm === trial.arm && seed === trial.seed))
      throw new FormatError(
        `${path}: line ${i + 1}: arm "${trial.arm}" with seed ${trial.seed} is there twice; remove one of the lines`,
      );
    trials.push(trial);
  }
  return { trials, unfinishedLines };
}

/**
 * Opens a study's folder for a study, or makes it. The caller holds its lock. Arms and seeds that are new are added; arms that
 * the file no longer has stay, with their trials.
 *
 * @throws UsageError where the folder is another study's, naming the key that differs, or holds something else
 */
export function openStudyFolder(
  folder: string,
  study: Study,
  { nowMs, command }: { nowMs: number; command?: string },
): SavedStudy {
  const paths = studyPaths(folder);
  const arms = study.arms.map(({ name, group, config }) => ({ name, group, config: config as RunConfigPatch }));
  const { name, baseline, file } = study;
  const said = command === undefined ? [] : [command];
  if (!exists(paths.study)) {
    const strange = listFolder(folder).find((one) => !/^study\.(lock|json)/.test(one));
    if (strange !== undefined)
      throw new UsageError(`${folder}: is not empty (${strange}) and holds no study; name another folder (-o)`);
    const meta: StudyMeta = {
      ...{ format: "bitnet.ts study", version: 1, name, baseline, seeds: [...study.seeds] },
      ...{ file, arms, data: {}, createdMs: nowMs, commands: said },
    };
    writeStudyMeta(folder, meta);
    return { ...meta, trials: [], unfinishedLines: 0 };
  }
  const saved = readStudy(folder);
  for (const before of saved.arms) {
    const now = study.arms.find((arm) => arm.name === before.name);
    if (!now) continue;
    if (now.group !== before.group) throw otherStudy(folder, `group ${before.group} in arm "${now.name}"`, now.group);
    const old = resolveConfig([{ from: `${paths.study}: arm "${now.name}"`, patch: before.config, resolved: true }]);
    const difference = firstDifference(old, now.config);
    if (difference) {
      const [key, was, is] = difference;
      throw otherStudy(folder, `${key} ${show(was)} in arm "${now.name}"`, show(is));
    }
  }
  const added = arms.filter(({ name: one }) => !saved.arms.some((arm) => arm.name === one));
  const { trials, unfinishedLines, ...meta } = saved;
  const next: StudyMeta = {
    ...meta,
    ...{ name, baseline, file },
    arms: [...meta.arms, ...added],
    seeds: [...new Set([...meta.seeds, ...study.seeds])].sort((a, b) => a - b),
    commands: [...meta.commands, ...said.filter((one) => !meta.commands.includes(one))],
  };
  writeStudyMeta(folder, next);
  return { ...next, trials, unfinishedLines };
}

const otherStudy = (folder: string, was: string, is: string) =>
  new UsageError(
    `${folder}: was begun with ${was}, but ${is} is asked for now; run the file that it was made with, or name another folder (-o)`,
  );

export function writeStudyMeta(folder: string, meta: StudyMeta): void {
  makeFolder(folder);
  writeAtomically(studyPaths(folder).study, `${JSON.stringify(meta, null, 2)}\n`);
}

/** The first key that decides a result and differs. */
function firstDifference(a: RunConfig, b: RunConfig): [key: string, a: unknown, b: unknown] | null {
  const [old, now] = [decidingValues(a), decidingValues(b)];
  for (const key of new Set([...old.keys(), ...now.keys()]))
    if (JSON.stringify(old.get(key)) !== JSON.stringify(now.get(key))) return [key, old.get(key), now.get(key)];
  return null;
}
