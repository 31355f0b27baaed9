/**
 * A pool of worker threads that run one kind of job. The module with the work exports `createHandler(setup)`, called once
 * in each worker; the handler then gets the jobs. Setup, jobs and results cross by structured clone; what is large is
 * transferred. Knows nothing of what the jobs are.
 *
 * `threads: 0` runs the jobs in this thread, one after another: an explicit choice of the caller's, never a fallback.
 * From TypeScript sources (tests, tsx) the workers run through tsx, from dist as they are.
 */
import { setMaxListeners } from "node:events";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import * as errors from "../errors.ts";

/** What a handler gives back; `transfer` lists buffers in `result` to move rather than copy. */
export interface JobOutcome<Result> {
  result: Result;
  transfer?: ArrayBuffer[];
}

export type JobHandler<Job, Result> = (job: Job) => JobOutcome<Result> | Promise<JobOutcome<Result>>;

export interface WorkerModule<Setup, Job, Result> {
  /** The module's own import.meta.url. */
  url: string;
  /** Makes the handler where there are no threads: what the module exports by this name, or its equal. */
  createHandler(setup: Setup): JobHandler<Job, Result> | Promise<JobHandler<Job, Result>>;
}

export interface WorkerPool<Job, Result> {
  readonly threads: number;
  /**
   * Runs a job on the next free worker; jobs start in the order of the calls. What the handler throws, this throws
   * (errors of platform/errors.ts keep their class). An aborted signal throws its reason at once, and the worker, if
   * the job was running, is stopped and replaced.
   */
  run(job: Job, options?: { transfer?: ArrayBuffer[]; signal?: AbortSignal }): Promise<Result>;
  /** Stops the workers; jobs not done are refused. */
  close(): Promise<void>;
}

/** Messages to and from worker-entry.ts. */
export type ToWorker = { job: unknown };
export type FromWorker = { result: unknown } | { error: { name: string; message: string; stack?: string } };

interface Task {
  job: unknown;
  transfer: ArrayBuffer[];
  resolve(value: unknown): void;
  reject(reason: unknown): void;
}

/** @throws UsageError for a thread count that is none */
export function createWorkerPool<Setup, Job, Result>(
  module: WorkerModule<Setup, Job, Result>,
  setup: Setup,
  { threads }: { threads: number },
): WorkerPool<Job, Result> {
  if (!Number.isInteger(threads) || threads < 0 || threads > 1024)
    throw new errors.UsageError(`${threads} worker threads; expected a whole number from 0 (this thread) to 1024`);
  return threads === 0 ? runHere(module, setup) : runInWorkers(module, setup, threads);
}

function runHere<Setup, Job, Result>(module: WorkerModule<Setup, Job, Result>, setup: Setup): WorkerPool<Job, Result> {
  let handler: Promise<JobHandler<Job, Result>> | undefined;
  let before: Promise<unknown> = Promise.resolve();
  let closed = false;
  return {
    threads: 0,
    run(job, { signal } = {}) {
      const work = async () => {
        signal?.throwIfAborted();
        if (closed) throw closedError();
        handler ??= Promise.resolve(module.createHandler(setup));
        return (await (await handler)(job)).result;
      };
      const done = before.then(work);
      before = done.catch(() => {});
      return done;
    },
    async close() {
      closed = true;
    },
  };
}

const closedError = () => new Error("worker pool: closed before the job was done");

function runInWorkers<Setup, Job, Result>(
  module: WorkerModule<Setup, Job, Result>,
  setup: Setup,
  threads: number,
): WorkerPool<Job, Result> {
  const idle: Worker[] = [];
  const busy = new Map<Worker, Task>();
  const waiting: Task[] = [];
  /** All that were started and are not stopped: `busy` forgets a worker whose job was refused, which still runs it. */
  const alive = new Set<Worker>();
  /** Why no job can run any more. */
  let ended: unknown;

  function end(reason: unknown): void {
    ended ??= reason;
    for (const task of [...busy.values(), ...waiting.splice(0)]) task.reject(ended);
    busy.clear();
  }

  function start(): void {
    const worker = startWorker({ module: module.url, setup });
    worker.unref(); // an idle pool keeps no process alive
    idle.push(worker);
    alive.add(worker);
    worker.on("message", (message: FromWorker) => {
      const task = busy.get(worker);
      if (!task) return;
      busy.delete(worker);
      worker.unref();
      idle.push(worker);
      if ("error" in message) task.reject(revive(message.error));
      else task.resolve(message.result);
      next();
    });
    // A handler's errors come as messages: this one is the worker's own end (its module does not load, memory ran out).
    const fail = (cause: unknown) => {
      alive.delete(worker);
      if (!busy.has(worker) && !idle.includes(worker)) return; // stopped by us
      end(cause);
      void close();
    };
    worker.on("error", fail);
    worker.on("exit", (code) => fail(new Error(`worker pool: a worker ended with code ${code}`)));
  }

  function next(): void {
    while (waiting.length > 0) {
      if (idle.length === 0 && busy.size < threads) start();
      const worker = idle.pop();
      if (!worker) return;
      const task = waiting.shift()!;
      busy.set(worker, task);
      worker.ref();
      try {
        worker.postMessage({ job: task.job } satisfies ToWorker, task.transfer);
      } catch (error) {
        // Not cloneable: nothing was sent.
        busy.delete(worker);
        worker.unref();
        idle.push(worker);
        task.reject(error);
      }
    }
  }

  async function close(): Promise<void> {
    end(closedError());
    idle.length = 0;
    await Promise.all([...alive].map((worker) => worker.terminate()));
  }

  return {
    threads,
    run(job, { transfer = [], signal } = {}) {
      return new Promise<Result>((resolve, reject) => {
        if (ended !== undefined) return reject(ended);
        if (signal?.aborted) return reject(signal.reason);
        const stopListening = () => signal?.removeEventListener("abort", onAbort);
        const task: Task = {
          job,
          transfer,
          resolve(value) {
            stopListening();
            resolve(value as Result);
          },
          reject(reason) {
            stopListening();
            reject(reason);
          },
        };
        function onAbort(): void {
          const place = waiting.indexOf(task);
          if (place >= 0) waiting.splice(place, 1);
          for (const [worker, running] of busy) {
            if (running !== task) continue;
            busy.delete(worker);
            void worker.terminate();
          }
          task.reject(signal?.reason);
          next();
        }
        // One listener for each job that waits: many are no leak, and need no warning from Node.
        if (signal) setMaxListeners(0, signal);
        signal?.addEventListener("abort", onAbort);
        waiting.push(task);
        next();
      });
    },
    close,
  };
}

/** A module that every worker loads before the one with its work, and what its `setUpWorker` is called with. */
export interface WorkerSetup {
  url: string;
  value: unknown;
}

let everyWorker: WorkerSetup | null = null;

/** From now on every new worker thread, and every one that those start, calls `setUpWorker(value)` of the module first. */
export function setUpEveryWorker(setup: WorkerSetup): void {
  everyWorker = setup;
}

/** What `setUpEveryWorker` was last called with: for processes, which are set up in the same way. */
export const workerSetup = (): WorkerSetup | null => everyWorker;

/** For files beside this: a thread that runs one of the entries here. */
export function startWorker(
  work: { module: string; setup: unknown },
  entryName: "worker-entry" | "service-entry" = "worker-entry",
  heapMb?: number,
): Worker {
  const workerData = { ...work, everyWorker };
  const limits = heapMb === undefined ? {} : { resourceLimits: { maxOldGenerationSizeMb: heapMb } };
  const fromSource = import.meta.url.endsWith(".ts");
  if (!fromSource) return new Worker(new URL(`./${entryName}.js`, import.meta.url), { workerData, ...limits });
  // A worker does not inherit the loader that runs these sources, so it gets one of its own.
  const entry = new URL(`./${entryName}.ts`, import.meta.url).href;
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve("tsx/package.json"));
  const loader = new URL("./dist/esm/api/index.mjs", tsx).href;
  const code = `import(${JSON.stringify(loader)}).then(({ register }) => {
    register();
    return import(${JSON.stringify(entry)});
  })`;
  return new Worker(code, { eval: true, workerData, execArgv: [], ...limits });
}

/** In a worker, before its work: what `setUpEveryWorker` asked for in the thread that started it. */
export async function setUpThisWorker(setup: WorkerSetup | null): Promise<void> {
  if (setup) await (await import(setup.url)).setUpWorker(setup.value);
}

/** An error that crossed from a worker, of its class where it is one of ours. */
export function revive({ name, message, stack }: { name: string; message: string; stack?: string }): Error {
  const known = (errors as Record<string, unknown>)[name];
  const error =
    typeof known === "function" ? new (known as new (message: string) => Error)(message) : new Error(message);
  if (stack) error.stack = stack;
  return error;
}
