// Oracle: reference.ts; and the reference of ops/attention over the same keys, which PyTorch's values hold, for a cache of
// f32. Bounds: float32 sums over D products of about 1 and a softmax of some hundred keys, 2e-5; what int4 and int8 round is
// rounded alike by both, but for a float32 ulp in a turned key that may move a code: one step of one key of many.
import { expect, test } from "vitest";
import { fetchArray, forEachBackend, place } from "../../../test/support/backends.ts";
import { expectClose } from "../../../test/support/expect-close.ts";
import { normals } from "../../../test/support/random.ts";
import type { Backend, NDArray } from "../../backends/backend.ts";
import { attention } from "../attention/index.ts";
import { attentionForward } from "../attention/reference.ts";
import type { OpContext } from "../op.ts";
import { rotaryTable } from "../rotary/reference.ts";
import {
  cachedAttention,
  type CacheFormat,
  type CacheShape,
  copyPages,
  gatherCache,
  type LayerPages,
  pageBytes,
  pageTokens,
} from "./index.ts";
import { cacheFormats, cacheGather, cachedAttention as reference } from "./reference.ts";

const contextOf = (backend: Backend): OpContext => ({
  backend,
  precision: "fp32",
  create: (shape, dtype) => ({ shape, dtype, buffer: backend.allocate(4 * shape.reduce((a, b) => a * b, 1)) }),
});

/** Sequences of these lengths on pages dealt out in turns, from last to first. */
function dealPages(lengths: readonly number[]): number[][] {
  const total = lengths.reduce((sum, n) => sum + Math.ceil(n / pageTokens), 0);
  const lists: number[][] = lengths.map(() => []);
  let next = total - 1;
  while (next >= 0)
    for (const [i, n] of lengths.entries()) if (lists[i].length * pageTokens < n && next >= 0) lists[i].push(next--);
  return lists;
}

/** A layer's pages, keys and values in one array and neither at its begin. */
function placePages(backend: Backend, poolBytes: number): LayerPages {
  const side = Math.ceil(poolBytes / 64) * 64;
  const array = place(backend, [64 + 2 * side], "u8", new Uint8Array(64 + 2 * side));
  return { keys: { array, at: 64 }, values: { array, at: 64 + side } };
}

interface Row {
  position: number;
  first: number;
  firstPage: number;
  pages: readonly number[];
}

function planOf(rows: readonly Row[]): Int32Array {
  const numbers: number[] = [];
  const lists: number[] = [];
  for (const { position, first, firstPage, pages } of rows) {
    numbers.push(position, first, firstPage, 4 * rows.length + lists.length);
    lists.push(...pages.slice(firstPage));
  }
  return Int32Array.from([...numbers, ...lists]);
}

/** What the reference gives for a case, made once for all backends. */
const references = new Map<string, Record<"q" | "k" | "v" | "expected", Float32Array>>();

const formats = Object.keys(cacheFormats) as CacheFormat[];

forEachBackend(({ get }) => {
  for (const format of formats)
    test.for([
      { heads: 4, kvHeads: 2, headWidth: 8 },
      { heads: 7, kvHeads: 1, headWidth: 20 },
      { heads: 3, kvHeads: 3, headWidth: 32 },
    ])(`${format}: sequences of many lengths, with $heads heads on $kvHeads of width $headWidth`, async (sizes) => {
      const backend = await get();
      const shape: CacheShape = { ...sizes, format };
      const { heads, kvHeads, headWidth: D } = sizes;
      const width = (heads + 2 * kvHeads) * D;
      const lengths = [1, 37, 300];
      const pages = dealPages(lengths);
      const poolBytes = (Math.max(...pages.flat()) + 1) * pageBytes(shape) + 64;
      const host = { keys: new Uint8Array(poolBytes), values: new Uint8Array(poolBytes) };
      const device = placePages(backend, poolBytes);
      const table = rotaryTable(300, D, 10000);
      const angle = (position: number) => table.subarray(position * D, (position + 1) * D);
      const places = { keysAt: 0, valuesAt: 0 };
      const sizesOf = (rows: number) => ({
        ...{ rows, heads, groups: kvHeads, width: D, format: cacheFormats[format] },
        ...places,
      });
      const run = async (rows: readonly Row[], seed: number) => {
        const m = rows.length;
        const inputs = {
          qkv: normals(m * width, seed),
          angles: Float32Array.from(rows.flatMap(({ position }) => [...angle(position)])),
          plan: planOf(rows),
        };
        const placed = {
          qkv: place(backend, [m, width], "f32", inputs.qkv),
          angles: place(backend, [m, D], "f32", inputs.angles),
          plan: place(backend, [inputs.plan.length], "i32", inputs.plan),
        };
        return { m, inputs, placed };
      };

      // The longest sequence, all but its last two tokens: kept, and read back as floats in order.
      const prompt = await run(
        Array.from({ length: 298 }, (_, position) => ({ position, first: 0, firstPage: 0, pages: pages[2] })),
        1,
      );
      const out = { q: [298, heads * D], k: [290, kvHeads * D], v: [290, kvHeads * D] };
      const made = Object.fromEntries(
        Object.entries(out).map(([name, size]) => [name, contextOf(backend).create(size, "f32")]),
      ) as Record<"q" | "k" | "v", NDArray>;
      gatherCache(contextOf(backend), prompt.placed, device, made, shape, { from: 8, firstRow: 0 });
      const want = {
        q: new Float32Array(298 * heads * D),
        k: new Float32Array(290 * kvHeads * D),
        v: new Float32Array(290 * kvHeads * D),
      };
      const key = `${format} ${heads} ${kvHeads} ${D}`;
      const known = references.get(key);
      if (known) Object.assign(want, known);
      else cacheGather({ ...prompt.inputs, ...host, ...want }, { ...sizesOf(298), from: 8, count: 290, firstRow: 0 });
      const step = format === "int4" ? 0.8 : format === "int8" ? 0.05 : format === "f16" ? 4e-3 : 1e-6;
      for (const name of ["q", "k", "v"] as const)
        expectClose((await fetchArray(backend, made[name])) as Float32Array, want[name], { abs: step }, name);

      // The shorter ones' tokens, one by one among others; then several of one sequence at once, and a window.
      for (let t = 0; t < 36; t += 12) {
        const rows = Array.from({ length: 12 }, (_, i) => ({
          position: t + i,
          first: 0,
          firstPage: 0,
          pages: pages[1],
        }));
        const { inputs, placed, m } = await run(rows, 2 + t);
        const y = contextOf(backend).create([m, heads * D], "f32");
        cachedAttention(contextOf(backend), placed, device, y, shape, 300);
        if (!known) reference({ ...inputs, ...host, y: new Float32Array(m * heads * D) }, sizesOf(m));
      }
      const last = await run(
        [
          { position: 298, first: 0, firstPage: 0, pages: pages[2] },
          { position: 299, first: 21, firstPage: 1, pages: pages[2] },
          { position: 0, first: 0, firstPage: 0, pages: pages[0] },
          { position: 36, first: 0, firstPage: 0, pages: pages[1] },
        ],
        7,
      );
      const y = contextOf(backend).create([4, heads * D], "f32");
      cachedAttention(contextOf(backend), last.placed, device, y, shape, 300);
      const expected = known?.expected ?? new Float32Array(4 * heads * D);
      if (!known) reference({ ...last.inputs, ...host, y: expected }, sizesOf(4));
      references.set(key, { ...want, expected });
      const bound = { f32: 2e-5, f16: 1e-3, int8: 5e-3, int4: 0.1 }[format];
      expectClose((await fetchArray(backend, y)) as Float32Array, expected, { abs: bound });
    });

  // Oracle: training's kernel, which attention.test.ts holds to the reference. To the bit: an int8 code behind attention may
  // hang on the last one, and a token on that.
  test.for([
    { heads: 4, kvHeads: 2, headWidth: 48, tokens: 300 },
    { heads: 7, kvHeads: 1, headWidth: 20, tokens: 40 },
    { heads: 4, kvHeads: 1, headWidth: 16, tokens: 530 },
    { heads: 1, kvHeads: 1, headWidth: 100, tokens: 270 },
    { heads: 2, kvHeads: 2, headWidth: 6, tokens: 33 },
  ])("f32: the bits of training's attention, with $heads heads on $kvHeads of width $headWidth", async (c) => {
    const backend = await get();
    const { heads: H, kvHeads: G, headWidth: D, tokens: T } = c;
    const cx = contextOf(backend);
    const shape: CacheShape = { heads: H, kvHeads: G, headWidth: D, format: "f32" };
    const qkv = normals(T * (H + 2 * G) * D, 11, 2);
    const table = rotaryTable(T, D, 10000);
    const pages = dealPages([T])[0];
    const poolBytes = pages.length * pageBytes(shape) + 64;
    const device = placePages(backend, poolBytes);
    const inputsOf = (rows: readonly number[], firsts = rows.map(() => 0)) => ({
      qkv: place(
        backend,
        [rows.length, (H + 2 * G) * D],
        "f32",
        Float32Array.from(rows.flatMap((t) => [...qkv.subarray(t * (H + 2 * G) * D, (t + 1) * (H + 2 * G) * D)])),
      ),
      angles: place(
        backend,
        [rows.length, D],
        "f32",
        Float32Array.from(rows.flatMap((t) => [...table.subarray(t * D, (t + 1) * D)])),
      ),
      plan: (() => {
        const plan = planOf(rows.map((position, i) => ({ position, first: firsts[i], firstPage: 0, pages })));
        return place(backend, [plan.length], "i32", plan);
      })(),
    });
    const all = Array.from({ length: T }, (_, t) => t);
    const made = (heads: number) => cx.create([1, T, heads * D], "f32");
    const [q, k, v] = [made(H), made(G), made(G)];
    gatherCache(cx, inputsOf(all), device, { q, k, v }, shape, { from: 0, firstRow: 0 });
    const bounds = all.map((t) => Math.max(0, t - 290));
    for (const documentStart of [null, place(backend, [1, T], "i32", bounds)]) {
      const inputs = documentStart ? [q, k, v, documentStart] : [q, k, v];
      const [trained] = attention.forward(cx, inputs, { heads: H, kvHeads: G, start: 0 }).outputs;
      const want = (await fetchArray(backend, trained)) as Float32Array;
      for (let from = 0; from < T; from += 37) {
        const rows = all.slice(from, from + 37);
        const y = cx.create([rows.length, H * D], "f32");
        const starts = rows.map((t) => (documentStart ? bounds[t] : 0));
        cachedAttention(cx, inputsOf(rows, starts), device, y, shape, T);
        const rest = want.subarray(from * H * D);
        expectClose((await fetchArray(backend, y)) as Float32Array, rest.subarray(0, rows.length * H * D), {}, "pages");
        // A few queries at a time, by training's op over a cache.
        const count = Math.min(rows.length, 2);
        const turned = ((await fetchArray(backend, q)) as Float32Array).slice(from * H * D, (from + count) * H * D);
        const few: NDArray[] = [place(backend, [1, count, H * D], "f32", turned), k, v];
        if (documentStart) few.push(place(backend, [1, count], "i32", starts.slice(0, count)));
        const [decoded] = attention.forward(cx, few, { heads: H, kvHeads: G, start: from }).outputs;
        expectClose((await fetchArray(backend, decoded)) as Float32Array, rest.subarray(0, count * H * D), {}, "few");
      }
    }
  });

  test("pages are copied whole, to another buffer and within one", async () => {
    const backend = await get();
    const from = place(
      backend,
      [32],
      "u8",
      Uint8Array.from({ length: 32 }, (_, i) => i),
    );
    const to = place(backend, [32], "u8", new Uint8Array(32));
    const all = (array: NDArray) => ({ array, at: 0 });
    copyPages(backend, place(backend, [2, 2], "i32", [0, 3, 2, 1]), all(from), all(to), 8);
    expect([...(await fetchArray(backend, to))].filter((_, i) => i % 8 === 0)).toEqual([0, 16, 0, 0]);
    copyPages(backend, place(backend, [1, 2], "i32", [1, 2]), all(to), all(to), 8);
    expect([...(await fetchArray(backend, to))].filter((_, i) => i % 8 === 0)).toEqual([0, 16, 16, 0]);
    copyPages(backend, place(backend, [1, 2], "i32", [0, 1]), { array: from, at: 24 }, { array: to, at: 16 }, 8);
    expect([...(await fetchArray(backend, to))].filter((_, i) => i % 8 === 0)).toEqual([0, 16, 16, 24]);
  });
});

test("the reference is training's attention over turned queries and keys", () => {
  const [T, H, G, D] = [40, 4, 2, 8];
  const qkv = normals(T * (H + 2 * G) * D, 3);
  const angles = rotaryTable(T, D, 10000);
  const pages = dealPages([T])[0];
  const plan = planOf(Array.from({ length: T }, (_, position) => ({ position, first: 0, firstPage: 0, pages })));
  const pool = () => new Uint8Array(3 * pageBytes({ heads: H, kvHeads: G, headWidth: D, format: "f32" }));
  const cache = { keys: pool(), values: pool() };
  const s = { rows: T, heads: H, groups: G, width: D, format: cacheFormats.f32, keysAt: 0, valuesAt: 0 };
  const got = new Float32Array(T * H * D);
  reference({ qkv, angles, plan, ...cache, y: got }, s);
  const [q, k, v] = [H, G, G].map((heads) => new Float32Array(T * heads * D));
  cacheGather({ qkv, angles, plan, ...cache, q, k, v }, { ...s, from: 0, count: T, firstRow: 0 });
  const want = new Float32Array(T * H * D);
  attentionForward(
    { q, k, v, documentStart: null, y: want, logsumexp: new Float32Array(H * T) },
    { batch: 1, tokens: T, keys: T, heads: H, kvHeads: G, headWidth: D, start: 0 },
  );
  expectClose(got, want, { abs: 1e-6 });
});
