// Oracle: the state that a run saves, with one field taken away or spoilt.
import { expect, test } from "vitest";
import { FormatError } from "../platform/errors.ts";
import { readTrainingState } from "./saved-state.ts";

const good = {
  ...{ step: 4, updates: 4, totalTokens: 64, skippedSteps: 0, skippedInRow: 0, data: {}, random: [1, 2, 3, 4] },
  callbacks: { metrics: { mean: 1, missing: 0.5, totalTokens: 64 }, mine: "of a program's own" },
};

test("a state that was saved passes as it is", () => {
  expect(readTrainingState("step_000004", good)).toBe(good);
});

test.for<[string, object]>([
  ["training.data: expected object, but it is missing", { data: undefined }],
  ["training.random: ", { random: undefined }],
  ["training.random: is all zeros", { random: [0, 0, 0, 0] }],
  ["training.callbacks.metrics: ", { callbacks: { metrics: null } }],
  ["training.callbacks.summary.epochs: ", { callbacks: { summary: {} } }],
  ["training.step: ", { step: -1 }],
])("a state without sense is refused in one line: %s", ([words, change]) => {
  const read = () => readTrainingState("step_000004", { ...good, ...change });
  expect(read).toThrow(FormatError);
  expect(read).toThrow(`step_000004: its trainer_state.json is damaged: ${words}`);
});
