// Ternary weights by a learned scale, and its gradient. See index.ts; the definition is in reference.ts. Bound by memory.
#include "native/simd64.h"
#include "native/ternary-codes.h"

namespace bitnet::ISA_NS {

constexpr float kLeastScale = 1.0f / 32768;

// NaN stays NaN.
INLINE float used_scale(float a) { return a < kLeastScale ? kLeastScale : a; }

INLINE VF part_of(const float* p, size_t left) {
  return left >= static_cast<size_t>(kLanes) ? load(p) : load_part(p, left);
}

// w [size], a [1] -> codes [size] 0, 1 or 2, scale [1].
KERNEL(learned_scale_quant) {
  const float* w = call.f32(0);
  uint8_t* codes = call.u8(2);
  const float a = used_scale(call.f32(1)[0]), levels = call.number(1);
  const VF divisor = splat(a), factor = splat(levels);
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const VF t = part_of(w + i, mine.end - i) / divisor * factor;
    const VI c = ternary_code(t);
    if (i + kLanes <= mine.end) store_u8(codes + i, c);
    else
      for (size_t j = 0; i + j < mine.end; j++) codes[i + j] = static_cast<uint8_t>(c[j]);
  }
  if (call.thread == 0) call.f32(3)[0] = 1.0f / levels * a;
}

// w [size], a [1], g [size] -> dw [size], added to if number 3 is 1.
KERNEL(learned_scale_weight_backward) {
  const float *w = call.f32(0), *g = call.f32(2);
  float* dw = call.f32(3);
  const float a = used_scale(call.f32(1)[0]), range = call.number(1);
  const float outside = static_cast<float>(1.0 - call.real(2));
  const bool accumulate = call.size(3) != 0;
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i++) {
    const float value = abs(w[i] / a) <= range ? g[i] : g[i] * outside;
    dw[i] = accumulate ? dw[i] + value : value;
  }
}

// w [size], a [1], g [size] -> da [1], added to if number 5 is 1.
KERNEL(learned_scale_backward) {
  const float *w = call.f32(0), *g = call.f32(2);
  const float levels = call.number(1), unit = 1.0f / levels;
  const VF divisor = splat(used_scale(call.f32(1)[0])), factor = splat(levels), range = splat(call.number(2));
  const VF slope = splat(call.number(3)), plus = splat(unit), minus = splat(-unit), zero = splat(0.0f);
  const Range mine = call.split(call.size(0), 16);
  VD low = {}, high = {};
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t left = mine.end - i;
    const VF r = part_of(w + i, left) / divisor, t = r * factor;
    const VF level = select(t > splat(0.5f), plus, select(t < splat(-0.5f), minus, zero));
    const VF sign = select(r > zero, splat(1.0f), splat(-1.0f));
    const VF c = select(abs(r) > range, sign, level - slope * r);
    // Behind the end g is 0, and r too.
    const VF product = part_of(g + i, left) * c;
    low += widen_low(product), high += widen_high(product);
  }
  call.shared<double>()[call.thread] = sum(low + high);
  call.barrier();
  if (call.thread != 0) return;
  double total = 0;
  for (int t = 0; t < call.threads; t++) total += call.shared<double>()[t];
  float* da = call.f32(3);
  const float value = static_cast<float>(total * call.real(4));
  da[0] = call.size(5) != 0 ? da[0] + value : value;
}

}  // namespace bitnet::ISA_NS
