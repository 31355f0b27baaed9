/**
 * Causal attention of new tokens over the cached keys and values of their sequences, many sequences at once, each at its
 * own length; rotary positions are applied here (ops/rotary), the softmax is ops/attention's.
 *
 * A row is one new token, with q, k and v next to each other: qkv [M, (H + 2G) · D]. Its plan is four int32: its position,
 * the first position that it sees, the index (position / 16) of the first page in its list of pages, and where in `plan`
 * that list begins. All rows' keys and values are kept first, then each attends: tokens of one sequence see each other.
 *
 * A page holds 16 tokens; its head g has 16 keys as [D, 16] and, in another buffer, 16 values as [16, D]:
 *
 *   f32, f16   numbers
 *   int8       codes q, then 16 float32 scales: max|x| / 127 of each token
 *   int4       q + 8 in half a byte, scales max|x| / 7. Keys: dimensions 2i, 2i + 1 of a token; values: d and D/2 + d
 */
import { fromFloat16Bits, toFloat16Bits } from "../../quant/float16.ts";
import { roundHalfEven } from "../../quant/rounding.ts";
import { nameOf } from "../packed-linear/reference.ts";

export const pageTokens = 16;
export const cacheFormats = { f32: 0, f16: 1, int8: 2, int4: 3 } as const;
export type CacheFormat = keyof typeof cacheFormats;

/** Bytes of one head's keys, or values, in a page. */
export function pageHeadBytes(width: number, format: CacheFormat): number {
  return { f32: 64 * width, f16: 32 * width, int8: 16 * width + 64, int4: 8 * width + 64 }[format];
}

export interface CacheSizes {
  rows: number;
  heads: number;
  groups: number;
  width: number;
  format: number;
  /** Of the first page, in bytes. */
  keysAt: number;
  valuesAt: number;
}

type Side = "keys" | "values";

function placeOf(side: Side, token: number, d: number, width: number): number {
  return side === "keys" ? d * pageTokens + token : token * width + d;
}

/** Where d's half byte lies. */
function nibbleOf(side: Side, token: number, d: number, width: number): { at: number; high: boolean } {
  if (side === "keys") return { at: (d >> 1) * pageTokens + token, high: d % 2 === 1 };
  const half = width / 2;
  return { at: token * half + (d % half), high: d >= half };
}

function putToken(x: Float32Array, side: Side, view: DataView, head: number, token: number, format: CacheFormat): void {
  const width = x.length;
  const limit = format === "int8" ? 127 : 7;
  let most = 0;
  for (const value of x) most = Math.max(most, Math.abs(value));
  const sound = Number.isFinite(most);
  const inverse = sound && most > 0 ? Math.fround(limit / most) : 0;
  for (let d = 0; d < width; d++) {
    const place = placeOf(side, token, d, width);
    if (format === "f32") view.setFloat32(head + 4 * place, x[d], true);
    else if (format === "f16") view.setUint16(head + 2 * place, toFloat16Bits(x[d]), true);
    else {
      const q = sound ? roundHalfEven(Math.fround(x[d] * inverse)) : 0;
      if (format === "int8") view.setInt8(head + place, q);
      else {
        const { at, high } = nibbleOf(side, token, d, width);
        const old = view.getUint8(head + at);
        view.setUint8(head + at, high ? (old & 15) | ((q + 8) << 4) : (old & 240) | (q + 8));
      }
    }
  }
  if (format === "int8" || format === "int4")
    view.setFloat32(
      head + pageHeadBytes(width, format) - 64 + 4 * token,
      sound ? Math.fround(most / limit) : Number.NaN,
      true,
    );
}

function getNumber(
  side: Side,
  view: DataView,
  head: number,
  token: number,
  d: number,
  width: number,
  format: CacheFormat,
): number {
  const place = placeOf(side, token, d, width);
  if (format === "f32") return view.getFloat32(head + 4 * place, true);
  if (format === "f16") return fromFloat16Bits(view.getUint16(head + 2 * place, true));
  const scale = view.getFloat32(head + pageHeadBytes(width, format) - 64 + 4 * token, true);
  if (format === "int8") return view.getInt8(head + place) * scale;
  const { at, high } = nibbleOf(side, token, d, width);
  const byte = view.getUint8(head + at);
  return ((high ? byte >> 4 : byte & 15) - 8) * scale;
}

/** x [D] turned by [cos of D/2, sin of D/2]. */
function turn(x: Float32Array, angles: Float32Array): Float32Array {
  const half = x.length / 2;
  const y = new Float32Array(x.length);
  for (let i = 0; i < half; i++) {
    y[i] = x[i] * angles[i] - x[i + half] * angles[i + half];
    y[i + half] = x[i + half] * angles[i] + x[i] * angles[i + half];
  }
  return y;
}

interface Arrays {
  qkv: Float32Array;
  angles: Float32Array;
  plan: Int32Array;
  keys: Uint8Array;
  values: Uint8Array;
}

/** Reads and writes one layer's cache through the plan. */
function openCache(all: Arrays, s: CacheSizes, firstRow = 0) {
  const { groups, width } = s;
  const a = {
    ...all,
    qkv: all.qkv.subarray(firstRow * (s.heads + 2 * groups) * width),
    angles: all.angles.subarray(firstRow * width),
    rows: all.plan.subarray(4 * firstRow),
  };
  const format = nameOf(cacheFormats, s.format);
  const views = {
    keys: new DataView(a.keys.buffer, a.keys.byteOffset + s.keysAt),
    values: new DataView(a.values.buffer, a.values.byteOffset + s.valuesAt),
  };
  const headAt = (row: number, position: number, g: number) => {
    const [, , firstPage, list] = a.rows.subarray(4 * row, 4 * row + 4);
    const page = a.plan[list + Math.floor(position / pageTokens) - firstPage];
    return (page * groups + g) * pageHeadBytes(width, format);
  };
  const stride = (s.heads + 2 * groups) * width;
  const part = (row: number, head: number) =>
    a.qkv.subarray(row * stride + head * width, row * stride + (head + 1) * width);
  const anglesOf = (row: number) => a.angles.subarray(row * width, (row + 1) * width);
  for (let row = 0; row < s.rows; row++) {
    const position = a.rows[4 * row];
    for (let g = 0; g < groups; g++) {
      const at = headAt(row, position, g);
      const token = position % pageTokens;
      putToken(turn(part(row, s.heads + g), anglesOf(row)), "keys", views.keys, at, token, format);
      putToken(part(row, s.heads + groups + g), "values", views.values, at, token, format);
    }
  }
  return {
    query: (row: number, head: number) => turn(part(row, head), anglesOf(row)),
    read: (side: Side, row: number, position: number, g: number) => {
      const head = headAt(row, position, g);
      const token = position % pageTokens;
      return Float32Array.from({ length: width }, (_, d) =>
        getNumber(side, views[side], head, token, d, width, format),
      );
    },
  };
}

/** y [M, H·D], overwritten. */
export function cachedAttention(a: Arrays & { y: Float32Array }, s: CacheSizes): void {
  const { heads, groups, width } = s;
  const cache = openCache(a, s);
  for (let row = 0; row < s.rows; row++) {
    const [position, first] = a.plan.subarray(4 * row, 4 * row + 2);
    for (let h = 0; h < heads; h++) {
      const g = Math.floor((h * groups) / heads);
      const q = cache.query(row, h);
      const scores: number[] = [];
      for (let j = first; j <= position; j++) {
        const key = cache.read("keys", row, j, g);
        scores.push(q.reduce((sum, x, d) => sum + x * key[d], 0) / Math.sqrt(width));
      }
      const most = Math.max(...scores);
      const weights = scores.map((score) => Math.exp(score - most));
      const total = weights.reduce((x, y) => x + y, 0);
      const sums = new Float64Array(width);
      for (const [i, weight] of weights.entries()) {
        const value = cache.read("values", row, first + i, g);
        for (let d = 0; d < width; d++) sums[d] += weight * value[d];
      }
      for (let d = 0; d < width; d++) a.y[(row * heads + h) * width + d] = sums[d] / total;
    }
  }
}

/**
 * Of rows firstRow, firstRow + 1, ... that are one sequence's: q [rows, H·D] turned; k and v [count, G·D] of its positions
 * from, from + 1, ...
 */
export function cacheGather(
  a: Arrays & { q: Float32Array; k: Float32Array; v: Float32Array },
  s: CacheSizes & { from: number; count: number; firstRow: number },
): void {
  const { heads, groups, width } = s;
  const cache = openCache(a, s, s.firstRow);
  for (let row = 0; row < s.rows; row++)
    for (let h = 0; h < heads; h++) a.q.set(cache.query(row, h), (row * heads + h) * width);
  for (let i = 0; i < s.count; i++)
    for (let g = 0; g < groups; g++) {
      a.k.set(cache.read("keys", s.rows - 1, s.from + i, g), (i * groups + g) * width);
      a.v.set(cache.read("values", s.rows - 1, s.from + i, g), (i * groups + g) * width);
    }
}

/** Copies pages: page ids[2i] of `from` to page ids[2i + 1] of `to`. */
export function cacheCopy(ids: Int32Array, from: Uint8Array, to: Uint8Array, count: number, bytes: number): void {
  for (let i = 0; i < count; i++)
    to.set(from.subarray(ids[2 * i] * bytes, (ids[2 * i] + 1) * bytes), ids[2 * i + 1] * bytes);
}
