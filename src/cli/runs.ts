/** `bitnet runs`: the runs in a folder, in the order in which they were begun. */
import { Command } from "commander";
import type { ListedRun } from "../train/index.ts";
import { formatBytes, formatCount, formatTable } from "./support/format.ts";

export function runsCommand(): Command {
  return new Command("runs")
    .summary("list training runs: state, steps, best loss, size")
    .description(
      "Lists the training runs in a folder, oldest first: state (running, finished, stopped, damaged), steps, best validation loss, checkpoints and size.",
    )
    .argument("[folder]", "folder that holds the runs", "runs")
    .option("--json", "print a JSON array, with times and every checkpoint")
    .addHelpText(
      "after",
      `
A stopped run ended before its last step; bitnet train --resume RUN continues it. -m FOLDER, with any command that reads a
model, takes the newest run in a folder of runs.

Examples:
  bitnet runs
  bitnet runs compare/runs --json`,
    )
    .action(async (folder: string, { json }: { json?: boolean }) => {
      const { listRuns } = await import("../train/index.ts");
      const runs = listRuns(folder);
      if (json) process.stdout.write(`${JSON.stringify(runs, null, 2)}\n`);
      else if (runs.length === 0) process.stderr.write(`bitnet: ${folder}: holds no runs\n`);
      else process.stdout.write(describe(runs));
    });
}

function describe(runs: readonly ListedRun[]): string {
  const rows = runs.map(({ folder, state, step, steps, best, checkpoints, sizeBytes, reason }) => [
    folder,
    state,
    `${formatCount(step)}${steps === null ? "" : `/${formatCount(steps)}`}`,
    best ? `${best.loss.toFixed(4)} at ${formatCount(best.step)}` : "-",
    String(checkpoints.length),
    formatBytes(sizeBytes),
    reason ?? "",
  ]);
  return formatTable([["run", "state", "steps", "best val_loss", "checkpoints", "size", ""], ...rows], [2, 4, 5]);
}
