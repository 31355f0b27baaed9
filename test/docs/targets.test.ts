// Oracle: the targets file itself, and reports with chosen deltas.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { buildReport, metricsOf } from "../../src/report/index.ts";
import { madeUpMeasurement } from "../support/measurements.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const root = resolve(import.meta.dirname, "../..");
const targets = JSON.parse(readFileSync(join(root, "bench/targets.json"), "utf8"));

function check(deltas: Record<string, number | null>) {
  const path = join(temporaryFolder(), "report.json");
  const rows = Object.entries(deltas).map(([name, delta]) => ({ name, delta }));
  writeFileSync(path, JSON.stringify({ comparison: { rows } }));
  const { status, stdout } = spawnSync(process.execPath, [join(root, "scripts/check-targets.js"), path], {
    encoding: "utf8",
  });
  return { status, stdout };
}

const all = (by: number) =>
  Object.fromEntries(
    targets.targets.map(({ metric, leastDelta }: { metric: string; leastDelta: number }) => [metric, leastDelta + by]),
  );

test("targets that are met just so let a release through", () => {
  expect(check(all(0)).status).toBe(0);
});

test("one target missed, or one that was not measured, holds it back and is named", () => {
  const missed = check({ ...all(0), "bits per byte": -0.5 });
  expect(missed.status).toBe(1);
  expect(missed.stdout).toContain("MISSED  bits per byte: -50.0 %");
  expect(missed.stdout).toContain(`1 of ${targets.targets.length} targets are missed`);
  expect(missed.stdout).toContain("no version may be tagged");
  expect(check({ ...all(0), "writing (tg128)": null })).toMatchObject({ status: 1 });
  expect(check({}).stdout).toContain("not measured");
});

test("the gate says when the report was made, and by which commits it was measured", () => {
  const path = join(temporaryFolder(), "report.json");
  const models = [madeUpMeasurement("bitnet"), madeUpMeasurement("full")];
  writeFileSync(path, JSON.stringify(buildReport(models, { createdMs: 1.7e12, command: "bitnet report" })));
  const { stdout } = spawnSync(process.execPath, [join(root, "scripts/check-targets.js"), path], { encoding: "utf8" });
  expect(stdout).toContain(`${path}: made 2023-11-14T22:13:20.000Z, measured by cccccccccccc\n`);
});

test("every target names a metric that a report has", () => {
  const names = metricsOf(madeUpMeasurement("bitnet")).map(({ name }) => name);
  for (const { metric } of targets.targets) expect(names).toContain(metric);
});
