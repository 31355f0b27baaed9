/** What `report` and `compare` share: options of measuring, names of models, progress, and the end. */
import type { Command } from "commander";
import type { MeasureOptions, ModelMeasurement, Report } from "../../report/index.ts";
import { formatTable } from "./format.ts";
import { listenForInterrupts } from "./interrupt.ts";
import { modelName } from "./model-name.ts";
import { addStartTokenOptions, type StartTokenFlags, startTokenChoice } from "./model-options.ts";
import { type BackendOptions, backendChoice, wholeNumber } from "./options.ts";
import { createProgressLine } from "./progress.ts";

export interface ReportFlags extends BackendOptions, StartTokenFlags {
  output: string;
  name: string;
  title?: string;
  maxTokens?: number;
  task?: string[];
  taskData?: string[];
  limit?: number;
  numFewshot?: number;
  allowCodeExecution?: boolean;
  results?: string[];
  speed: boolean;
  samples: number;
  fresh?: boolean;
  freshSpeed?: boolean;
  cacheDir: string;
  json?: boolean;
}

const names = (text: string): string[] =>
  text
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");

const collect = (value: string, before: string[] = []): string[] => [...before, value];

/** @param folder default of --output */
export function addReportOptions(command: Command, folder: string): Command {
  return addStartTokenOptions(command)
    .option("-o, --output <folder>", "where the report is written", folder)
    .option("--name <stem>", "of the files: <stem>.html, .json and .md", "report")
    .option("--title <text>", "of the page; else the models' names")
    .option("--max-tokens <n>", "score only the first n tokens of the text", wholeNumber(1))
    .option(
      "--task <names>",
      "also run these tasks (bitnet eval --help), with commas between; all: those that --task-data has",
      names,
    )
    .option("--task-data <path>", "file of a task, or folder with a file for each; may be repeated", collect)
    .option("--limit <n>", "of each task only the first n items", wholeNumber(1))
    .option("--num-fewshot <n>", "examples before each item", wholeNumber(0))
    .option("--allow-code-execution", "run the programs that humaneval's models write, shut in")
    .option(
      "--results <[name=]file>",
      "take scores from a results file of lm-evaluation-harness or `bitnet eval -o`; of the model of that name, or one each in their order; may be repeated",
      collect,
    )
    .option("--no-speed", "do not time the models")
    .option("--samples <n>", "of each speed and model", wholeNumber(2), 6)
    .option("--fresh", "measure everything again, even where <output>/measurements has it")
    .option("--fresh-speed", "time the models again, and take the rest from there")
    .option("--cache-dir <folder>", "where encoded text is kept", "runs/cache")
    .option("--json", "print the report as JSON too");
}

/** Short names of paths, no two the same: the run's, folder's or file's, with its ending where that tells it apart, else numbered. */
export function namesOf(paths: readonly string[]): string[] {
  const short = paths.map(modelName);
  const alike = (names: readonly string[], name: string) => names.flatMap((other, k) => (other === name ? [k] : []));
  const named = short.map((name, i) => {
    if (alike(short, name).length === 1) return name;
    const own = paths[i].split(/[\\/]+/).at(-1);
    return own?.startsWith(`${name}.`) ? own : name;
  });
  return named.map((name, i) => {
    const twins = alike(named, name);
    return twins.length === 1 ? name : `${name} (${twins.indexOf(i) + 1})`;
  });
}

/** What can be said before anything is trained or measured. @throws UsageError */
export async function checkReportFlags({ name, output, speed, freshSpeed }: ReportFlags): Promise<void> {
  const { UsageError } = await import("../../platform/errors.ts");
  const { describePath, exists } = await import("../../platform/files.ts");
  if (!/^[^/\\]+$/.test(name) || /^\.\.?$/.test(name))
    throw new UsageError(`--name ${name}: expected a name for files, without a folder; -o names the folder`);
  if (exists(output) && describePath(output).kind !== "folder")
    throw new UsageError(`-o ${output}: is a file; expected a folder for the report`);
  if (freshSpeed && !speed) throw new UsageError("--fresh-speed times the models, --no-speed does not; leave one out");
}

type Tasks = MeasureOptions["tasks"];

/**
 * The tasks that were asked for, looked at: a wrong name, a file that is not there, a bad row is said before anything is
 * trained or measured.
 */
export async function tasksOf(flags: ReportFlags, signal?: AbortSignal): Promise<Tasks> {
  const { UsageError } = await import("../../platform/errors.ts");
  const { task, taskData, limit, numFewshot, allowCodeExecution, cacheDir } = flags;
  const without = {
    "task-data": taskData,
    limit,
    "num-fewshot": numFewshot,
    "allow-code-execution": allowCodeExecution,
  };
  for (const [option, value] of Object.entries(without))
    if (value !== undefined && task === undefined) throw new UsageError(`--${option} has no meaning without --task`);
  const start = startTokenChoice(flags);
  if (task === undefined && "startToken" in start)
    throw new UsageError("--start-token has no meaning without --task: texts are scored document by document");
  if (task === undefined) return undefined;
  const { taskNames, tasksIn } = await import("../../eval/index.ts");
  const { checkTasks } = await import("../../report/index.ts");
  if (task.length === 0) throw new UsageError(`--task names no task; tasks are: ${taskNames.join(", ")}`);
  let wanted = task;
  if (task.includes("all")) {
    if (task.length > 1) throw new UsageError("--task all goes with no other name");
    if (taskData === undefined)
      throw new UsageError("--task all: say where the tasks' files are, with --task-data FOLDER");
    wanted = tasksIn(taskData);
    if (wanted.length === 0)
      throw new UsageError(
        `--task all: ${taskData.join(", ")} has no file of a task; tasks are: ${taskNames.join(", ")}`,
      );
    if (wanted.includes("humaneval") && !allowCodeExecution) {
      process.stderr.write("bitnet: leaving out humaneval, which runs programs; --allow-code-execution asks for it\n");
      wanted = wanted.filter((name) => name !== "humaneval");
    }
  }
  const tasks: NonNullable<Tasks> = {
    names: wanted,
    files: {
      path: taskData,
      cacheDir,
      hub: {
        url: process.env.HF_ENDPOINT,
        accessToken: process.env.HF_TOKEN,
        signal,
        onDownload: ({ repo, path }) => process.stderr.write(`downloading ${path} of ${repo}\n`),
      },
    },
    limit,
    fewshot: numFewshot,
    batch: 16,
    allowCodeExecution,
    ...start,
  };
  await checkTasks(tasks);
  return tasks;
}

/** `--results [name=]file`: those without a name belong to the models in their order. */
async function resultsOf(files: readonly string[] = [], models: MeasureOptions["models"]) {
  const { UsageError } = await import("../../platform/errors.ts");
  let unnamed = 0;
  return files.map((word) => {
    const named = models.find(({ name }) => word.startsWith(`${name}=`));
    if (named) return { name: named.name, path: word.slice(named.name.length + 1) };
    const model = models[unnamed++];
    if (!model)
      throw new UsageError(
        `--results: ${word} is one file more than there are models; say of which it is: --results NAME=FILE`,
      );
    return { name: model.name, path: word };
  });
}

/** Measures, builds, writes and tells. @param data text to score; absent: what the runs name */
export async function makeReport(
  models: MeasureOptions["models"],
  data: readonly string[] | undefined,
  flags: ReportFlags,
  command: string,
): Promise<void> {
  const { buildReport, createStore, measureModels, writeReport } = await import("../../report/index.ts");
  const { joinPath } = await import("../../platform/files.ts");
  const { systemClock } = await import("../../platform/system.ts");
  await checkReportFlags(flags);
  const results = await resultsOf(flags.results, models);
  const interruption = listenForInterrupts();
  const progress = createProgressLine("measuring");
  let last = "";
  let measured: ModelMeasurement[];
  try {
    measured = await measureModels({
      models,
      data,
      backend: backendChoice(flags),
      maxTokens: flags.maxTokens,
      cacheDir: flags.cacheDir,
      tasks: await tasksOf(flags, interruption.signal),
      results,
      speed: flags.speed ? { samples: flags.samples } : null,
      store: createStore(joinPath(flags.output, "measurements"), {
        clock: systemClock,
        fresh: flags.fresh ?? (flags.freshSpeed ? ["speed"] : false),
      }),
      clock: systemClock,
      signal: interruption.signal,
      onProgress(what, done = 0, total = 1) {
        progress.update(done, total, what);
        if (what !== last && !process.stderr.isTTY) process.stderr.write(`${what}\n`);
        last = what;
      },
    });
  } finally {
    progress.close();
    interruption.release();
  }
  const report = buildReport(measured, { title: flags.title, command, createdMs: systemClock.epochMs() });
  const paths = writeReport(flags.output, flags.name, report);
  process.stdout.write(flags.json ? `${JSON.stringify(report, null, 2)}\n` : await describe(report, paths));
}

async function describe({ summary, comparison }: Report, paths: readonly string[]): Promise<string> {
  const { formatDelta } = await import("../../report/index.ts");
  const { formatValue } = await import("../../report/numbers.ts");
  const { a, b, rows } = comparison;
  const table = rows.map((row) => [
    row.name,
    formatValue(row.a, row.unit),
    b === null ? "" : formatValue(row.b, row.unit),
    formatDelta(row.delta),
    row.interpretation,
  ]);
  return `${summary.join("\n")}\n\n${formatTable([["metric", a, b ?? "", "delta", "interpretation"], ...table], [1, 2, 3])}\n${paths.map((path) => `written: ${path}\n`).join("")}`;
}

/** The command as it was typed, for the report. */
export const typedCommand = (): string =>
  ["bitnet", ...process.argv.slice(2)]
    .map((word) => (/^[\w./:=@,+-]+$/.test(word) ? word : JSON.stringify(word)))
    .join(" ");
