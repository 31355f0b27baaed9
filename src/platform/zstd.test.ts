// Oracle: frames written by hand after RFC 8878 (raw and run-length blocks), whose content arithmetic gives.
import { expect, test } from "vitest";
import { FormatError } from "./errors.ts";
import { decompressZstd, decompressZstdWhole, loadZstd } from "./zstd.ts";

const magic = [0x28, 0xb5, 0x2f, 0xfd];
/** A block of `size` bytes: one byte repeated, or as it stands. */
const block = (kind: "repeated" | "raw", size: number, content: number[], last = false): number[] => {
  const header = (size << 3) | ((kind === "raw" ? 0 : 1) << 1) | Number(last);
  return [header & 255, (header >> 8) & 255, header >> 16, ...content];
};
/** A frame without a size, with a window of 128 KiB (2^17: exponent 7). */
const frame = (...blocks: number[][]) => Uint8Array.from([...magic, 0x00, 7 << 3, ...blocks.flat()]);
async function* once(bytes: Uint8Array) {
  yield bytes;
}

const run = 128 * 1024;
const many = (blocks: number) =>
  frame(...Array.from({ length: blocks }, (_, i) => block("repeated", run, [65], i === blocks - 1)));

test("a run of 4 GB in 131 kB is given out as it is made, never held whole", async () => {
  let bytes = 0;
  let most = 0;
  let held = 0;
  const base = process.memoryUsage().arrayBuffers;
  for await (const chunk of decompressZstd(once(many(32_768)), "runs.zst")) {
    bytes += chunk.length;
    if (++held % 1000 === 0) most = Math.max(most, process.memoryUsage().arrayBuffers - base);
    if (bytes > 512 * 2 ** 20) break;
  }
  expect(most).toBeLessThan(256 * 2 ** 20);
});

test("raw and repeated blocks are what they say, however the input is cut", async () => {
  const bytes = frame(block("raw", 300, new Array(300).fill(7)), block("repeated", 5, [9]), block("raw", 1, [1], true));
  const expected = [...new Array(300).fill(7), 9, 9, 9, 9, 9, 1];
  const parts: number[] = [];
  for await (const chunk of decompressZstd(once(bytes), "x.zst")) parts.push(...chunk);
  expect(parts).toEqual(expected);
  await loadZstd();
  expect([...decompressZstdWhole(bytes, 1000)]).toEqual(expected);
});

test("a frame in memory that holds more than is taken is refused as it comes, whatever its header claims", async () => {
  await loadZstd();
  expect(() => decompressZstdWhole(many(4096), 2 ** 20)).toThrow("holds more than the 1048576 bytes");
});

test("a window past 128 MiB is refused, of a frame in one segment too", async () => {
  const windowed = Uint8Array.from([...magic, 0x00, 20 << 3, ...new Array(20).fill(0)]);
  // One segment, with a size of eight bytes: 2^40.
  const single = Uint8Array.from([...magic, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, ...new Array(20).fill(0)]);
  for (const bytes of [windowed, single]) {
    const read = async () => {
      for await (const _ of decompressZstd(once(bytes), "big.zst"));
    };
    await expect(read()).rejects.toThrow(FormatError);
    await expect(read()).rejects.toThrow(/big.zst: was compressed with a window of \d+ bytes, over the limit/);
  }
});
