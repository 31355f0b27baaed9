// Oracle: the rules of the file in scalars.ts, on files written by hand.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";
import { openAppend } from "../platform/append-file.ts";
import { readScalars, scalarsText } from "./scalars.ts";

const read = (...lines: string[]) => {
  const path = join(temporaryFolder(), "scalars.jsonl");
  writeFileSync(path, lines.join("\n"));
  return readScalars(path);
};
const line = (step: number, loss: number) => scalarsText({ step, loss }).trim();

test("lines that a resume took back are left out, those up to it stay", () => {
  const lines = [line(1, 10), line(2, 20), line(3, 30), '{"resumed_from":2}', line(3, 31), line(4, 41)];
  expect(read(...lines)).toEqual([
    { step: 1, loss: 10 },
    { step: 2, loss: 20 },
    { step: 3, loss: 31 },
    { step: 4, loss: 41 },
  ]);
});

test("a run that began anew has none of the lines before", () => {
  expect(read(line(0, 9), line(1, 10), '{"resumed_from":0}', line(0, 8))).toEqual([{ step: 0, loss: 8 }]);
});

test("a line cut short by a kill is passed over, and the next one begins on its own", () => {
  const path = join(temporaryFolder(), "scalars.jsonl");
  writeFileSync(path, `${line(1, 10)}\n{"step":2,"lo`);
  const file = openAppend(path, { lines: true });
  file.append(scalarsText({ step: 2, loss: 20 }));
  file.close();
  expect(readScalars(path)).toEqual([
    { step: 1, loss: 10 },
    { step: 2, loss: 20 },
  ]);
  expect(readFileSync(path, "utf8").startsWith(`${line(1, 10)}\n{"step":2,"lo\n`)).toBe(true);
});

test("a number that is not finite is null in the file", () => {
  expect(scalarsText({ step: 1, loss: Number.NaN, grad_norm: Number.POSITIVE_INFINITY })).toBe(
    '{"step":1,"loss":null,"grad_norm":null}\n',
  );
});
