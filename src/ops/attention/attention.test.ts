// Oracles: reference.ts on every backend; reference.ts itself is held to PyTorch (fixtures.json) and to a
// finite difference. Bound: a score is a float32 sum of D products of size ~|q||k|/sqrt(D) <= 8 · scale in the cases, so
// its error, the relative error of a probability, stays under 1e-6 · scale; sums over keys and queries add ~1e-6 each.
// dy · v - delta is a difference of two sums of D terms, whose errors grow with sqrt(D).
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place, runOp } from "../../../test/support/backends.ts";
import { needs } from "../../../test/support/bounds.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { checkGradients } from "../../../test/support/finite-difference.ts";
import { readFixtures } from "../../../test/support/fixtures.ts";
import type { Backend, NDArray } from "../../backends/backend.ts";
import { createReferenceBackend } from "../../backends/reference.ts";
import type { Precision } from "../op.ts";
import { cases } from "./cases.ts";
import { attention } from "./index.ts";

type Case = (typeof cases)[number];
const names = ["y", "dq", "dk", "dv"];

interface RunOptions {
  add?: boolean;
  wanted?: boolean[];
  precision?: Precision;
}

async function run(backend: Backend, c: Case, { add, wanted = [true, true, true], precision }: RunOptions = {}) {
  const inputs: NDArray[] = [
    place(backend, c.qShape, "f32", c.q),
    place(backend, c.kShape, "f32", c.k),
    place(backend, c.kShape, "f32", c.v),
  ];
  if (c.documentStart) inputs.push(place(backend, c.documentShape, "i32", c.documentStart));
  const { outputs, gradients } = runOp(backend, attention, inputs, c.params, {
    outputGradients: [place(backend, c.qShape, "f32", c.dy)],
    wanted,
    precision,
    accumulateInto: add ? [c.dy, c.v, c.k] : undefined,
  });
  return Promise.all([outputs[0], ...gradients].map((a) => a && fetchArray(backend, a)));
}

/** What errors grow with: sqrt(D) past 256, and the queries' scale, twice in dk (a sum of ds · q). */
const growth = (c: Case, what: string) =>
  Math.max(1, Math.sqrt(c.headWidth) / 16) * c.scale * (what === "dk" ? c.scale : 1);

/** The reference's values, overwriting; computed once for all backends. */
const expectedOf = new Map<Case, ReturnType<typeof run>>();
function expected(c: Case): ReturnType<typeof run> {
  const known = expectedOf.get(c) ?? run(createReferenceBackend(), c);
  expectedOf.set(c, known);
  return known;
}

forEachBackend((backend) => {
  test.for(cases)("agrees with the reference for $name, overwriting and accumulating", async (c) => {
    const values = await expected(c);
    for (const add of [false, true]) {
      const actual = await run(await backend.get(), c, { add });
      for (const [i, what] of names.entries()) {
        const before = add && [null, c.dy, c.v, c.k][i];
        const sum = before ? values[i]!.map((x, at) => x + before[at]) : values[i]!;
        expectClose(actual[i]!, sum, { abs: 5e-6 * growth(c, what), rel: 5e-6 }, what);
      }
    }
  });

  // Operands of all products but the scores are rounded to bfloat16, by 2^-9 relative each: a sum of terms is off by at
  // most 2^-8 of the sum of their sizes, which for these normal values is under 8, and in the mean far less.
  test.for(cases)("stays within bfloat16's error of the reference for $name", async (c, { skip }) => {
    const b = await backend.get();
    if (!b.supports.bf16) skip(`${b.name} ${b.isa} has no bfloat16 products`);
    const values = await expected(c);
    const actual = await run(b, c, { precision: "bf16" });
    expectClose(actual[0]!, values[0]!, { abs: 5e-6 * c.scale, rel: 5e-6 }, "y");
    for (const [i, what] of names.entries())
      if (i > 0) expectClose(actual[i]!, values[i]!, { abs: 2 ** -5 * growth(c, what), rel: 2 ** -7 }, what);
  });

  test("multiplies bfloat16 in backward where the backend has it, and never in forward", async ({ skip }) => {
    const b = await backend.get();
    if (!b.supports.bf16) skip(`${b.name} ${b.isa} has no bfloat16 products`);
    const c = cases.find((x) => x.name === "tiny's heads")!;
    const single = await run(b, c);
    const paired = await run(b, c, { precision: "bf16" });
    for (const [i, what] of names.entries())
      expect(
        paired[i]!.some((x, at) => x !== single[i]![at]),
        what,
      ).toBe(i > 0);
  });

  test("refuses bfloat16 in backward where the backend has none", async ({ skip }) => {
    const b = await backend.get();
    if (b.supports.bf16) skip(`${b.name} ${b.isa} has bfloat16 products`);
    await expect(run(b, cases[0], { precision: "bf16" })).rejects.toThrow(
      /attention: precision bf16 is not supported by the/,
    );
  });

  test("gives each gradient alone as it gives the three together", async () => {
    const c = cases.find((x) => x.name === "packed documents")!;
    const together = await run(await backend.get(), c);
    for (const i of [0, 1, 2]) {
      const alone = await run(await backend.get(), c, { wanted: [0, 1, 2].map((n) => n === i) });
      for (const n of [0, 1, 2]) {
        if (n === i) expectClose(alone[1 + n]!, together[1 + n]!, { abs: 5e-6, rel: 5e-6 }, names[1 + n]);
        else expect(alone[1 + n]).toBeUndefined();
      }
    }
  });

  test("gives the same numbers every time", async () => {
    for (const name of ["tiny's heads", "fewer key/value heads than threads", "one query after a long cache"]) {
      const c = cases.find((x) => x.name === name)!;
      const first = await run(await backend.get(), c);
      const second = await run(await backend.get(), c);
      for (const [i, what] of names.entries()) expectClose(second[i]!, first[i]!, {}, what);
    }
  });

  test("gives NaN for a query whose scores hold NaN, and for no other", async ({ skip }) => {
    const b = await backend.get();
    needs(b, skip, "ieee");
    const c = cases.find((x) => x.name === "an odd head width")!;
    const broken = { ...c, q: c.q.slice() };
    broken.q[5 * 21 + 8] = Number.NaN; // token 5, head 1
    const [sound] = await run(b, c);
    const [y] = await run(b, broken);
    for (let i = 0; i < y!.length; i++) {
      const hit = i >= 5 * 21 + 7 && i < 5 * 21 + 14;
      if (hit) expect(y![i]).toBeNaN();
      else expect(y![i]).toBe(sound![i]);
    }
  });

  test("does not read keys beyond those it may see", async () => {
    const c = cases.find((x) => x.name === "a chunk after a cache, in a larger cache")!;
    const width = c.kShape[2];
    const [k, v] = [c.k, c.v].map((a) =>
      Float32Array.from(a, (x, i) => (Math.floor(i / width) % 300 >= 274 ? Number.NaN : x)),
    );
    const sound = await run(await backend.get(), c);
    const actual = await run(await backend.get(), { ...c, k, v });
    for (const [i, what] of names.entries()) expectClose(actual[i]!, sound[i]!, {}, what);
  });
});

test("reference: agrees with PyTorch's gqa_attention", async () => {
  const f = readFixtures("attention").gqa_attention;
  const [B, H, G, T, D] = [2, 4, 2, 5, 6];
  // [B, heads, T, D] to [B, T, heads·D]
  const arranged = (values: number[][][][], heads: number) =>
    Float32Array.from({ length: B * T * heads * D }, (_, i) => {
      const row = Math.floor(i / D / heads);
      return values[Math.floor(row / T)][Math.floor(i / D) % heads][row % T][i % D];
    });
  const c: Case = {
    ...cases[0],
    params: { heads: H, kvHeads: G, start: 0 },
    qShape: [B, T, H * D],
    kShape: [B, T, G * D],
    documentStart: null,
    q: arranged(f.q, H),
    k: arranged(f.k, G),
    v: arranged(f.v, G),
    dy: arranged(f.dy, H),
  };
  const actual = await run(createReferenceBackend(), c);
  for (const [i, what] of names.entries())
    expectClose(actual[i]!, arranged(f.expect[what], i < 2 ? H : G), { abs: 4 * f.torch_fp32_max_abs_err[what] }, what);
});

test("the gradient agrees with a finite difference, across a cache and documents", async () => {
  for (const documentStart of [null, [0, 1, 2, 2, 4]]) {
    const seeds = cases[1];
    await checkGradients(attention, { heads: 4, kvHeads: 2, start: 1 }, [
      { shape: [1, 5, 12], data: seeds.q.slice(0, 60) },
      { shape: [1, 7, 6], data: seeds.k.slice(0, 42) },
      { shape: [1, 7, 6], data: seeds.v.slice(0, 42) },
      ...(documentStart ? [{ shape: [1, 5], data: documentStart, dtype: "i32" as const }] : []),
    ]);
  }
});

test("refuses shapes that do not fit, naming them", () => {
  const backend = createReferenceBackend();
  const zeros = (shape: number[]) => place(backend, shape, "f32", new Float32Array(shape.reduce((a, b) => a * b, 1)));
  const run = (q: number[], k: number[], heads: number, kvHeads: number, start = 0) => {
    runOp(backend, attention, [zeros(q), zeros(k), zeros(k)], { heads, kvHeads, start });
  };
  expect(() => run([1, 2, 12], [1, 2, 6], 3, 2)).toThrow(
    "expected q [B, T, heads * D] and heads a multiple of kvHeads",
  );
  expect(() => run([1, 2, 12], [1, 2, 8], 4, 2)).toThrow("expected k and v [1, S, 6]");
  expect(() => run([1, 2, 12], [1, 4, 6], 4, 2, 3)).toThrow("2 queries from position 3 need 5 keys, but k has 4");
});
