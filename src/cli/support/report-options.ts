/** What `report` and `compare` share: options of measuring, names of models, progress, and the end. */
import type { Command } from "commander";
import type { MeasureOptions, ModelMeasurement, Report } from "../../report/index.ts";
import { formatTable } from "./format.ts";
import { listenForInterrupts } from "./interrupt.ts";
import { modelName } from "./model-name.ts";
import { type BackendOptions, backendChoice, wholeNumber } from "./options.ts";
import { createProgressLine } from "./progress.ts";

export interface ReportFlags extends BackendOptions {
  output: string;
  name: string;
  title?: string;
  maxTokens?: number;
  task?: string[];
  taskData?: string;
  limit?: number;
  speed: boolean;
  samples: number;
  fresh?: boolean;
  cacheDir: string;
  json?: boolean;
}

const names = (text: string): string[] => text.split(",").filter((name) => name !== "");

/** @param folder default of --output */
export function addReportOptions(command: Command, folder: string): Command {
  return command
    .option("-o, --output <folder>", "where the report is written", folder)
    .option("--name <stem>", "of the files: <stem>.html, .json and .md", "report")
    .option("--title <text>", "of the page; else the models' names")
    .option("--max-tokens <n>", "score only the first n tokens of the text", wholeNumber(1))
    .option("--task <names>", "also run these tasks of lm-evaluation-harness, with commas between", names)
    .option("--task-data <path>", "file of the task, or folder with a file for each")
    .option("--limit <n>", "of each task only the first n items", wholeNumber(1))
    .option("--no-speed", "do not time the models")
    .option("--samples <n>", "of each speed and model", wholeNumber(2), 6)
    .option("--fresh", "measure everything again, even where <output>/measurements has it")
    .option("--cache-dir <folder>", "where encoded text is kept", "runs/cache")
    .option("--json", "print the report as JSON too");
}

/** Short names of paths, no two the same: the last folder's, with those above it where that is not enough. */
export function namesOf(paths: readonly string[]): string[] {
  const short = paths.map(modelName);
  return short.map((name, i) => {
    const twins = short.flatMap((other, k) => (other === name ? [k] : []));
    return twins.length === 1 ? name : `${name} (${twins.indexOf(i) + 1})`;
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
  const { UsageError } = await import("../../platform/errors.ts");
  const { findTask } = await import("../../eval/index.ts");
  for (const task of flags.task ?? []) findTask(task); // a wrong name is said before anything is measured
  if (flags.taskData !== undefined && flags.task === undefined)
    throw new UsageError("--task-data has no meaning without --task");
  if (flags.limit !== undefined && flags.task === undefined)
    throw new UsageError("--limit has no meaning without --task");
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
      tasks: flags.task && {
        names: flags.task,
        files: { path: flags.taskData, cacheDir: flags.cacheDir, hub: { signal: interruption.signal } },
        limit: flags.limit,
        batch: 8,
      },
      speed: flags.speed ? { samples: flags.samples } : null,
      store: createStore(joinPath(flags.output, "measurements"), { fresh: flags.fresh }),
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
