// Activations clipped to a learned bound and rounded to a fixed grid (PACT), and the gradients of both. See index.ts; the
// definition is in reference.ts. Bound by memory.
#include "native/rows.h"

namespace bitnet::ISA_NS {

// Of a bound that is not above eps, or is no number, eps.
INLINE float usable(float clip, float eps) { return clip > eps ? clip : eps; }

// x [size], clip [1] -> y [size]. Numbers size, levels, lambda, eps.
KERNEL(clip_quant_forward) {
  const float* x = call.f32(0);
  float* y = call.f32(2);
  const float a = usable(call.f32(1)[0], call.number(3)), levels = call.number(1), lambda = call.number(2);
  const VF bound = splat(a), factor = splat(levels / a), step = splat(a / levels);
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t n = part(i, mine.end);
    const VF v = load_part(x + i, n);
    // In this order min and max keep a NaN.
    const VF q = round_even(max(-bound, min(bound, v)) * factor) * step;
    store_part(y + i, lambda == 1.0f ? q : v + splat(lambda) * (q - v), n);
  }
}

// dx and dclip may be null. Numbers size, lambda, eps, addX, addClip.
KERNEL(clip_quant_backward) {
  const float *x = call.f32(0), *dy = call.f32(2);
  float *dx = call.f32(3), *dclip = call.f32(4);
  const float clip = call.f32(1)[0], a = usable(clip, call.number(2)), lambda = call.number(1);
  const VF bound = splat(a), outside = splat(1.0f - lambda);
  const bool add_x = call.integer(3) != 0, add_clip = call.integer(4) != 0;
  const Range mine = call.split(call.size(0), 16);
  VD low = {}, high = {};
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t n = part(i, mine.end);
    const VF v = load_part(x + i, n), d = load_part(dy + i, n);
    const VI above = v >= bound, below = v <= -bound;
    if (dx) {
      const VF of_x = select(above | below, outside * d, d);
      store_part(dx + i, add_x ? load_part(dx + i, n) + of_x : of_x, n);
    }
    const VF of_clip = select(above, d, select(below, -d, VF{}));
    low += widen_low(of_clip), high += widen_high(of_clip);
  }
  if (!dclip) return;
  call.shared<double>()[call.thread] = sum(low + high);
  call.barrier();
  if (call.thread != 0) return;
  double total = 0;
  for (int t = 0; t < call.threads; t++) total += call.shared<double>()[t];
  // A bound that is held at eps does not move what it clips.
  const float of_clip = clip > call.number(2) ? static_cast<float>(lambda * total) : 0.0f;
  dclip[0] = add_clip ? dclip[0] + of_clip : of_clip;
}

}  // namespace bitnet::ISA_NS
