/** What a worker of service-worker.ts runs: imports the module with the service and passes messages both ways. */
import { parentPort, workerData } from "node:worker_threads";
import type { FromService, Service } from "./service-worker.ts";
import { setUpThisWorker, type WorkerSetup } from "./workers.ts";

const { module, setup, everyWorker } = workerData as {
  module: string;
  setup: unknown;
  everyWorker: WorkerSetup | null;
};
const send = (message: FromService) => parentPort!.postMessage(message);

// Messages that come before the service is ready wait on this.
const service: Promise<Service<unknown> | null> = setUpThisWorker(everyWorker)
  .then(() => import(module))
  .then((exports) => exports.createService(setup, (message: unknown) => send({ message })))
  .then(
    (made) => {
      send({ ready: true });
      return made;
    },
    (cause) => {
      const { name, message, stack } = cause instanceof Error ? cause : new Error(String(cause));
      send({ failed: { name, message, stack } });
      return null;
    },
  );

parentPort!.on("message", async (message: unknown) => {
  (await service)?.receive(message);
});
