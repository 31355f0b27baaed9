/** `bitnet diagnose`: what is wrong with a training run, by rules over what its folder records. */
import { Command } from "commander";
import type { Diagnosis } from "../analysis/index.ts";
import { formatTable } from "./support/format.ts";

export function diagnoseCommand(): Command {
  return new Command("diagnose")
    .summary("what is wrong with a training run, why, and what to do")
    .description(
      "Looks for known faults in what a run's folder records: losses, gradients, layers, data, memory. Reads files alone, so a run may be training meanwhile.",
    )
    .argument("<run>", "a run's folder")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The exit code is 0 whether something was found or not. docs/diagnosis.md lists the rules with their limits.

Examples:
  bitnet diagnose runs/a
  bitnet diagnose runs/a --json`,
    )
    .action(run);
}

async function run(folder: string, { json }: { json?: boolean }): Promise<void> {
  const { diagnoseRun } = await import("../analysis/index.ts");
  const result = diagnoseRun(folder);
  process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : describe(result));
}

function describe({ folder, step, steps, rules, findings }: Diagnosis): string {
  const head = `${folder}: step ${step} of ${steps}; ${rules.length} rules, `;
  if (findings.length === 0) return `${head}none of them found anything\n`;
  const tables = findings.map(({ rule, what, figure, why, advice }) =>
    formatTable([
      [rule, what],
      ["  seen", figure],
      ["  why", why],
      ["  do", advice],
    ]),
  );
  return `${head}${findings.length} found something\n\n${tables.join("\n")}`;
}
