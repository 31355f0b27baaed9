/** Rounding to integers, as every quantiser here and in PyTorch does it. */

/** The nearest integer, and of two the even one. (Math.round(0.5) is 1.) */
export function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const above = x - floor;
  return above < 0.5 || (above === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}
