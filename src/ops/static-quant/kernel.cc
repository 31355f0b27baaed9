// Activations rounded to int8 with one fixed scale. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

constexpr float kMostCode = 127.0f;

// x [size] float32 -> y [size]: x + lambda · (scale · clip(round(x / scale)) - x).
KERNEL(static_quant) {
  const float* x = call.f32(0);
  float* y = call.f32(1);
  const float scale = static_cast<float>(call.number(1)), degree = static_cast<float>(call.number(2));
  const VF s = splat(scale), inverse = splat(1.0f / scale), lambda = splat(degree), most = splat(kMostCode);
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t n = min(static_cast<size_t>(kLanes), mine.end - i);
    const VF v = load_part(x + i, n);
    const VF code = round_even(v * inverse);
    // Comparisons leave a NaN as it is.
    const VF clipped = select(code > most, most, select(code < -most, -most, code));
    const VF level = clipped * s;
    store_part(y + i, degree == 1.0f ? level : v + lambda * (level - v), n);
  }
}

// x, dy [size] -> dx [size], added to if number 3 is 1.
KERNEL(static_quant_backward) {
  const float *x = call.f32(0), *dy = call.f32(1);
  float* dx = call.f32(2);
  const float scale = static_cast<float>(call.number(1));
  const VF inverse = splat(1.0f / scale), outside = splat(1.0f - static_cast<float>(call.number(2)));
  const VF most = splat(kMostCode);
  const bool accumulate = call.size(3) != 0;
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t n = min(static_cast<size_t>(kLanes), mine.end - i);
    const VF g = load_part(dy + i, n);
    const VF code = abs(round_even(load_part(x + i, n) * inverse));
    const VF value = select(code <= most, g, g * outside);
    store_part(dx + i, accumulate ? load_part(dx + i, n) + value : value, n);
  }
}

}  // namespace bitnet::ISA_NS
