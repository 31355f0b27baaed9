// Oracle: names written down by hand.
import { expect, test } from "vitest";
import { namesOf } from "./report-options.ts";

test("models of one name are told apart by a file's ending, else by a number", () => {
  expect(namesOf(["runs/a", "x/b.gguf"])).toEqual(["a", "b"]);
  expect(namesOf(["runs/c", "c.gguf", "out/c.bitnet"])).toEqual(["c", "c.gguf", "c.bitnet"]);
  expect(namesOf(["a/tiny", "b/tiny", "b/tiny/checkpoints/step_000004"])).toEqual(["tiny (1)", "tiny (2)", "tiny (3)"]);
});
