// A launch whose numbers do not fit its buffers is refused before the kernel runs, on every backend, by its names. Before, the
// native backend wrote past its memory (SIGSEGV), or divided by zero (SIGFPE).
import { expect, test } from "vitest";
import { forEachBackend } from "../../test/support/backends.ts";
import { smallModel } from "../../test/support/small-run.ts";
import { Transformer } from "../model/index.ts";
import { ShapeError } from "../platform/errors.ts";
import { Runtime } from "../tensor/index.ts";
import { defineKernel } from "./backend.ts";

const add = defineKernel({
  name: "add_forward",
  buffers: { a: "f32", b: "f32", y: "f32" },
  params: ["n"],
  sizes: { a: ["n"], b: ["n"], y: ["n"] },
  reference: ({ a, b, y }, { n }) => {
    for (let i = 0; i < n; i++) y[i] = a[i] + b[i];
  },
});

forEachBackend((underTest) => {
  test("numbers past the buffers, and numbers that are no sizes", async () => {
    const backend = await underTest.get();
    const buffers = [1, 2, 3].map(() => ({ buffer: backend.allocate(16), shape: [4], dtype: "f32" as const }));
    const [a, b, y] = buffers;
    for (const n of [5, 1e9, -1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => backend.launch(add, { a, b, y }, { n }), String(n)).toThrow(ShapeError);
    expect(() => backend.launch(add, { a, b, y }, { n: 1e9 })).toThrow(
      'add_forward: "a" has 4 elements, but n 1000000000 are 1000000000',
    );
    for (const { buffer } of buffers) backend.upload(buffer, Float32Array.of(1, 2, 3, 4));
    expect(() => backend.launch(add, { a, b, y }, { n: 4 })).not.toThrow();
    for (const { buffer } of buffers) backend.free(buffer);
  });

  test("a model asked for the logits of no tokens, or of fewer than none", async () => {
    const model = new Transformer(new Runtime(await underTest.get()), smallModel, 1);
    for (const [batch, length] of [
      [4, 0],
      [0, 0],
      [-1, -2],
      [0, 4],
    ])
      expect(() => model.logits({ tokens: new Int32Array(Math.max(0, batch * length)), batch, length })).toThrow(
        ShapeError,
      );
    model.dispose();
  });
});
