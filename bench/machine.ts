/** What a result must say of where it came from: machine, commit, command. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os";
import { resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");

export interface Provenance {
  date: string;
  commit: string;
  command: string;
  /** Of the last minute, as the run began: what else the machine was doing. */
  loadAverage?: number;
  machine: { cpu: string; cores: number; memoryGiB: number; system: string; node: string };
}

export function provenance(command: string): Provenance {
  const git = (...args: string[]) => {
    try {
      return execFileSync("git", args, { encoding: "utf8", cwd: root, stdio: ["ignore", "pipe", "ignore"] }).trim();
    } catch {
      return "";
    }
  };
  const dirty = git("status", "--porcelain", "--", "src", "native", "bench") ? "+changes" : "";
  return {
    date: new Date().toISOString(),
    commit: (git("rev-parse", "--short", "HEAD") || "unknown") + dirty,
    command,
    loadAverage: Math.round(loadavg()[0] * 100) / 100,
    machine: {
      cpu: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      system: `${platform()} ${release()} ${arch()}`,
      node: process.version,
    },
  };
}

/** Where results go: those of a trial (`--quick`) beside the build, so that no document is ever made of them. */
export const resultsFolder = (trial: boolean) => (trial ? "build/bench-quick" : "bench/results");

/** Writes <name>.json into the folder of results and says where. */
export function writeResult(name: string, result: object, trial = false): void {
  const folder = resultsFolder(trial);
  mkdirSync(resolve(root, folder), { recursive: true });
  writeFileSync(resolve(root, folder, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`);
  console.log(`written: ${folder}/${name}.json`);
}

export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
