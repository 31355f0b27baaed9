/**
 * Holds a report to bench/targets.json: prints each target with what was measured, and exits with 1 where one is missed or
 * was not measured. Plain JavaScript, so that a release needs no build for it.
 *
 *   node scripts/check-targets.js [report.json] [targets.json]
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * @param {{ comparison?: { rows?: { name: string, delta: number | null }[] } }} report
 * @param {{ targets: { metric: string, leastDelta: number }[] }} targets
 * @returns {{ metric: string, least: number, delta: number | null, met: boolean }[]}
 */
export function checkTargets(report, { targets }) {
  if (!Array.isArray(targets) || targets.length === 0)
    throw new Error("there are no targets: nothing would be checked");
  const rows = report.comparison?.rows ?? [];
  return targets.map(({ metric, leastDelta }) => {
    if (typeof metric !== "string" || !Number.isFinite(leastDelta))
      throw new Error(`a target is ${JSON.stringify({ metric, leastDelta })}; expected a metric's name and a number`);
    const delta = rows.find((row) => row.name === metric)?.delta ?? null;
    return { metric, least: leastDelta, delta, met: delta !== null && delta >= leastDelta };
  });
}

/**
 * Which report was read: when it was made, and the commits that measured it. It may be older than what is to be tagged.
 *
 * @param {{ createdMs?: number, models?: { made?: Record<string, { software: { commit: string | null } }> }[] }} report
 */
export function aboutReport({ createdMs, models = [] }) {
  const parts = models.flatMap(({ made }) => Object.values(made ?? {}));
  const commits = [...new Set(parts.map(({ software }) => software.commit?.slice(0, 12) ?? "an unknown commit"))];
  const made = Number.isFinite(createdMs) ? new Date(createdMs).toISOString() : "at an unknown time";
  return `made ${made}, measured by ${commits.join(", ") || "an unknown commit"}`;
}

const percent = (share) => (share === null ? "not measured" : `${(100 * share).toFixed(1)} %`);

if (process.argv[1] && import.meta.url === pathToFileURL(resolve(process.argv[1])).href) {
  const targets = JSON.parse(readFileSync(resolve(root, process.argv[3] ?? "bench/targets.json"), "utf8"));
  const path = resolve(root, process.argv[2] ?? targets.report);
  const report = JSON.parse(readFileSync(path, "utf8"));
  const checked = checkTargets(report, targets);
  console.log(`${path}: ${aboutReport(report)}`);
  for (const { metric, least, delta, met } of checked)
    console.log(`${met ? "met   " : "MISSED"}  ${metric}: ${percent(delta)}, at least ${percent(least)}`);
  const missed = checked.filter(({ met }) => !met).length;
  if (missed > 0) {
    console.log(`${missed} of ${checked.length} targets are missed by ${path}: no version may be tagged`);
    process.exitCode = 1;
  } else console.log(`all ${checked.length} targets are met by ${path}: a version may be tagged`);
}
