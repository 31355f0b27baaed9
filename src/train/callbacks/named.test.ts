// Oracle: one line that names the callback, the event and what was thrown; the callback's own behavior for the rest.
import { expect, test } from "vitest";
import { smallRun } from "../../../test/support/small-run.ts";
import { CallbackError, FileError, UsageError } from "../../platform/errors.ts";
import type { Callback } from "../events.ts";
import { runTraining } from "../trainer.ts";
import { named } from "./named.ts";

const throwing = (type: string, error: unknown): Callback =>
  named({
    name: "mine",
    on(event) {
      if (event.type === type) throw error;
    },
  });
const run = (callback: Callback) => runTraining(smallRun({ steps: 3, callbacks: [callback] })).catch((e: unknown) => e);

test("an error nobody foresaw names the callback, the event and the step, and keeps its cause", async () => {
  const cause = new TypeError("x is undefined");
  const error = await run(throwing("gradients", cause));
  expect(error).toBeInstanceOf(CallbackError);
  expect(error).toMatchObject({
    message: 'callback "mine" failed at the gradients event of step 1: x is undefined; --debug shows where',
    cause,
  });
  expect(((await run(throwing("start", "words"))) as Error).message).toContain("at the start event of step 0: words");
});

test("wrong usage stays that, with the callback's name; our other errors stay as they are", async () => {
  const usage = (await run(throwing("step", new UsageError("lambda is 2")))) as Error;
  expect(usage).toBeInstanceOf(UsageError);
  expect(usage.message).toBe('callback "mine", at the step event of step 1: lambda is 2');
  const file = new FileError("disk full");
  expect(await run(throwing("step", file))).toBe(file);
});

test("state, restore and close are named too, and absent where the callback has none", () => {
  const fail = () => {
    throw new Error("no");
  };
  const all = named({ name: "mine", on: () => {}, state: fail, restore: fail, close: fail });
  expect(() => all.state?.()).toThrow(/callback "mine" failed in state\(\): no/);
  expect(() => all.restore?.({})).toThrow(/in restore\(\)/);
  expect(() => all.close?.()).toThrow(/in close\(\)/);
  const plain = named({ name: "mine", on: () => {} });
  expect([plain.state, plain.restore, plain.close]).toEqual([undefined, undefined, undefined]);
});
