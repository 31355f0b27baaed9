/** What a worker of workers.ts runs: imports the module with the work, then answers each job with a result or an error. */
import { parentPort, workerData } from "node:worker_threads";
import { type FromWorker, type JobHandler, setUpThisWorker, type ToWorker, type WorkerSetup } from "./workers.ts";

const { module, setup, everyWorker } = workerData as {
  module: string;
  setup: unknown;
  everyWorker: WorkerSetup | null;
};

// Jobs that come before the handler is ready wait on this.
const handler: Promise<JobHandler<unknown, unknown>> = setUpThisWorker(everyWorker)
  .then(() => import(module))
  .then((exports) => exports.createHandler(setup));

parentPort!.on("message", async ({ job }: ToWorker) => {
  try {
    const { result, transfer } = await (await handler)(job);
    parentPort!.postMessage({ result } satisfies FromWorker, transfer ?? []);
  } catch (cause) {
    const { name, message, stack } = cause instanceof Error ? cause : new Error(String(cause));
    parentPort!.postMessage({ error: { name, message, stack } } satisfies FromWorker);
  }
});
