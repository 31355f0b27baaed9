/**
 * Which run is trained: a new one or one that is gone on with, its folder and its config, seen before any data. Called by
 * train.ts, and by those who only want to see the config.
 */
import { UsageError } from "../platform/errors.ts";
import { show } from "../platform/show.ts";
import { type Clock, systemClock } from "../platform/system.ts";
import { changedSettings } from "./changed-settings.ts";
import { checkProgressive, type ConfigLayer, resolveConfig } from "./config.ts";
import type { RunConfig, RunConfigPatch } from "./config-schema.ts";
import { findResumePoint, newRunFolder, type ResumePoint, readMeta, readRunConfig, runPaths } from "./run-folder.ts";
import { checkStart, startingPoint } from "./starting-point.ts";

export interface RunChoice {
  /** A preset's name, and differences from it; or the layers of `resolveConfig`. */
  config: string | RunConfigPatch | readonly ConfigLayer[];
  /** The run's folder; absent: a new one in `runsFolder`, named by preset, variant and time. */
  runFolder?: string;
  /** Where runs are. Default "runs". */
  runsFolder?: string;
  /**
   * Begin from the weights, tokenizer and model config of a model folder, a checkpoint or a run instead of from random
   * ones. Where the run is resumed, it goes on from its own.
   */
  from?: string;
  /** Go on with a run: "auto" (`runFolder`, or the newest in `runsFolder`), a run's folder, or a checkpoint in one. */
  resume?: string;
  /** Told what is being done before training begins, for people. */
  onNote?: (text: string) => void;
  clock?: Clock;
}

/**
 * The config that `train` would begin or go on with, without doing so: a model that it begins from, or the run that it goes on
 * with, has its part in it.
 *
 * @throws as `train`, for what can be seen before the text is read
 */
export async function plannedConfig(options: RunChoice): Promise<RunConfig> {
  const { clock = systemClock, onNote = () => {} } = options;
  const start = options.from === undefined ? null : await startingPoint(options.from, onNote);
  const { config } = chooseRun(options, start?.layers ?? [], layersOf(options.config), clock, () => {});
  if (start) checkStart(start, config);
  return config;
}

export function layersOf(config: RunChoice["config"]): readonly ConfigLayer[] {
  if (typeof config === "string") return [{ from: "config", patch: { preset: config } }];
  return Array.isArray(config) ? config : [{ from: "config", patch: config as RunConfigPatch }];
}

export const namedPreset = (layers: readonly ConfigLayer[]): string | undefined =>
  layers.findLast(({ patch }) => patch.preset !== undefined)?.patch.preset;

/** The run's folder and config: a new one's, or those of the run to go on with, under the layers given now. */
export function chooseRun(
  { resume: wanted, runFolder, runsFolder = "runs" }: RunChoice,
  start: readonly ConfigLayer[],
  asked: readonly ConfigLayer[],
  clock: Clock,
  claim: (folder: string) => void,
): { config: RunConfig; resume: ResumePoint | null; folder: string; changes: string[] } {
  const preset = namedPreset(asked);
  const resume = wanted ? findResumePoint(wanted, { runFolder, parent: runsFolder, preset, claim }) : null;
  if (!resume) {
    if (wanted && preset === undefined && start.length === 0)
      throw new UsageError(`there is no run in ${runFolder ?? runsFolder} to go on with; name a preset to begin one`);
    const config = resolveConfig([...start, ...asked]);
    checkProgressive(config);
    const name = `${config.preset}-${config.model.variant}`;
    return { config, resume, folder: runFolder ?? newRunFolder(runsFolder, name, clock.epochMs()), changes: [] };
  }
  const saved = readRunConfig(resume.folder);
  if (preset !== undefined && preset !== saved.preset)
    throw new UsageError(
      `${resume.folder}: is a run of preset "${saved.preset}", but "${preset}" was asked for; leave the preset out, or begin a new run`,
    );
  const own: ConfigLayer = { from: runPaths(resume.folder).config, patch: saved, resolved: true };
  // What a starting point says is of a new run: this one has its own.
  const config = resolveConfig([own, ...asked]);
  const before = resolveConfig([own]);
  if (String(before.train.freeze) !== String(config.train.freeze))
    throw new UsageError(
      `${resume.folder}: froze [${before.train.freeze}], but train.freeze [${config.train.freeze}] was asked for; a run keeps what it freezes, begin a new one from its weights (--from)`,
    );
  checkProgressiveOnResume(resume.folder, before, config);
  const { quantization } = before.model;
  if (JSON.stringify(quantization) !== JSON.stringify(config.model.quantization))
    throw new UsageError(
      `${resume.folder}: trains with model.quantization ${show(quantization)}, but ${show(config.model.quantization)} was asked for; a run keeps its quantizers, begin a new one from its weights (--from)`,
    );
  return { config, resume, folder: resume.folder, changes: changedSettings(before, config) };
}

/** What is changed now must end quantized; a run that was begun before this was checked goes on as it is. */
function checkProgressiveOnResume(folder: string, saved: RunConfig, config: RunConfig): void {
  const stepsPerEpoch = readMeta(folder)?.derived?.stepsPerEpoch;
  try {
    checkProgressive(saved, stepsPerEpoch);
  } catch (error) {
    if (error instanceof UsageError) return;
    throw error;
  }
  checkProgressive(config, stepsPerEpoch);
}
