/**
 * `bitnet quickstart`: the whole way in a few minutes, with nothing but this package. Generates arithmetic, trains a
 * small ternary model on it, shows loss and accuracy on problems that it never saw, and asks it two of them.
 */
import { Command, Option } from "commander";
import type { BackendChoice } from "../backends/index.ts";
import { backendNames } from "../backends/registry.ts";
import type { Callback } from "../train/index.ts";
import { formatCount, formatDuration, formatShare } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { wholeNumber } from "./support/options.ts";

interface QuickstartOptions {
  steps: number;
  problems: number;
  seed: number;
  runDir?: string;
  backend: BackendChoice["backend"];
  isa?: string;
  threads: number;
  logEvery: number;
}

/** Each held-out problem is asked at most once; the last two close the show. */
const heldOutProblems = 400;
const finalQuestions = ["25 + 17", "100 - 35"];

const help = `
It learns additions and subtractions of numbers up to 100, about four minutes on two cores. One problem in ten is held
out: neither it nor its mirror image (17 + 25 for 25 + 17) is ever in the training text. Accuracy is the share of these
that the model answers right to the last digit.

Examples:
  bitnet quickstart
  bitnet quickstart --steps 500 --seed 2

  # Afterwards
  bitnet generate -m RUN -p "58 + 31 = " -n 6 --temp 0
  bitnet inspect RUN
  bitnet train tiny --data your-own-text.txt`;

export function quickstartCommand(): Command {
  return new Command("quickstart")
    .summary("see it work: learn arithmetic in about four minutes")
    .description("Generates arithmetic, trains a ternary model on it, and asks it problems that it never saw.")
    .option("--steps <n>", "training steps", wholeNumber(1), 3000)
    .option("--problems <n>", "training problems to generate", wholeNumber(100, 10_000_000), 300_000)
    .option("--seed <n>", "names the problems, the initial weights and the order", wholeNumber(0), 1)
    .option("--run-dir <folder>", "the run's folder; else a new one in runs/")
    .addOption(new Option("--backend <name>", "where to compute").choices(backendNames).default("auto"))
    .option("--isa <name>", "instruction set, such as avx2; else the best that the processor has")
    .option("--threads <n>", "threads; 0: one for each processor", wholeNumber(0, 256), 0)
    .option("--log-every <n>", "steps between lines of progress where the output is no terminal", wholeNumber(1), 100)
    .addHelpText("after", help)
    .action((options: QuickstartOptions) => run(options));
}

async function run(options: QuickstartOptions): Promise<void> {
  const { createArithmetic, problemText, take, takeDistinct } = await import("../corpus/index.ts");
  const { scoreAnswers } = await import("../eval/index.ts");
  const { joinPath, writeAtomically } = await import("../platform/files.ts");
  const { train } = await import("../train/index.ts");
  const { createTrainProgress } = await import("./support/train-progress.ts");
  const { seed } = options;

  const set = createArithmetic(["+", "-"]);
  const folder = "runs/quickstart-data";
  const trainFile = joinPath(folder, "train.txt");
  const heldOutFile = joinPath(folder, "held-out.txt");
  const textOf = (problems: Iterable<string>) => Array.from(problems, (problem) => problemText(set, problem)).join("");
  writeAtomically(trainFile, textOf(take(set.generate("train", seed), options.problems)));
  const heldOut = [...takeDistinct(set, "heldout", seed, heldOutProblems)];
  writeAtomically(heldOutFile, textOf(heldOut));
  const sample = textOf(take(set.generate("train", seed), 3))
    .trim()
    .replaceAll("\n", ", ");
  process.stdout.write(
    `${formatCount(options.problems)} problems such as ${sample}\n${heldOut.length} others are held out\n`,
  );

  const progress = createTrainProgress(options.logEvery);
  const interruption = listenForInterrupts(() =>
    progress.say("finishing the step and saving; press Ctrl-C again to leave at once"),
  );
  let share: ((problems: readonly string[]) => Promise<number>) | null = null;
  const accuracy: Callback = {
    name: "accuracy",
    async on(event) {
      const due = event.type === "start" || event.type === "end" || (event.type === "step" && event.step % every === 0);
      if (!due || !share || (event.type === "step" && event.step === options.steps)) return;
      const [plus, minus] = ["+", "-"].map((sign) => heldOut.filter((problem) => problem.includes(` ${sign} `)));
      const line = `additions ${formatShare(await share(plus))}, subtractions ${formatShare(await share(minus))} right`;
      progress.say(`step ${event.step}: of ${heldOut.length} held-out problems, ${line}`);
    },
  };
  const every = Math.max(1, Math.round(options.steps / 10));
  let report: Awaited<ReturnType<typeof train>>;
  try {
    report = await train({
      config: {
        preset: "arithmetic",
        data: {
          files: [trainFile],
          validFiles: [heldOutFile],
          separator: "line",
          maskDocuments: true,
          lossAfter: "=",
        },
        // Many small steps at a low rate and little decay: found by trial (docs/log.md).
        train: { steps: options.steps, seed, batch: 16 },
        optimizer: { learningRate: 7e-4, weightDecay: 0.01 },
        schedule: { kind: "cosine", warmupSteps: Math.min(50, options.steps), finalFraction: 0.02 },
        samples: { every: null },
        evaluation: { every },
        checkpoints: { every },
        backend: { name: options.backend, isa: options.isa ?? "auto", threads: options.threads },
      },
      runFolder: options.runDir,
      callbacks: [progress.callback, accuracy],
      onNote: progress.say,
      onReady(ready) {
        progress.begin(ready);
        share = async (problems) => {
          const questions = problems.map((problem) => ({ prompt: set.prompt(problem), answer: set.answer(problem) }));
          const right = await scoreAnswers(ready.model, ready.tokenizer, questions);
          return right.filter(Boolean).length / right.length;
        };
      },
      signal: interruption.signal,
    });
  } finally {
    progress.end();
    interruption.release();
  }
  if (report.reason === "interrupted") {
    process.stdout.write(`interrupted at step ${report.step}; go on with: bitnet train --resume ${report.folder}\n`);
    throw interruption.signal.reason;
  }
  process.stdout.write(
    `\ntrained ${formatCount(report.step)} steps, ${formatCount(report.totalTokens)} tokens, in ${formatDuration(report.elapsedMs)}\n`,
  );
  await answer(report.folder, finalQuestions.map(set.prompt), options);
  process.stdout.write(
    [
      "",
      `the run      ${report.folder}: config, metrics (also for TensorBoard), checkpoints`,
      `the model    ${report.checkpoint}`,
      `the text     ${trainFile}, ${heldOutFile}`,
      `ask it       npx bitnet generate -m ${report.folder} -p "58 + 31 = " -n 6 --temp 0`,
      `your text    npx bitnet train tiny --data your-own-text.txt`,
      "",
    ].join("\n"),
  );
}

/** Opens the saved model, as anyone would, and asks it. */
async function answer(folder: string, prompts: readonly string[], options: QuickstartOptions): Promise<void> {
  const { generateText } = await import("../infer/index.ts");
  const { openForWriting } = await import("./support/writing.ts");
  const { backend, isa, threads } = options;
  const opened = await openForWriting(folder, { engine: "auto", backend, isa, threads: threads || undefined });
  try {
    const { engine, tokenizer, startToken, stopTokens } = opened;
    for (const prompt of prompts) {
      const settings = { maxTokens: 6, temperature: 0, startToken, stopTokens };
      const { text } = await generateText(engine, tokenizer, prompt, settings);
      process.stdout.write(`${prompt}${text}\n`);
    }
  } finally {
    opened.close();
  }
}
