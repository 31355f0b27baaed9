/**
 * One worker thread that lives long and talks both ways: what workers.ts is for jobs, this is for a service that sends of
 * its own accord (an engine that streams). The module with the work exports `createService(setup, post)`; messages cross by
 * structured clone. Knows nothing of what they say.
 *
 * `thread: false` runs the service in this thread: an explicit choice of the caller's (tests, embedding), never a fallback.
 */
import { revive, startWorker } from "./workers.ts";

export interface Service<In> {
  receive(message: In): void;
}

export interface ServiceModule<Setup, In, Out> {
  /** The module's own import.meta.url. */
  url: string;
  createService(setup: Setup, post: (message: Out) => void): Service<In> | Promise<Service<In>>;
}

export interface ServiceWorker<In> {
  post(message: In): void;
  /** Ends the thread at once. A service that has something to put away is asked to first, by a message. */
  terminate(): Promise<void>;
}

export interface ServiceOptions<Out> {
  /** False: in this thread. */
  thread: boolean;
  onMessage(message: Out): void;
  /** The thread ended by itself: an error that nobody caught, or memory ran out. */
  onEnd(error: Error): void;
}

/** Messages of service-entry.ts, around the service's own. */
export type FromService =
  | { ready: true }
  | { failed: { name: string; message: string; stack?: string } }
  | { message: unknown };

/** Starts a service; resolves when `createService` has. @throws what it throws, of its class where that is one of ours */
export async function startService<Setup, In, Out>(
  module: ServiceModule<Setup, In, Out>,
  setup: Setup,
  options: ServiceOptions<Out>,
): Promise<ServiceWorker<In>> {
  if (!options.thread) return startHere(module, setup, options);
  const worker = startWorker({ module: module.url, setup }, "service-entry");
  let ready = false;
  let stopped = false;
  await new Promise<void>((resolve, reject) => {
    worker.on("message", (message: FromService) => {
      if ("ready" in message) {
        ready = true;
        resolve();
      } else if ("failed" in message) {
        stopped = true;
        void worker.terminate();
        reject(revive(message.failed));
      } else options.onMessage(message.message as Out);
    });
    const ended = (cause: unknown) => {
      if (stopped) return;
      stopped = true;
      const error = cause instanceof Error ? cause : new Error(String(cause));
      if (ready) options.onEnd(error);
      else reject(error);
    };
    worker.on("error", ended);
    worker.on("exit", (code) => ended(new Error(`service worker: its thread ended with code ${code}`)));
  });
  return {
    post: (message) => worker.postMessage(message),
    async terminate() {
      stopped = true;
      await worker.terminate();
    },
  };
}

async function startHere<Setup, In, Out>(
  module: ServiceModule<Setup, In, Out>,
  setup: Setup,
  options: ServiceOptions<Out>,
): Promise<ServiceWorker<In>> {
  let stopped = false;
  // A message arrives in another turn, as between threads.
  const later = (deliver: () => void) =>
    setImmediate(() => {
      if (!stopped) deliver();
    });
  const service = await module.createService(setup, (message) => later(() => options.onMessage(message)));
  return {
    post: (message) => later(() => service.receive(message)),
    async terminate() {
      stopped = true;
    },
  };
}
