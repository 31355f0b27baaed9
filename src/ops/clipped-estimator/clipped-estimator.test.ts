// Oracles: the formula dw = dy where |w| <= limit · s, which has no true gradient to check by differences; reference.ts.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import { clippedEstimator } from "./index.ts";

const shapes = [
  { name: "one value", rows: 1, width: 1, limit: 1 },
  { name: "a remainder", rows: 5, width: 67, limit: 1 },
  { name: "a wider bound", rows: 33, width: 96, limit: 1.5 },
];

forEachBackend((backend) => {
  test.for(shapes)("passes the gradient inside the bound, and none outside: $name", async (shape) => {
    const { rows, width, limit } = shape;
    const device = await backend.get();
    const [w, dy] = [normals(rows * width, 7), normals(rows * width, 8)];
    const s = 0.8;
    const inputs = [
      place(device, [rows, width], "f32", w),
      place(device, [rows, width], "u8", new Uint8Array(w.length)),
      place(device, [1], "f32", [s]),
    ];
    const outputGradients = [place(device, [rows, width], "f32", dy)];
    const bound = Math.fround(Math.fround(limit) * Math.fround(s));
    const wanted = dy.map((g, i) => (Math.abs(w[i]) <= bound ? g : 0));
    const { outputs, gradients } = runOp(device, clippedEstimator, inputs, { limit }, { outputGradients });
    expect(outputs[0]).toBe(inputs[0]);
    expectClose(await fetchArray(device, gradients[0]!), wanted, {}, "dw");
    const before = normals(w.length, 9);
    const added = runOp(device, clippedEstimator, inputs, { limit }, { outputGradients, accumulateInto: [before] });
    const sum = before.map((b, i) => b + wanted[i]);
    expectClose(await fetchArray(device, added.gradients[0]!), sum, {}, "dw, added");
  });
});

test("refuses a limit that is not above 0", () => {
  const device = createReferenceBackend();
  const w = place(device, [1, 2], "f32", [1, 2]);
  const rest = [place(device, [1, 2], "u8", [0, 0]), place(device, [1], "f32", [1])];
  for (const limit of [0, -1, Number.NaN])
    expect(() => runOp(device, clippedEstimator, [w, ...rest], { limit })).toThrow(/limit is .*above 0/);
});
