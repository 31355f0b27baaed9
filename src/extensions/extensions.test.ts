// What an extension may bring, and what happens where a part of it is refused. Its parts at work: train/extensions.test.ts,
// test/examples. Oracle: the lists themselves, as they were before.
import { expect, test } from "vitest";
import { filterNames, lengthFilter } from "../corpus/index.ts";
import { likelihoodTasks, taskNames } from "../eval/index.ts";
import { estimators } from "../nn/index.ts";
import { objectiveKinds } from "../train/objectives.ts";
import { nextToken } from "../train/objectives/next-token.ts";
import { defineObjective } from "../train/objectives/objective.ts";
import { useExtension, z } from "./index.ts";

test("of an extension with a part that is refused, no part stays, and the names are free", () => {
  const mine = {
    estimators: [{ name: "atomic", op: null }],
    objectives: [defineObjective({ name: "atomic", create: nextToken.create })],
    tasks: [{ ...likelihoodTasks[0], name: "atomic" }],
    filters: [{ name: "atomic", about: "", schema: z.strictObject({}), make: () => lengthFilter() }],
  };
  const before = [estimators.names, objectiveKinds.names, taskNames, filterNames].map((names) => [...names]);
  // Filters are added last: all others are in by then.
  expect(() => useExtension({ ...mine, filters: [...mine.filters, ...mine.filters] })).toThrow(
    /filter "atomic" exists already/,
  );
  expect([estimators.names, objectiveKinds.names, taskNames, filterNames]).toEqual(before);
  useExtension(mine);
  expect([estimators, objectiveKinds].map((list) => list.has("atomic"))).toEqual([true, true]);
  expect([taskNames, filterNames].map((names) => names.at(-1))).toEqual(["atomic", "atomic"]);
});
