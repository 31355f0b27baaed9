/** Shapes and values on which every backend's attention must agree with reference.ts. */
import { normals } from "../../../test/support/random.ts";

interface Shape {
  batch?: number;
  /** T */
  tokens: number;
  /** S; start + T where absent. */
  keys?: number;
  heads: number;
  kvHeads: number;
  headWidth: number;
  start?: number;
  /** Multiplies q: large scores make one key take all. */
  scale?: number;
  /** Documents begin at multiples of this many positions; absent: one document. */
  documentEvery?: number;
}

const shapes: Record<string, Shape> = {
  "one query, one key": { tokens: 1, heads: 1, kvHeads: 1, headWidth: 1 },
  "tiny's heads": { batch: 2, tokens: 70, heads: 8, kvHeads: 4, headWidth: 48 },
  "a head of one value": { tokens: 21, heads: 2, kvHeads: 1, headWidth: 1 },
  "an odd head width": { batch: 2, tokens: 37, heads: 3, kvHeads: 3, headWidth: 7 },
  "a head wider than a tile": { tokens: 33, heads: 2, kvHeads: 2, headWidth: 130 },
  "the widest head": { tokens: 9, heads: 9, kvHeads: 1, headWidth: 4096 },
  "a head as wide as LLaMA's": { tokens: 40, heads: 4, kvHeads: 1, headWidth: 128 },
  "more keys than a tile": { tokens: 389, heads: 2, kvHeads: 1, headWidth: 16 },
  "fewer key/value heads than threads": { tokens: 150, heads: 2, kvHeads: 1, headWidth: 24 },
  "five key/value heads": { tokens: 50, heads: 10, kvHeads: 5, headWidth: 16 },
  "a chunk after a cache, in a larger cache": {
    batch: 2,
    tokens: 34,
    keys: 300,
    start: 240,
    heads: 4,
    kvHeads: 2,
    headWidth: 20,
  },
  "one query after a long cache": { batch: 3, tokens: 1, keys: 801, start: 799, heads: 6, kvHeads: 3, headWidth: 64 },
  "one query, an odd head width": { tokens: 1, keys: 530, start: 513, heads: 4, kvHeads: 1, headWidth: 13 },
  "three queries after a cache": { tokens: 3, keys: 520, start: 509, heads: 4, kvHeads: 2, headWidth: 48 },
  "packed documents": { batch: 2, tokens: 90, heads: 4, kvHeads: 2, headWidth: 12, documentEvery: 23 },
  "packed documents longer than a tile": { tokens: 600, heads: 1, kvHeads: 1, headWidth: 8, documentEvery: 290 },
  "one query in the second document": {
    tokens: 1,
    start: 600,
    heads: 2,
    kvHeads: 2,
    headWidth: 16,
    documentEvery: 401,
  },
  "scores that let one key take all": { tokens: 45, heads: 2, kvHeads: 1, headWidth: 32, scale: 40 },
};

export const cases = Object.entries(shapes).map(([name, shape], i) => {
  const { batch = 1, tokens, heads, kvHeads, headWidth, start = 0, scale = 1, documentEvery } = shape;
  const keys = shape.keys ?? start + tokens;
  const qShape = [batch, tokens, heads * headWidth];
  const kShape = [batch, keys, kvHeads * headWidth];
  const documentStart = documentEvery
    ? Int32Array.from({ length: batch * tokens }, (_, at) => {
        // Each sequence of the batch is cut elsewhere; the first document may begin before the window (below 0).
        const shift = Math.floor(at / tokens) * 5;
        const position = start + (at % tokens);
        return Math.floor((position + shift) / documentEvery) * documentEvery - shift;
      })
    : null;
  return {
    name,
    params: { heads, kvHeads, start },
    qShape,
    kShape,
    documentShape: [batch, tokens],
    documentStart,
    scale,
    headWidth,
    q: normals(batch * tokens * heads * headWidth, 400 + i, scale),
    k: normals(batch * keys * kvHeads * headWidth, 430 + i),
    v: normals(batch * keys * kvHeads * headWidth, 460 + i),
    dy: normals(batch * tokens * heads * headWidth, 490 + i),
  };
});
