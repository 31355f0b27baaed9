// Oracle: the order that turns have: promises that are ready, then what the system has waiting, then us.
import { expect, onTestFinished, test, vi } from "vitest";

test.for(["setImmediate", "MessageChannel"])("a turn by %s lets a timer that is due come first", async (way) => {
  if (way === "MessageChannel") vi.stubGlobal("setImmediate", undefined);
  onTestFinished(() => void vi.unstubAllGlobals());
  vi.resetModules();
  const { nextTurn } = await import("./turn.ts");
  let due = false;
  setTimeout(() => {
    due = true;
  });
  // Of a loop of turns each lets something in; none waits for more than it needs.
  let turns = 0;
  while (!due && turns < 1e6) {
    await nextTurn();
    turns++;
  }
  expect(due).toBe(true);
  const order: string[] = [];
  await Promise.all([
    nextTurn().then(() => order.push("turn")),
    nextTurn().then(() => order.push("next turn")),
    Promise.resolve().then(() => order.push("promise")),
  ]);
  expect(order).toEqual(["promise", "turn", "next turn"]);
});
