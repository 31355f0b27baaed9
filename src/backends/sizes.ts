/**
 * A launch's numbers against its buffers, before the kernel runs: a kernel trusts its sizes, and one too large would have it
 * write past its memory. What a kernel says of its buffers is looked up once; a launch then costs a few products. Called by
 * every backend's `launch`; knows no kernel.
 */
import { ShapeError } from "../platform/errors.ts";
import type { Kernel } from "./backend.ts";

export interface SizeCheck {
  /** Index of the buffer, and of the numbers whose product is its least length. */
  readonly buffer: number;
  readonly factors: readonly number[];
}

export function sizeChecks(kernel: Kernel): SizeCheck[] {
  const names = Object.keys(kernel.buffers);
  return Object.entries(kernel.sizes ?? {}).map(([name, factors]) => ({
    buffer: names.indexOf(name),
    factors: factors!.map((factor) => kernel.params.indexOf(factor)),
  }));
}

/**
 * @param elements of each buffer; Infinity of one that is null
 * @throws ShapeError for a size that is no whole number from 0, or a buffer that is shorter than the sizes say
 */
export function checkSizes(
  kernel: Kernel,
  checks: readonly SizeCheck[],
  numbers: ArrayLike<number>,
  elements: ArrayLike<number>,
): void {
  for (const { buffer, factors } of checks) {
    let least = 1;
    for (const factor of factors) {
      const size = numbers[factor];
      if (!(size >= 0 && Number.isSafeInteger(size)))
        throw new ShapeError(`${kernel.name}: ${kernel.params[factor]} is ${size}; expected a whole number from 0`);
      least *= size;
    }
    if (least > elements[buffer])
      throw new ShapeError(
        `${kernel.name}: "${Object.keys(kernel.buffers)[buffer]}" has ${elements[buffer]} elements, but ${factors.map((factor) => `${kernel.params[factor]} ${numbers[factor]}`).join(" times ")} are ${least}`,
      );
  }
}
