// Oracle: the contract in service-worker.ts. The service is the module below, run through tsx where tests run from sources.
import { describe, expect, test } from "vitest";
import { createService, serviceUrl } from "../../test/support/test-service.ts";
import { DataError } from "./errors.ts";
import { equalSecrets, randomHex } from "./secrets.ts";
import { startService } from "./service-worker.ts";

const start = async (thread: boolean, setup: string) => {
  const messages: string[] = [];
  let wake = () => {};
  let ended: Error | null = null;
  const worker = await startService({ url: serviceUrl, createService }, setup, {
    thread,
    onMessage: (message: string) => {
      messages.push(message);
      wake();
    },
    onEnd: (error) => {
      ended = error;
      wake();
    },
  });
  const next = async (): Promise<string | Error> => {
    while (messages.length === 0 && !ended)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    return messages.shift() ?? ended!;
  };
  return { worker, next };
};

describe.for([false, true])("on a thread of its own: %s", (thread) => {
  test("messages go both ways, and the service speaks of its own accord", async () => {
    const { worker, next } = await start(thread, "hello");
    expect(await next()).toBe("hello, of my own accord");
    worker.post("one");
    worker.post("two");
    expect([await next(), await next()]).toEqual(["hello one", "hello two"]);
    await worker.terminate();
  });

  test("what the beginning throws is thrown here, with its class", async () => {
    const error = await start(thread, "fail").catch((cause) => cause);
    expect(error).toBeInstanceOf(DataError);
    expect(error.message).toBe("cannot begin");
  });
});

test("a thread that ends by itself is told", async () => {
  const { worker, next } = await start(true, "hello");
  await next();
  worker.post("throw");
  expect(await next()).toMatchObject({ message: "nobody caught this" });
});

test("secrets are compared whole, and names are as long as asked", () => {
  expect(equalSecrets("key", "key")).toBe(true);
  for (const other of ["", "ke", "keys", "kez", "KEY"]) expect(equalSecrets("key", other)).toBe(false);
  expect(randomHex(12)).toMatch(/^[0-9a-f]{24}$/);
  expect(randomHex(12)).not.toBe(randomHex(12));
});
