/** A service for tests: greets of its own accord and for each message, fails at the beginning or ends its thread. */
import { DataError } from "../../src/platform/errors.ts";
import type { Service } from "../../src/platform/service-worker.ts";

export const serviceUrl = import.meta.url;

export async function createService(setup: string, post: (message: string) => void): Promise<Service<string>> {
  if (setup === "fail") throw new DataError("cannot begin");
  setTimeout(() => post(`${setup}, of my own accord`), 1);
  return {
    receive(message) {
      if (message === "throw")
        setTimeout(() => {
          throw new Error("nobody caught this");
        }, 1);
      else post(`${setup} ${message}`);
    },
  };
}
