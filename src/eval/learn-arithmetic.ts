/**
 * An experiment as one call: a small model learns additions and subtractions and is asked, on the way, problems that it never
 * saw. It shows a whole run in a few minutes with nothing but this package. Called by `bitnet quickstart`; not in the barrel,
 * for it loads training.
 */
import type { BackendChoice } from "../backends/index.ts";
import { type ProblemSet, createArithmetic, problemText, take, takeDistinct } from "../corpus/index.ts";
import { joinPath, writeAtomically } from "../platform/files.ts";
import { type Callback, type RunConfigPatch, type TrainOptions, type TrainReport, train } from "../train/index.ts";
import { scoreAnswers } from "./answers.ts";

export interface LearnArithmeticOptions {
  steps: number;
  /** Training problems to generate. */
  problems: number;
  /** Names the problems, the initial weights and the order. */
  seed: number;
  /** Where the generated text is written. */
  dataFolder: string;
  backend: BackendChoice;
  /** Told when the text is written, before training. */
  onText(text: ArithmeticText): void;
  /** Told before the first step, ten times on the way, and at the end. */
  onAccuracy(accuracy: ArithmeticAccuracy): void;
  /** The run's own: folder, callbacks, notes, signal. */
  run: Pick<TrainOptions, "runFolder" | "callbacks" | "onNote" | "onReady" | "signal">;
}

export interface ArithmeticText {
  trainFile: string;
  heldOutFile: string;
  heldOut: number;
  /** Three of the training problems, with their answers. */
  sample: readonly string[];
}

/** Shares of the held-out problems that the model answers right to the last digit. */
export interface ArithmeticAccuracy {
  step: number;
  heldOut: number;
  additions: number;
  subtractions: number;
}

/** Each held-out problem is asked at most once. */
const heldOutProblems = 400;
/** Times that accuracy is measured on the way. */
const measurements = 10;

/** The problems that the experiment is about. */
export const arithmeticProblems = (): ProblemSet => createArithmetic(["+", "-"]);

/** Generates, trains, measures. @throws as `train` */
export async function learnArithmetic(options: LearnArithmeticOptions): Promise<TrainReport> {
  const { steps, run } = options;
  const set = arithmeticProblems();
  const { text, heldOut } = writeText(set, options);
  options.onText(text);

  const every = Math.max(1, Math.round(steps / measurements));
  const [plus, minus] = ["+", "-"].map((sign) => heldOut.filter((problem) => problem.includes(` ${sign} `)));
  let share: ((problems: readonly string[]) => Promise<number>) | null = null;
  const accuracy: Callback = {
    name: "accuracy",
    async on(event) {
      const due = event.type === "start" || event.type === "end" || (event.type === "step" && event.step % every === 0);
      if (!due || !share || (event.type === "step" && event.step === steps)) return;
      const [additions, subtractions] = [await share(plus), await share(minus)];
      options.onAccuracy({ step: event.step, heldOut: heldOut.length, additions, subtractions });
    },
  };
  return train({
    ...run,
    config: runConfig(text, every, options),
    callbacks: [...(run.callbacks ?? []), accuracy],
    onReady(ready) {
      run.onReady?.(ready);
      share = async (problems) => {
        const questions = problems.map((problem) => ({ prompt: set.prompt(problem), answer: set.answer(problem) }));
        const right = await scoreAnswers(ready.model, ready.tokenizer, questions);
        return right.filter(Boolean).length / right.length;
      };
    },
  });
}

function writeText(
  set: ProblemSet,
  { problems, seed, dataFolder }: LearnArithmeticOptions,
): { text: ArithmeticText; heldOut: readonly string[] } {
  const trainFile = joinPath(dataFolder, "train.txt");
  const heldOutFile = joinPath(dataFolder, "held-out.txt");
  const textOf = (some: Iterable<string>) => Array.from(some, (problem) => problemText(set, problem)).join("");
  writeAtomically(trainFile, textOf(take(set.generate("train", seed), problems)));
  const heldOut = [...takeDistinct(set, "heldout", seed, heldOutProblems)];
  writeAtomically(heldOutFile, textOf(heldOut));
  const sample = textOf(take(set.generate("train", seed), 3))
    .trim()
    .split("\n");
  return { text: { trainFile, heldOutFile, heldOut: heldOut.length, sample }, heldOut };
}

function runConfig(
  { trainFile, heldOutFile }: ArithmeticText,
  every: number,
  { steps, seed, backend }: LearnArithmeticOptions,
): RunConfigPatch {
  return {
    preset: "arithmetic",
    data: {
      files: [trainFile],
      validFiles: [heldOutFile],
      separator: "line",
      maskDocuments: true,
      lossAfter: "=",
    },
    // Many small steps at a low rate and little decay: found by trial (docs/log.md).
    train: { steps, seed, batch: 16 },
    optimizer: { learningRate: 7e-4, weightDecay: 0.01 },
    schedule: { kind: "cosine", warmupSteps: Math.min(50, steps), finalFraction: 0.02 },
    samples: { every: null },
    evaluation: { every },
    checkpoints: { every },
    backend: { name: backend.backend, isa: backend.isa ?? "auto", threads: backend.threads },
  };
}
