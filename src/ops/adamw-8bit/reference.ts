/**
 * AdamW over moments kept in eight bits: block-wise dynamic quantisation (Dettmers, Lewis, Shleifer & Zettlemoyer, "8-bit
 * Optimizers via Block-wise Quantization", arXiv:2110.02861, sections 2 and 3). A block of 256 values has one float32
 * scale, the largest |value| in it, and a code for each value: the number of the nearest entry, in ascending order, of
 *
 *   signed (m)    0, 1, and ± 10^(i-6) (0.1 + 0.9 (j + 1/2) / 2^i)        for i in 0..6, j in 0..2^i - 1
 *   unsigned (v)  0, 1, and   10^(i-6) (0.1 + 0.9 (j + 1/2) / 2^(i+1))    for i in 0..6, j in 0..2^(i+1) - 1
 *
 * (the tree of dynamic quantisation: each decade up has one more bit for the fraction), so value ≈ entry · scale.
 *
 * A step decodes a block, does what ops/adamw does in float32, and encodes what comes out: the weight sees the moments
 * before they are rounded. One thing is not as published: a second moment over zero never becomes zero, but at least the
 * smallest entry. Otherwise a first moment that is still there, over sqrt(0) + eps, can throw its weight out of the block.
 *
 * The slow, exact definition, in float64 between float32 arrays; kernel.cc must agree with it on cases.ts.
 */
import { type AdamwScalars, movesAway } from "../adamw/reference.ts";

/** Values that share a scale. The paper has 2048; the authors' library came to 256. As kBlock in kernel.cc. */
export const stateBlock = 256;

/** The smallest scale: below it a block counts as zeros. float32's smallest normal number. */
const smallestScale = 2 ** -126;

function codebook(signed: boolean): Float32Array {
  const positive: number[] = [];
  for (let i = 0; i < 7; i++) {
    const count = 2 ** (signed ? i : i + 1);
    for (let j = 0; j < count; j++) positive.push(10 ** (i - 6) * (0.1 + (0.9 * (j + 0.5)) / count));
  }
  const negative = signed ? positive.map((x) => -x).reverse() : [];
  return Float32Array.of(...negative, 0, ...positive, 1);
}

/** What codes 0..255 stand for, ascending: of m from -0.99 over 0 (code 127) to 1, of v from 0 (code 0) to 1. */
export const signedCodebook = codebook(true);
export const unsignedCodebook = codebook(false);
export const signedZero = 127;

/** Code of the entry nearest to x, the lower of two as near. */
export function nearestCode(book: Float32Array, x: number): number {
  let low = 0;
  let high = book.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (x > (book[middle] + book[middle + 1]) / 2) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Codes and scale of one block. */
function encode(
  values: Float64Array,
  codes: Uint8Array,
  scales: Float32Array,
  block: number,
  book: Float32Array,
): void {
  const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const scale = largest >= smallestScale ? Math.fround(largest) : 0;
  scales[block] = scale;
  for (const [i, value] of values.entries()) {
    const x = scale > 0 ? Math.fround(value / scale) : 0;
    const code = nearestCode(book, x);
    codes[block * stateBlock + i] = book === unsignedCodebook && x > 0 ? Math.max(code, 1) : code;
  }
}

/**
 * @param weight   [n], changed
 * @param gradient [n]
 * @param m        [n] codes, changed
 * @param v        [n] codes, changed
 * @param mScale   [ceil(n / 256)], changed; zero before the first step
 * @param vScale   [ceil(n / 256)], changed; zero before the first step
 */
export function adamw8bitReference(
  arrays: {
    weight: Float32Array;
    gradient: Float32Array;
    m: Uint8Array;
    v: Uint8Array;
    mScale: Float32Array;
    vScale: Float32Array;
  },
  { n, decay, beta1, beta2, eps, stepSize, rootScale, gradientScale, cautious }: AdamwScalars,
): void {
  const { weight, gradient, mScale, vScale } = arrays;
  for (let block = 0; block * stateBlock < n; block++) {
    const begin = block * stateBlock;
    const count = Math.min(stateBlock, n - begin);
    const m = new Float64Array(count);
    const v = new Float64Array(count);
    for (let k = 0; k < count; k++) {
      const i = begin + k;
      const g = gradient[i] * gradientScale;
      m[k] = beta1 * signedCodebook[arrays.m[i]] * mScale[block] + (1 - beta1) * g;
      v[k] = beta2 * unsignedCodebook[arrays.v[i]] * vScale[block] + (1 - beta2) * g * g;
      const kept = cautious && movesAway(m[k], weight[i]) ? 1 : decay;
      weight[i] = kept * weight[i] - (stepSize * m[k]) / (Math.sqrt(v[k]) * rootScale + eps);
    }
    encode(m, arrays.m, mScale, block, signedCodebook);
    encode(v, arrays.v, vScale, block, unsignedCodebook);
  }
}
