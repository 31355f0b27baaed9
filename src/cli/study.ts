/** `bitnet study`: options to `runStudy`, progress to the standard error; `bitnet study report`: what came of it. The work is study/'s and report/'s. */
import { Command, InvalidArgumentError } from "commander";
import { backendNames } from "../backends/registry.ts";
import type { ConfigLayer, RunConfigPatch } from "../train/index.ts";
import type { StudyOutcome, TrialRecord } from "../study/index.ts";
import { countOf, formatDuration, formatRate, formatTable } from "./support/format.ts";
import { listenForInterrupts } from "./support/interrupt.ts";
import { decimalNumber, wholeNumber } from "./support/options.ts";
import { typedCommand } from "./support/report-options.ts";
import { sortWords, textOf, withoutUndefined } from "./train.ts";

interface Options {
  output?: string;
  data?: string[];
  mix?: string[];
  valData?: string[];
  tokenizer?: string;
  steps?: number;
  tokens?: number;
  threads?: number;
  arms?: string[];
  seeds?: number[];
  maxTrials?: number;
  maxSeconds?: number;
  isolate?: true;
  keepRuns?: true;
  logEvery: number;
}

const collect = (value: string, before: string[] = []): string[] => [...before, value];
const words = (text: string): string[] =>
  text
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");

function seedNumbers(text: string): number[] {
  const seeds = words(text).map((word) => (/^\d+$/.test(word) ? Number(word) : Number.NaN));
  if (seeds.length === 0 || seeds.some((seed) => !Number.isSafeInteger(seed)))
    throw new InvalidArgumentError("Expected whole numbers with commas between, such as 1,2.");
  return seeds;
}

const help = `
The file names a base config, arms (differences from it), a baseline and seeds; docs/study.md shows one. Every arm is trained
with every seed, one trial after another. Called again, it goes on where it was: what ended is kept, the trial under way goes on
from its checkpoint, and arms or seeds added to the file are added. --section.key VALUE changes the base of all arms.

Examples:
  bitnet study study.yaml -o study
  bitnet study study.yaml --data stories.txt --val-data held-out.txt --tokens 1000000 -o study
  bitnet study study.yaml --arms ternary,full --seeds 1 --max-seconds 3600 -o study
  bitnet study report study
  bitnet study report study --html study.html

Ctrl-C saves the trial under way and exits with 130. A trial that diverges is recorded, and the study goes on.`;

export function studyCommand(): Command {
  return new Command("study")
    .summary("arms times seeds, resumable, into one report with errors")
    .description(
      "Trains every arm of a study with every seed into one folder, and reports means with standard errors, paired differences to the baseline, and the gap to full precision.",
    )
    .usage("FILE.yaml -o FOLDER [options] [--section.key VALUE ...] | report FOLDER")
    .argument("[file]", "the study: a YAML file")
    .option("-o, --output <folder>", "the study's folder; made, or gone on with")
    .option("--data <path>", "text to train on, in place of the file's data.files; may be repeated", collect)
    .option("--mix <sources>", "or a mixture: name=weight:path, with commas between several; may be repeated", collect)
    .option("--val-data <file>", "text to validate on; else some of the data is held out; may be repeated", collect)
    .option("--tokenizer <file>", "a tokenizer.json to use; else one is trained on the data, once for all trials")
    .option("--steps <n>", "train each trial for n steps", wholeNumber(1))
    .option("--tokens <n>", "or for n tokens", wholeNumber(1))
    .option(
      "--threads <n>",
      `threads of the backend (${backendNames.join(", ")}: --backend.name); 0: one for each processor`,
      wholeNumber(0, 256),
    )
    .option("--arms <names>", "run only these arms now, with commas between", words)
    .option("--seeds <list>", "run only these seeds now, with commas between", seedNumbers)
    .option("--max-trials <n>", "end after n trials", wholeNumber(1))
    .option("--max-seconds <n>", "save and end after n seconds", decimalNumber(0))
    .option("--isolate", "run each trial in a process of its own, to measure its resident memory")
    .option("--keep-runs", "keep each trial's last checkpoint")
    .option("--log-every <n>", "steps between lines of progress where the output is no terminal", wholeNumber(1), 100)
    .allowUnknownOption()
    .allowExcessArguments()
    .addCommand(reportCommand())
    .addHelpText("after", help)
    .action((_: unknown, options: Options, command: Command) => run(options, command));
}

async function run(options: Options, command: Command): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const { parseOverrides } = await import("../train/index.ts");
  const { runStudy } = await import("../study/index.ts");
  const { names, overrides } = sortWords(command.args);
  if (names.length !== 1)
    throw new UsageError(
      names.length === 0
        ? "name the study's file, as in: bitnet study study.yaml -o study"
        : `study takes one file, but ${names.map((name) => `"${name}"`).join(" and ")} came`,
    );
  if (options.output === undefined) throw new UsageError("name the study's folder with -o; it keeps the trials");
  if (options.steps !== undefined && options.tokens !== undefined)
    throw new UsageError("name one of --steps and --tokens");
  const patch = {
    data: { ...(await textOf(options)), validFiles: options.valData },
    tokenizer: { file: options.tokenizer },
    train: { steps: options.steps, tokens: options.tokens },
    backend: { threads: options.threads },
  };
  const changes: ConfigLayer[] = [
    { from: "options", patch: withoutUndefined(patch) as RunConfigPatch },
    ...parseOverrides(
      overrides,
      command.options.map((option) => option.long!.slice(2)),
    ),
  ];
  const say = (text: string) => void process.stderr.write(`${text}\n`);
  const { createTrainProgress } = await import("./support/train-progress.ts");
  let progress = createTrainProgress(options.logEvery);
  const interruption = listenForInterrupts(() =>
    progress.say("finishing the step and saving; press Ctrl-C again to leave at once"),
  );
  let outcome: StudyOutcome;
  try {
    outcome = await runStudy({
      study: names[0],
      folder: options.output,
      changes,
      ...(options.arms ? { arms: options.arms } : {}),
      ...(options.seeds ? { seeds: options.seeds } : {}),
      ...(options.maxTrials === undefined ? {} : { maxTrials: options.maxTrials }),
      ...(options.maxSeconds === undefined ? {} : { maxMs: 1000 * options.maxSeconds }),
      ...(options.isolate ? { isolate: true } : {}),
      ...(options.keepRuns ? { keepRuns: true } : {}),
      command: typedCommand(),
      onNote: (text) => progress.say(text),
      onReady: (ready) => progress.begin(ready),
      callbacks: () => [progress.callback],
      onTrial(event) {
        if (event.type === "begin") {
          progress = createTrainProgress(options.logEvery);
          say(`trial ${event.number} of ${event.of}: ${event.arm}, seed ${event.seed}`);
        } else {
          progress.end();
          say(describeTrial(event.record));
        }
      },
      signal: interruption.signal,
    });
  } finally {
    progress.end();
    interruption.release();
  }
  process.stdout.write(await describeOutcome(outcome));
  if (outcome.reason === "interrupted") throw interruption.signal.reason;
}

function describeTrial({ arm, seed, status, reason, final, trainingMs, tokensPerSecond, steps }: TrialRecord): string {
  const what = `${arm}, seed ${seed}`;
  if (status === "diverged") return `${what}: diverged after ${countOf(steps, "step")}: ${reason}`;
  const bits = final!.bitsPerByte === null ? "" : `, ${final!.bitsPerByte.toFixed(4)} bits per byte`;
  return `${what}: loss ${final!.lossNats.toFixed(4)}${bits}; ${countOf(steps, "step")} in ${formatDuration(trainingMs)} (${formatRate(tokensPerSecond, "tokens")})`;
}

async function describeOutcome({ reason, ended, left, folder, study }: StudyOutcome): Promise<string> {
  const { summarizeStudy } = await import("../study/index.ts");
  const { studyHead, studyRows } = await import("../report/index.ts");
  const summary = summarizeStudy(study);
  const head = `${reason}: ${ended} ${ended === 1 ? "trial" : "trials"} ended now, ${summary.trials} of ${summary.planned} in all${left > 0 ? `; ${left} left, the same command goes on` : ""}`;
  return `${head}\n${formatTable([studyHead(summary), ...studyRows(summary)])}report      bitnet study report ${folder} --html study.html\n`;
}

interface ReportOptions {
  json?: true;
  markdown?: true;
  html?: string;
  title?: string;
}

function reportCommand(): Command {
  return new Command("report")
    .summary("what a study came to: table, JSON, Markdown, HTML")
    .description(
      "Reports a study as it stands: each arm's mean and standard error, paired difference to the baseline, gap to the best full-precision arm, time and memory.",
    )
    .argument("<folder>", "the study's folder")
    .option("--json", "print everything as JSON: trials, curves, summary; bench/results/ keeps such files")
    .option("--markdown", "print the table as Markdown")
    .option("--html <file>", "write a page with charts")
    .option("--title <text>", "of the page; else the study's name")
    .action(report);
}

async function report(folder: string, options: ReportOptions): Promise<void> {
  const { UsageError } = await import("../platform/errors.ts");
  const { readStudy, studyResults, summarizeStudy } = await import("../study/index.ts");
  const { studyHead, studyMarkdown, studyNotes, studyPage, studyRows } = await import("../report/index.ts");
  if (options.json && options.markdown) throw new UsageError("name one of --json and --markdown");
  if (options.title !== undefined && options.html === undefined)
    throw new UsageError("--title is of the page; add --html FILE, or leave it out");
  const study = readStudy(folder);
  if (options.html !== undefined) {
    const { writeAtomically } = await import("../platform/files.ts");
    const title = options.title === undefined ? {} : { title: options.title };
    writeAtomically(options.html, studyPage(study, { createdMs: Date.now(), ...title }));
    process.stderr.write(`written: ${options.html}\n`);
    if (!options.json && !options.markdown) return;
  }
  if (options.json) {
    process.stdout.write(`${JSON.stringify(studyResults(study), null, 2)}\n`);
    return;
  }
  const summary = summarizeStudy(study);
  if (options.markdown) {
    process.stdout.write(studyMarkdown(summary));
    return;
  }
  process.stdout.write(formatTable([studyHead(summary), ...studyRows(summary)]));
  for (const note of studyNotes(summary)) process.stdout.write(`${note}\n`);
  for (const { arm, seed, reason, steps } of summary.failures)
    process.stdout.write(`${arm}, seed ${seed}: diverged after ${countOf(steps, "step")}: ${reason}\n`);
}
