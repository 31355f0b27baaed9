/** A module for worker pools to run in tests: greets, fails, hangs or ends its thread, as the job says. */
import { threadId } from "node:worker_threads";
import { DataError } from "../../src/platform/errors.ts";
import type { JobHandler } from "../../src/platform/workers.ts";

export const workerUrl = import.meta.url;

export function createHandler({ greeting }: { greeting: string }): JobHandler<string, string> {
  return (job) => {
    if (job === "fail") throw new DataError(`no such name: ${job}`);
    if (job === "exit") process.exit(3);
    while (job === "forever");
    return { result: `${greeting} ${job} on thread ${threadId}` };
  };
}
