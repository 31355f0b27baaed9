/** A run's facts for the card of a model that leaves it (exchange/model-card.ts). Called by `bitnet export --format hf`. */
import { verifyCheckpoint } from "../checkpoint/index.ts";
import type { OpenedModel, TrainingFacts } from "../exchange/index.ts";
import { absolutePath, exists, joinPath } from "../platform/files.ts";
import { isRun, readMeta, readRunConfig, runPaths } from "./run-folder.ts";
import { readScalars } from "./scalars.ts";

/** What the run that a checkpoint stands in has written down; null for a model that no training here made. */
export function trainingFacts({ folder, step }: Pick<OpenedModel, "folder" | "step">): TrainingFacts | null {
  if (step === null) return null;
  const state = verifyCheckpoint(folder).training as { totalTokens?: number } | null;
  const facts: TrainingFacts = { step, totalTokens: state?.totalTokens };
  const run = absolutePath(joinPath(folder, "..", ".."));
  const meta = isRun(run) ? readMeta(run) : null;
  if (!meta) return facts;
  const paths = runPaths(run);
  const evaluated = exists(paths.scalars)
    ? readScalars(paths.scalars).findLast((line) => typeof line.val_loss === "number" && line.step <= step)
    : undefined;
  const { version, commit } = (meta.sessions.at(-1) ?? {}) as { version?: string; commit?: string | null };
  const bits = evaluated?.bits_per_byte;
  return {
    ...facts,
    preset: meta.preset,
    textTokens: meta.data?.tokens,
    textDocuments: meta.data?.documents,
    optimizer: readRunConfig(run).optimizer?.kind,
    validation: evaluated && {
      step: evaluated.step,
      lossNats: evaluated.val_loss as number,
      bitsPerByte: typeof bits === "number" ? bits : undefined,
    },
    version,
    commit,
  };
}
