// Ternary codes of weights by one scale, as absmean and its kin make them (ops/weight-quant/reference.ts, codesOfScale).
#pragma once
#include "simd.h"

namespace bitnet::ISA_NS {

// codes = 1 + (t > 0.5) - (t < -0.5), which is 1 + clip(round half to even(t)); 1 where t is NaN.
INLINE VI ternary_code(VF t) { return splat(1) - (t > splat(0.5f)) + (t < splat(-0.5f)); }

// The codes of w[mine], and their scale s. add: s = level + eps and t = w / s; clamp: s = max(level, eps) and t = w · (1 / s).
INLINE float ternary_codes(const float* w, uint8_t* codes, Range mine, float level, bool clamp, float eps) {
  // NaN stays NaN: max() would drop it.
  const float s = !clamp ? level + eps : level < eps ? eps : level;
  const VF divisor = splat(s), factor = splat(1.0f / s);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) {
    const VF v = load(w + i);
    store_u8(codes + i, ternary_code(clamp ? v * factor : v / divisor));
  }
  if (i < mine.end) {
    const VF v = load_part(w + i, mine.end - i);
    const VI c = ternary_code(clamp ? v * factor : v / divisor);
    for (size_t j = 0; i + j < mine.end; j++) codes[i + j] = static_cast<uint8_t>(c[j]);
  }
  return s;
}

}  // namespace bitnet::ISA_NS
