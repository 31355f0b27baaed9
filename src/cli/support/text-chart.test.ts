// Oracle: charts drawn by hand, eighth by eighth.
import { expect, test } from "vitest";
import { drawChart, drawLines } from "./text-chart.ts";

test("a chart goes from 0 to the highest value, in eighths of a line, with both at its side", () => {
  const values = [0, 0.25, 0.5, 0.75, 1, 0.5];
  expect(drawChart({ name: "ramp", values }, { rows: 2, from: "1", to: "6" })).toEqual([
    "ramp",
    "1 │   ▄█",
    "0 │ ▄████",
    "  └──────",
    "   1    6",
  ]);
});

test("a value that stays is a sentence; what is not known is blank; nothing known is said", () => {
  expect(drawChart({ name: "weight decay", values: [0.1, 0.1] })).toEqual(["weight decay: 0.1 throughout"]);
  expect(drawChart({ name: "x", values: [Number.NaN, 4] }, { rows: 1 })[1]).toBe("4 │ █");
  expect(drawChart({ name: "x", values: [Number.NaN] })).toEqual(["x: none"]);
});

test("lines of groups stand below each other behind their names", () => {
  expect(
    drawLines([
      { name: "a", values: [0, 0.5, 1] },
      { name: "long", values: [0, 0, 1] },
    ]),
  ).toEqual(["a    │ ▄█", "long │  █"]);
});
