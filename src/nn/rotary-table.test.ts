// Oracle: rotaryTable of the whole context (ops/rotary/reference.ts), bit for bit.
import { expect, test } from "vitest";
import { createReferenceBackend } from "../backends/index.ts";
import { RotaryAngles, rotaryTable } from "../ops/rotary/index.ts";
import { Runtime } from "../tensor/index.ts";
import { RotaryTable } from "./rotary-table.ts";

const [context, headWidth, ropeBase] = [3000, 8, 10_000];
const whole = rotaryTable(context, headWidth, ropeBase);

test("angles by need are the rows of the whole table, and go on beyond the context", () => {
  const angles = new RotaryAngles(context, headWidth, ropeBase);
  for (const position of [0, 127, 128, 129, 2999, 5, 1000])
    expect(angles.at(position)).toEqual(whole.subarray(position * headWidth, (position + 1) * headWidth));
  const longer = rotaryTable(context + 1, headWidth, ropeBase);
  expect(angles.at(context)).toEqual(longer.subarray(context * headWidth));
});

test("a context of 2^31 costs what is asked for", () => {
  const angles = new RotaryAngles(2 ** 31, 128, ropeBase);
  expect(angles.at(2 ** 31 - 1)).toHaveLength(128);
});

test("a table grows by need, has the same rows, and ends at the context", async () => {
  const runtime = new Runtime(createReferenceBackend());
  const table = new RotaryTable(runtime, { contextLength: context, headWidth, ropeBase });
  for (const [positions, rows] of [
    [1, 512],
    [512, 512],
    [513, 1024],
    [2900, 2900],
    [3000, 3000],
  ]) {
    const tensor = table.upTo(positions);
    expect(tensor.shape).toEqual([rows, headWidth]);
    expect(await runtime.readFloats(tensor)).toEqual(whole.subarray(0, rows * headWidth));
  }
  table.dispose();
  expect(runtime.backend.stats.liveBytes).toBe(0);
});
