/** Codes on which every backend's counts must equal reference.ts. */
import { integers } from "../../../test/support/random.ts";

const shapes: [name: string, n: number, limit: number][] = [
  ["one code", 1, 3],
  ["fewer codes than a vector has bytes", 15, 3],
  ["a size with a remainder", 67, 3],
  ["exactly a vector of 64 bytes", 64, 3],
  // 8-bit counters overflow after 255 vectors: 64 * 256 * 3 threads is past that for every one.
  ["more vectors than a byte can count", 64 * 256 * 3 + 5, 3],
  ["only -1", 20_000, 1],
  ["bytes that are no code", 1000, 256],
];

export const cases = shapes.map(([name, n, limit], i) => {
  const codes = Uint8Array.from(integers(n, 10 + i, limit));
  const changes = integers(n, 20 + i, 10);
  return { name, codes, previous: codes.map((code, k) => (changes[k] === 0 ? (code + 1) % 3 : code)) };
});
