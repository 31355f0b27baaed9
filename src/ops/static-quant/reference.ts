/**
 * Activations rounded to int8 with one fixed scale, as PyTorch's fake_quantize_per_tensor_affine with codes -127 to 127:
 *
 *   c = round(x · (1 / s))    y = x + lambda · (s · clip(c, -127, 127) - x)    dx = dy · (1 - lambda) where |c| > 127, else dy
 *
 * Rounding is half to even, every step float32; at lambda 1 only the product is made. The slow, exact definition: kernel.cc
 * must equal it, to the bit.
 */
import { roundHalfEven } from "../../quant/rounding.ts";

const f = Math.fround;
/** The largest code. */
const most = 127;

export interface StaticQuantNumbers {
  size: number;
  scale: number;
  lambda: number;
}

/** x, y [size]; y is overwritten. A NaN stays NaN, an infinity becomes the largest level. */
export function staticQuant(x: Float32Array, y: Float32Array, { size, scale, lambda }: StaticQuantNumbers): void {
  const s = f(scale);
  const inverse = f(1 / s);
  for (let i = 0; i < size; i++) {
    const code = roundHalfEven(f(x[i] * inverse));
    const level = f(Math.max(-most, Math.min(most, code)) * s);
    y[i] = lambda === 1 ? level : x[i] + f(f(lambda) * f(level - x[i]));
  }
}

/** x, dy, dx [size]; dx is overwritten, or added to if accumulate. */
export function staticQuantBackward(
  x: Float32Array,
  dy: Float32Array,
  dx: Float32Array,
  { size, scale, lambda, accumulate }: StaticQuantNumbers & { accumulate: number },
): void {
  const inverse = f(1 / f(scale));
  const outside = f(1 - f(lambda));
  for (let i = 0; i < size; i++) {
    const inside = Math.abs(roundHalfEven(f(x[i] * inverse))) <= most;
    const value = inside ? dy[i] : f(dy[i] * outside);
    dx[i] = accumulate ? dx[i] + value : value;
  }
}
