// Oracle: the words as they were typed.
import { expect, test } from "vitest";
import { takeExtensions } from "./extensions.ts";

test("takes the option out of the line, wherever it stands, and keeps the rest in order", () => {
  const words = ["train", "--extension", "a.mjs", "tiny", "--extension=b.mjs", "--steps", "5"];
  expect(takeExtensions(words)).toEqual({ rest: ["train", "tiny", "--steps", "5"], modules: ["a.mjs", "b.mjs"] });
});

test("the variable's modules come first; what follows -- is not looked at", () => {
  const { rest, modules } = takeExtensions(["run", "--extension", "c.mjs", "--", "--extension", "d"], "a.mjs,b.mjs");
  expect(modules).toEqual(["a.mjs", "b.mjs", "c.mjs"]);
  expect(rest).toEqual(["run", "--", "--extension", "d"]);
});

test("refuses an option without its module", () => {
  for (const words of [
    ["train", "--extension"],
    ["train", "--extension="],
    ["--extension", "--steps", "5"],
  ])
    expect(() => takeExtensions(words)).toThrow(/--extension: names no module/);
});
