/**
 * `bitnet quickstart`: the whole way in a few minutes, with nothing but this package. Shows the experiment of
 * eval/learn-arithmetic.ts as it goes, then opens the saved model and asks it two problems.
 */
import { Command, Option } from "commander";
import type { BackendChoice } from "../backends/index.ts";
import { backendNames } from "../backends/registry.ts";
import type { ArithmeticText } from "../eval/learn-arithmetic.ts";
import type { TrainReport } from "../train/index.ts";
import { countOf, formatDuration, formatShare } from "./support/format.ts";
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

/** They close the show. */
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
  const { arithmeticProblems, learnArithmetic } = await import("../eval/learn-arithmetic.ts");
  const { createTrainProgress } = await import("./support/train-progress.ts");
  const { steps, problems, seed, backend, isa, threads } = options;
  const progress = createTrainProgress(options.logEvery);
  const interruption = listenForInterrupts(() =>
    progress.say("finishing the step and saving; press Ctrl-C again to leave at once"),
  );
  let text: ArithmeticText | undefined;
  let report: TrainReport;
  try {
    report = await learnArithmetic({
      ...{ steps, problems, seed, dataFolder: "runs/quickstart-data" },
      backend: { backend, isa, threads },
      onText(written) {
        text = written;
        process.stdout.write(
          `${countOf(problems, "problem")} such as ${written.sample.join(", ")}\n${written.heldOut} others are held out\n`,
        );
      },
      onAccuracy({ step, heldOut, additions, subtractions }) {
        const line = `additions ${formatShare(additions)}, subtractions ${formatShare(subtractions)} right`;
        progress.say(`step ${step}: of ${heldOut} held-out problems, ${line}`);
      },
      run: {
        runFolder: options.runDir,
        callbacks: [progress.callback],
        onNote: progress.say,
        onReady: progress.begin,
        signal: interruption.signal,
      },
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
    `\ntrained ${countOf(report.step, "step")}, ${countOf(report.totalTokens, "token")}, in ${formatDuration(report.elapsedMs)}\n`,
  );
  const { prompt } = arithmeticProblems();
  await answer(report.folder, finalQuestions.map(prompt), options);
  process.stdout.write(
    [
      "",
      `the run      ${report.folder}: config, metrics (also for TensorBoard), checkpoints`,
      `the model    ${report.checkpoint}`,
      `the text     ${text?.trainFile}, ${text?.heldOutFile}`,
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
