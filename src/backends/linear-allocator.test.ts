// Oracle: a map of what is in use, kept beside the allocator and searched in full.
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createLinearAllocator } from "./linear-allocator.ts";

test("never gives out a byte twice, stays in its range, and merges all that comes back", () => {
  // A number: allocate so many blocks of 64 bytes. A pair: free the one at that share of what is in use.
  const action = fc.oneof(fc.integer({ min: 1, max: 40 }), fc.tuple(fc.double({ min: 0, max: 0.999, noNaN: true })));
  fc.assert(
    fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
      const limit = 64 * 400;
      let end = 64 * 10;
      const allocator = createLinearAllocator(64, end, (sizeBytes) => {
        if (end + sizeBytes > limit) return 0;
        end += sizeBytes;
        return end;
      });
      const used: { address: number; size: number }[] = [];
      for (const act of actions) {
        if (typeof act === "number") {
          const size = act * 64;
          const address = allocator.allocate(size);
          if (address === 0) continue;
          expect(address % 64).toBe(0);
          expect(address).toBeGreaterThanOrEqual(64);
          expect(address + size).toBeLessThanOrEqual(end);
          for (const other of used)
            expect(address + size <= other.address || other.address + other.size <= address).toBe(true);
          used.push({ address, size });
        } else if (used.length > 0) {
          const [{ address }] = used.splice(Math.floor(act[0] * used.length), 1);
          allocator.free(address);
        }
      }
      for (const { address } of used) allocator.free(address);
      // One gap again: the whole range fits, and it begins at the start.
      expect(allocator.allocate(end - 64)).toBe(64);
    }),
    { numRuns: 200, seed: 7 },
  );
});

test("grows by no more than what the last gap lacks", () => {
  const asked: number[] = [];
  const allocator = createLinearAllocator(64, 64 * 3, (sizeBytes) => {
    asked.push(sizeBytes);
    return 64 * 3 + sizeBytes;
  });
  expect(allocator.allocate(64 * 5)).toBe(64);
  expect(asked).toEqual([64 * 3]);
});

test("takes the lowest gap that fits", () => {
  const allocator = createLinearAllocator(64, 64 * 100, () => 0);
  const [a, , c] = [
    allocator.allocate(64 * 2),
    allocator.allocate(64),
    allocator.allocate(64 * 4),
    allocator.allocate(64),
  ];
  allocator.free(a);
  allocator.free(c);
  expect(allocator.allocate(64 * 3)).toBe(c);
  expect(allocator.allocate(64)).toBe(a);
});

test("refuses to free what is not in use", () => {
  const allocator = createLinearAllocator(64, 640, () => 0);
  const address = allocator.allocate(64);
  allocator.free(address);
  expect(() => allocator.free(address)).toThrow("linear allocator: free of address 64, which is not in use");
});
