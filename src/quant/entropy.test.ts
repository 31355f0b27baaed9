// Oracle: the codes that went in, and Shannon's bound: -sum p log2 p bits a code, which no decodable code undercuts on
// the mean and which rANS approaches.
import { expect, test } from "vitest";
import { createRandom } from "../platform/random.ts";
import {
  areFrequencies,
  blockBytesOf,
  blockCodes,
  countCodes,
  decodeBlock,
  encodeBlock,
  frequenciesOf,
  leastFrequency,
  mostBlockBytes,
  mostCodesPerByte,
  tableBits,
} from "./entropy.ts";

function draw(shares: readonly [number, number, number], length: number): Uint8Array {
  const random = createRandom(length + 1);
  return Uint8Array.from({ length }, () => {
    const u = random.uniform();
    return u < shares[0] ? 0 : u < shares[0] + shares[1] ? 1 : 2;
  });
}

function encode(codes: Uint8Array) {
  const frequencies = frequenciesOf(countCodes(codes));
  const bytes = new Uint8Array(mostBlockBytes);
  const size = encodeBlock(codes, frequencies, bytes);
  expect(blockBytesOf(bytes)).toBe(size);
  return { frequencies, bytes: bytes.subarray(0, size) };
}

const shares = [
  [1 / 3, 1 / 3, 1 / 3],
  [0.3, 0.4, 0.3],
  [0.25, 0.5, 0.25],
  [0.1, 0.75, 0.15],
  [0.04, 0.92, 0.04],
  [0.9, 0.05, 0.05],
  [0, 1, 0],
  [1, 0, 0],
  [0.5, 0, 0.5],
] as const;

test.for(shares.map((p) => ({ p, name: p.map((x) => x.toFixed(2)).join(", ") })))(
  "codes with shares $name come back, at most 0.2 % above the entropy",
  ({ p }) => {
    const codes = draw(p, blockCodes);
    const counts = countCodes(codes);
    const { frequencies, bytes } = encode(codes);
    expect(areFrequencies(frequencies)).toBe(true);
    const back = new Uint8Array(codes.length);
    expect(decodeBlock(bytes, frequencies, back)).toBeNull();
    expect(Buffer.compare(back, codes)).toBe(0);
    const entropy = counts.reduce((h, n) => (n > 0 ? h - (n / codes.length) * Math.log2(n / codes.length) : h), 0);
    const bits = (8 * bytes.length) / codes.length;
    const table = tableBits(counts, frequencies);
    // 10 bytes of head and first state on 65536 codes: 0.0012 bits.
    expect(bits).toBeLessThan(1.002 * table + 0.0013);
    expect(bits).toBeGreaterThanOrEqual(entropy);
    if (p.every((x) => x >= leastFrequency / 4096)) expect(table).toBeLessThan(entropy * 1.0005 + 1e-6);
    expect(codes.length / bytes.length).toBeLessThan(mostCodesPerByte);
  },
);

test("blocks of every small length come back", () => {
  for (let length = 0; length < 40; length++) {
    const codes = draw([0.2, 0.5, 0.3], length);
    const { frequencies, bytes } = encode(codes);
    const back = new Uint8Array(length);
    expect(decodeBlock(bytes, frequencies, back)).toBeNull();
    expect(back).toEqual(codes);
  }
});

test("a block that is cut, lengthened or of other length is refused, and most flipped bits are seen", () => {
  const codes = draw([0.25, 0.5, 0.25], 500);
  const { frequencies, bytes } = encode(codes);
  const back = new Uint8Array(codes.length);
  expect(decodeBlock(bytes.subarray(0, -2), frequencies, back)).toMatch(/words end at weight/);
  expect(decodeBlock(Uint8Array.of(...bytes, 0, 0), frequencies, back)).toMatch(/left over/);
  expect(decodeBlock(bytes, frequencies, new Uint8Array(400))).not.toBeNull();
  let seen = 0;
  const bits = 8 * (bytes.length - 2);
  for (let bit = 0; bit < bits; bit++) {
    const bad = bytes.slice();
    bad[2 + (bit >> 3)] ^= 1 << (bit & 7);
    if (decodeBlock(bad, frequencies, back) !== null) seen++;
  }
  // The final state is 15 bits of check: by chance one in 2^15 passes.
  expect(seen).toBeGreaterThan(bits * 0.99);
});

test("every table of counts is one that decoders accept", () => {
  for (const counts of [
    [0, 0, 0],
    [1, 0, 0],
    [0, 1_000_000, 1],
    [5, 5, 0],
    [1, 1, 1],
    [3_000_000_000, 1, 2_000_000_000],
  ])
    expect(areFrequencies(frequenciesOf(counts)), String(counts)).toBe(true);
});
