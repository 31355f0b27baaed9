/**
 * Activations clipped to a learned bound a and rounded to a fixed grid of 2L + 1 levels (PACT, Choi et al., arXiv:1805.06085, in
 * its symmetric form, since the inputs of our layers have both signs):
 *
 *   Q(x) = round(clip(x, -a, a) · (L / a)) · (a / L)          y = x + lambda · (Q(x) - x)
 *   dx = dy inside |x| < a, (1 - lambda) dy outside;   da = lambda · (sum of dy where x >= a - sum of dy where x <= -a)
 *
 * The straight-through gradient of a clipped range: the rounding passes it on, the clip does not. a is held above eps, where
 * it gets no gradient. The slow definition: float32 but for the sum; kernel.cc must equal Q(x), y and dx to the bit.
 */
import { roundHalfEven } from "../../quant/rounding.ts";

const f = Math.fround;

const usable = (clip: number, eps: number): number => (clip > f(eps) ? clip : f(eps));

/** x, y [size], clip [1]. */
export function clipQuantForward(
  { x, clip, y }: { x: Float32Array; clip: Float32Array; y: Float32Array },
  { size, levels, lambda, eps }: { size: number; levels: number; lambda: number; eps: number },
): void {
  const a = usable(clip[0], eps);
  const [factor, step] = [f(levels / a), f(a / levels)];
  for (let i = 0; i < size; i++) {
    const q = f(roundHalfEven(f(Math.max(-a, Math.min(a, x[i])) * factor)) * step);
    y[i] = lambda === 1 ? q : x[i] + f(f(lambda) * f(q - x[i]));
  }
}

/** dx [size] and dclip [1] may be null. */
export function clipQuantBackward(
  a: { x: Float32Array; clip: Float32Array; dy: Float32Array; dx: Float32Array | null; dclip: Float32Array | null },
  p: Record<"size" | "lambda" | "eps" | "addX" | "addClip", number>,
): void {
  const { x, dy, dx, dclip } = a;
  const bound = usable(a.clip[0], p.eps);
  const outside = f(1 - f(p.lambda));
  let sum = 0;
  for (let i = 0; i < p.size; i++) {
    const sign = x[i] >= bound ? 1 : x[i] <= -bound ? -1 : 0;
    sum += sign * dy[i];
    if (!dx) continue;
    const value = sign === 0 ? dy[i] : f(outside * dy[i]);
    dx[i] = p.addX ? dx[i] + value : value;
  }
  if (!dclip) return;
  const value = a.clip[0] > f(p.eps) ? f(f(p.lambda) * sum) : 0;
  dclip[0] = p.addClip ? dclip[0] + value : value;
}
