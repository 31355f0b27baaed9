// Oracle: rows marked by hand.
import { expect, test } from "vitest";
import { ignoreBeforeMarker } from "./loss-mask.ts";

const [EOT, EQ, SP] = [0, 1, 2];

test("targets count behind the marker to the document's end, and not behind an answer cut by the row's start", () => {
  const tokens = new Int32Array([7, EQ, SP, 5, EOT, 8, EQ, SP, 6, EOT, 9, EQ, SP, 4, EOT, 7]);
  const targets = new Int32Array([EQ, SP, 5, EOT, 8, EQ, SP, 6, EOT, 9, EQ, SP, 4, EOT, 7, 7]);
  ignoreBeforeMarker(tokens, targets, 8, [EQ, SP], EOT);
  const no = -100;
  expect([...targets]).toEqual([no, no, 5, EOT, no, no, no, 6, no, no, no, no, 4, EOT, no, no]);
});

test("a marker does not reach over a row's start", () => {
  const tokens = new Int32Array([7, EQ, SP, 5]);
  const targets = new Int32Array([EQ, SP, 5, EOT]);
  ignoreBeforeMarker(tokens, targets, 2, [EQ, SP], EOT);
  expect([...targets]).toEqual([-100, -100, -100, -100]);
});
