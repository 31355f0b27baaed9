/** What the tests of row losses (z-loss, uniform-cross-entropy) share: cases, a run, and the facts that hold for each of them. */
import { expect, test } from "vitest";
import type { Backend } from "../../src/backends/backend.ts";
import { createReferenceBackend } from "../../src/backends/reference.ts";
import type { Op } from "../../src/ops/op.ts";
import { fetchArray, forEachBackend, place, runOp } from "./backends.ts";
import { type Bound, expectClose } from "./expect-close.ts";
import { checkGradients } from "./finite-difference.ts";
import { integers, normals } from "./random.ts";

export interface RowLossCase {
  name: string;
  lead: number[];
  classes: number;
  logits: Float32Array;
  targets: Int32Array;
}

export function drawnRows(name: string, lead: number[], classes: number, seed: number, scale = 1): RowLossCase {
  const rows = lead.reduce((a, b) => a * b, 1);
  return { name, lead, classes, logits: normals(rows * classes, seed, scale), targets: integers(rows, seed, classes) };
}

/** Shapes and values on which every backend must agree with reference.ts. @param seed of all of them, such as 400 */
export function rowLossCases(seed: number): RowLossCase[] {
  const ignored = drawnRows("a third of the targets ignored", [3, 11], 61, seed + 2);
  for (let m = 0; m < ignored.targets.length; m += 3) ignored.targets[m] = -100;
  const allIgnored = drawnRows("every target ignored", [4], 7, seed + 3);
  allIgnored.targets.fill(-100);
  const odd = drawnRows("NaN and Infinity among the logits", [4], 33, seed + 5);
  odd.logits[5] = Number.NaN;
  odd.logits[33 + 32] = Number.POSITIVE_INFINITY;
  odd.logits[66 + 3] = Number.NEGATIVE_INFINITY;
  const uncounted = drawnRows("NaN in a row that does not count", [2], 9, seed + 6);
  uncounted.logits[4] = Number.NaN;
  uncounted.targets[0] = -100;
  return [
    drawnRows("one row", [1], 2, seed - 1),
    drawnRows("one class", [3], 1, seed),
    drawnRows("tiny's vocabulary", [2, 5], 2048, seed + 1, 3),
    drawnRows("more threads than rows", [2], 100, seed + 7),
    drawnRows("large logits", [7], 29, seed + 8, 1e3),
    ignored,
    allIgnored,
    odd,
    uncounted,
  ];
}

async function run(op: Op, backend: Backend, c: RowLossCase, accumulateInto?: Float32Array) {
  const logits = place(backend, [...c.lead, c.classes], "f32", c.logits);
  const { outputs, gradients } = runOp(
    backend,
    op,
    [logits, place(backend, c.lead, "i32", c.targets)],
    {},
    {
      outputGradients: [place(backend, [1], "f32", [0.75])],
      wanted: [true, false],
      accumulateInto: accumulateInto && [accumulateInto],
    },
  );
  expect([...(await fetchArray(backend, logits))]).toEqual([...c.logits]);
  return Promise.all([outputs[0], gradients[0]!].map((a) => fetchArray(backend, a)));
}

/** Every backend against the reference, a finite difference, and the refusal of targets of another shape. */
export function testRowLoss(op: Op, cases: readonly RowLossCase[], bounds: { loss: Bound; dlogits: Bound }): void {
  forEachBackend((backend) => {
    test.for(cases)("agrees with the reference for $name, and leaves the logits alone", async (c) => {
      const there = normals(c.logits.length, 77);
      for (const into of [undefined, there]) {
        const [loss, dlogits] = await run(op, createReferenceBackend(), c, into);
        const actual = await run(op, await backend.get(), c, into);
        expectClose(actual[0], loss, bounds.loss, "loss");
        expectClose(actual[1], dlogits, bounds.dlogits, "dlogits");
      }
    });
  });

  test("the gradient agrees with a finite difference", async () => {
    await checkGradients(op, {}, [
      { shape: [5, 7], data: normals(35, 410) },
      { shape: [5], data: [3, -100, 0, 6, 2], dtype: "i32" },
    ]);
  });

  test("refuses targets of another shape, naming both", () => {
    const backend = createReferenceBackend();
    const logits = place(backend, [2, 3, 4], "f32", new Float32Array(24));
    const targets = place(backend, [6], "i32", new Int32Array(6));
    expect(() => runOp(backend, op, [logits, targets], {})).toThrow(
      `${op.name}: logits are [2,3,4], targets are i32 [6]; expected logits [..., V] and targets i32 [2,3]`,
    );
  });
}
