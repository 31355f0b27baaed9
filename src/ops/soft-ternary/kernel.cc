// Soft ternary weights and their exact gradient. See index.ts; the definition is in reference.ts.
#include "native/simd-math.h"
#include "native/simd64.h"

namespace bitnet::ISA_NS {

// p_1 - p_-1 of |u|, with u's sign, and dQ/dw.
INLINE void soft_level(VF u, VF inverse, VF& level, VF& slope) {
  const VF v2 = abs(u) + abs(u), one = splat(1.0f);
  const VF outer = (v2 - one) * inverse, opposite = -(v2 + one) * inverse;
  const VF top = max(outer, VF{});
  const VF plus = exp(outer - top), zero = exp(-top), minus = exp(opposite - top);
  const VF all = plus + zero + minus;
  const VF p = plus / all, o = zero / all, m = minus / all;
  slope = (inverse + inverse) * ((p + m) * o + splat(4.0f) * p * m);
  level = select(u < VF{}, m - p, p - m);
}

// w [size], scale [1] -> y [size]; numbers 1 and 2: temperature, lambda.
KERNEL(soft_ternary_forward) {
  const float* w = call.f32(0);
  float* y = call.f32(2);
  const VF scale = splat(call.f32(1)[0]), inverse = splat(1.0f / call.number(1)), lambda = splat(call.number(2));
  const bool whole = call.number(2) == 1.0f;
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t lanes = mine.end - i < kLanes ? mine.end - i : kLanes;
    const VF x = load_part(w + i, lanes);
    VF level, slope;
    soft_level(x / scale, inverse, level, slope);
    const VF soft = scale * level;
    store_part(y + i, whole ? soft : x + lambda * (soft - x), lanes);
  }
}

// w [size], scale [1], dy [size] -> dw [size]; numbers: size, temperature, lambda, through the scale, accumulate.
KERNEL(soft_ternary_backward) {
  const float *w = call.f32(0), *dy = call.f32(2);
  float* dw = call.f32(3);
  const VF scale = splat(call.f32(1)[0]), inverse = splat(1.0f / call.number(1)), lambda = splat(call.number(2));
  const bool through = call.integer(3) != 0, add = call.integer(4) != 0;
  const Range mine = call.split(call.size(0), 16);
  double share = 0;
  if (through) {
    VD low = {}, high = {};
    for (size_t i = mine.begin; i < mine.end; i += kLanes) {
      const size_t lanes = mine.end - i < kLanes ? mine.end - i : kLanes;
      const VF u = load_part(w + i, lanes) / scale;
      VF level, slope;
      soft_level(u, inverse, level, slope);
      // Beyond the end dy is 0.
      const VF term = load_part(dy + i, lanes) * (level - u * slope);
      low += widen_low(term), high += widen_high(term);
    }
    call.shared<double>()[call.thread] = sum(low + high);
    call.barrier();
    for (int t = 0; t < call.threads; t++) share += call.shared<double>()[t];
    share = share * static_cast<double>(call.number(2)) / static_cast<double>(call.size(0));
  }
  const VF rest = splat(1.0f) - lambda, of_scale = splat(static_cast<float>(share));
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t lanes = mine.end - i < kLanes ? mine.end - i : kLanes;
    const VF x = load_part(w + i, lanes);
    VF level, slope;
    soft_level(x / scale, inverse, level, slope);
    const VF sign = select(x < VF{}, splat(-1.0f), select(x > VF{}, splat(1.0f), VF{}));
    const VF value = load_part(dy + i, lanes) * (rest + lambda * slope) + of_scale * sign;
    store_part(dw + i, add ? load_part(dw + i, lanes) + value : value, lanes);
  }
}

}  // namespace bitnet::ISA_NS
