// Oracle: sums of products in float64, written here (bench/products.ts), over codes that the quantisers' references give.
// Bound: relative to the sum of the terms' magnitudes, 2^-20 in float32, 2^-8 for each operand rounded to bfloat16, 1e-6
// for the exact integer product and its two scales. Corners and some forty values of each result are compared.
import { describe, expect, test } from "vitest";
import { fillUniform, productsOf } from "../../bench/products.ts";
import { forEachBackend } from "../../test/support/backends.ts";

// Around the kernels' tiles, blocks and stretches, and far from all of them; one row to nine thousand.
const shapes: [m: number, k: number, n: number][] = [
  ...[1, 2, 3, 7, 9, 33, 97, 193, 9000].map((m): [number, number, number] => [m, 67, 35]),
  ...[1, 33, 129, 1025].map((k): [number, number, number] => [50, k, 49]),
  ...[1, 31, 33, 97].map((n): [number, number, number] => [33, 130, n]),
];

forEachBackend((backend) => {
  // The reference is the definition; its matrix products have tests of their own.
  describe.skipIf(backend.choice.backend === "reference")("every product of training", () => {
    test("is right for one row to nine thousand, and for any remainder of K and N", async () => {
      const device = await backend.get();
      for (const [m, k, n] of shapes) {
        const fill = (count: number, seed: number) => fillUniform(new Float32Array(count), seed);
        const { products, free } = productsOf(device, {
          ...{ m, k, n, x: fill(m * k, m), w: fill(n * k, k + 1), dy: fill(m * n, n + 2) },
        });
        for (const product of products) await product.check();
        expect(products.length).toBe(device.supports.bf16 ? 9 : 6);
        free();
      }
      expect(device.stats.liveBytes).toBe(0);
    });
  });
});
