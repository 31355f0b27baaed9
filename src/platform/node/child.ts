/**
 * Runs one piece of work in a process of its own, whose memory is then its own: a module that exports `runInChild(input, io)`.
 * Input, result and messages cross as JSON does. The child ends with this process, however that ends, and leaves Ctrl-C to it.
 * Called by study/; knows nothing of what the work is.
 */
import { fork } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { revive, workerSetup, type WorkerSetup } from "./workers.ts";

/** What the work gets beside its input. */
export interface ChildIo {
  /** Sends a message to who started it. */
  send(message: unknown): void;
  /** Aborted when the one that started it was. */
  signal: AbortSignal;
}

/** Messages to and from child-entry.ts. */
export type ToChild = { run: { module: string; input: unknown; setup: WorkerSetup | null } } | { abort: true };
export type FromChild =
  | { message: unknown }
  | { result: unknown }
  | { error: { name: string; message: string; stack?: string } };

/**
 * @param module the module's own import.meta.url
 * @returns what `runInChild` returned @throws what it threw, of its class where it is one of ours; Error where the process ended
 */
export function runInChild<Input, Result>(
  module: string,
  input: Input,
  { signal, onMessage }: { signal?: AbortSignal; onMessage?: (message: unknown) => void } = {},
): Promise<Result> {
  const fromSource = import.meta.url.endsWith(".ts");
  const entry = fileURLToPath(new URL(`./child-entry.${fromSource ? "ts" : "js"}`, import.meta.url));
  // From sources the child needs the loader that runs them.
  const loader = fromSource ? ["--import", pathToFileURL(createRequire(import.meta.url).resolve("tsx")).href] : [];
  const child = fork(entry, [], { execArgv: loader, stdio: ["ignore", "ignore", "inherit", "ipc"] });
  return new Promise<Result>((resolve, reject) => {
    const abort = () => void child.send({ abort: true } satisfies ToChild);
    const settle = (then: () => void) => {
      signal?.removeEventListener("abort", abort);
      then();
    };
    child.on("message", (message: FromChild) => {
      if ("message" in message) onMessage?.(message.message);
      else if ("error" in message) settle(() => reject(revive(message.error)));
      else settle(() => resolve(message.result as Result));
    });
    child.on("error", (error) => settle(() => reject(error)));
    // After a result this changes nothing.
    child.on("exit", (code, killedBy) =>
      settle(() =>
        reject(new Error(`a process of its own ended ${killedBy ? `by ${killedBy}` : `with code ${code}`}`)),
      ),
    );
    child.send({ run: { module, input, setup: workerSetup() } } satisfies ToChild);
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
  });
}
