/**
 * What a checkpoint says of the trainer, checked before anything is restored from it. Whoever changes trainer_state.json can
 * sign it anew: its hash says that it is whole, not that it makes sense. The data's position is checked by the data (data/).
 * Called by train.ts.
 */
import { z } from "zod";
import { FormatError } from "../platform/errors.ts";
import { issueWords } from "../platform/issue.ts";
import type { TrainingState } from "./events.ts";

const count = z.int().min(0);
// As a generator leaves them: signed or not.
const word = z
  .int()
  .min(-(2 ** 31))
  .max(2 ** 32 - 1);
const number = z.number().nullable();

const stateSchema = z.looseObject({
  step: count,
  updates: count,
  totalTokens: count,
  skippedSteps: count,
  skippedInRow: count,
  data: z.looseObject({}),
  random: z.tuple([word, word, word, word]).refine((words) => words.some((one) => one !== 0), "is all zeros"),
  callbacks: z.looseObject({
    metrics: z.looseObject({ mean: number, missing: number, totalTokens: count }).optional(),
    summary: z.looseObject({ epochs: z.array(z.looseObject({})), elapsedMs: z.number(), tokens: count }).optional(),
    evaluation: z.looseObject({ best: number, lastStep: z.int() }).optional(),
    "early-stopping": z.looseObject({ best: number, withoutBetter: count }).optional(),
    checkpoints: z.looseObject({ bestStep: count.nullable() }).optional(),
    "flip-rate": z
      .looseObject({
        mean: z.number().min(0).max(1),
        missing: z.number().min(0).max(1),
        scale: z.number().min(0),
        target: z.number().min(0).max(1).nullable(),
      })
      .optional(),
    samples: z.looseObject({ lastStep: z.int() }).optional(),
  }),
  controls: z
    .looseObject({
      frozen: z.array(z.string()).optional(),
      learningRateScales: z.array(z.looseObject({ parameters: z.string(), scale: z.number().min(0) })).optional(),
    })
    .optional(),
  startedAt: z.record(z.string(), z.number()).optional(),
});

/** @throws FormatError naming the field */
export function readTrainingState(path: string, training: unknown): TrainingState {
  const parsed = stateSchema.safeParse(training);
  if (parsed.success) return training as TrainingState;
  throw new FormatError(
    `${path}: its trainer_state.json is damaged: training.${issueWords(parsed.error.issues[0])}; go on from an earlier checkpoint`,
  );
}
