/** Facts about this process and machine that a run writes down. Nothing is sent anywhere. */
import { readFileSync } from "node:fs";
import { arch, cpus, hostname, platform, release, totalmem } from "node:os";
import { packageFile } from "./machine.ts";

/** Memory that this process holds in RAM now. */
export const residentBytes = (): number => process.memoryUsage.rss();

/** The most it ever held. */
export const peakResidentBytes = (): number => process.resourceUsage().maxRSS * 1024;

/** Milliseconds of processor time, summed over processors, since some fixed moments: differences of two of these mean something. */
export interface ProcessorTimes {
  /** Of all processors, idle or not. */
  allMs: number;
  /** Of all programs together, this one among them. */
  busyMs: number;
  /** Of this process and its threads. */
  ownMs: number;
}

export function processorTimes(): ProcessorTimes {
  const { user, system } = process.cpuUsage();
  const sum = { allMs: 0, busyMs: 0, ownMs: (user + system) / 1000 };
  for (const { times } of cpus()) {
    const busy = times.user + times.nice + times.sys + times.irq;
    sum.busyMs += busy;
    sum.allMs += busy + times.idle;
  }
  return sum;
}

export interface MachineFacts {
  system: string;
  processor: string;
  processors: number;
  memoryBytes: number;
  node: string;
}

export function describeMachine(): MachineFacts {
  const processors = cpus();
  return {
    system: `${platform()} ${release()} ${arch()}`,
    processor: processors[0]?.model.trim() ?? "unknown",
    processors: processors.length,
    memoryBytes: totalmem(),
    node: process.version,
  };
}

/** Names this process among those that write to one folder: host and process id. */
export const processName = (): { host: string; pid: number } => ({ host: hostname(), pid: process.pid });

/** This package's version and, in a clone, the commit that is checked out (null in an installed package). */
export function packageVersion(): { version: string; commit: string | null } {
  const { version } = JSON.parse(readFileSync(packageFile("package.json"), "utf8")) as { version: string };
  return { version, commit: checkedOutCommit() };
}

function checkedOutCommit(): string | null {
  const read = (name: string) => readFileSync(packageFile(`.git/${name}`), "utf8").trim();
  try {
    const head = read("HEAD");
    const ref = /^ref: (.+)$/.exec(head)?.[1];
    if (!ref) return head;
    try {
      return read(ref);
    } catch {
      const line = read("packed-refs")
        .split("\n")
        .find((entry) => entry.endsWith(` ${ref}`));
      return line?.split(" ")[0] ?? null;
    }
  } catch {
    return null; // no clone, or a worktree whose .git is a file: the commit is unknown
  }
}
