// Rows of logits as the losses over them read them: largest value, and the sum of exponentials below it.
// Shared by cross-entropy, z-loss and uniform-cross-entropy.
#pragma once
#include "simd-math.h"

namespace bitnet::ISA_NS {

constexpr int32_t kIgnored = -100;  // a target that does not count
constexpr size_t kLanesWide = kLanes;

INLINE float row_max(const float* x, size_t classes) {
  const VF lowest = splat(-__builtin_inff());
  VF most[4] = {lowest, lowest, lowest, lowest};
  size_t v = 0;
  for (; v + 4 * kLanesWide <= classes; v += 4 * kLanesWide) {
    UNROLL for (int i = 0; i < 4; i++) most[i] = max(load(x + v + i * kLanes), most[i]);
  }
  for (; v + kLanesWide <= classes; v += kLanesWide) most[0] = max(load(x + v), most[0]);
  float result = largest(max(max(most[0], most[1]), max(most[2], most[3])));
  for (; v < classes; v++) result = max(x[v], result);
  return result;
}

// sum of e^(x - most); NaN if any x is NaN, or most is infinite.
INLINE double row_sum(const float* x, float most, size_t classes) {
  const VF base = splat(most);
  VF sums[4] = {};
  size_t v = 0;
  for (; v + 4 * kLanesWide <= classes; v += 4 * kLanesWide) {
    UNROLL for (int i = 0; i < 4; i++) sums[i] += exp(load(x + v + i * kLanes) - base);
  }
  for (; v < classes; v += kLanesWide) {
    const size_t n = min(kLanesWide, classes - v);
    VF e = exp(load_part(x + v, n) - base);
    if (n < kLanesWide) {
      float lanes[kLanes] = {};
      store_part(lanes, e, n);
      e = load(lanes);
    }
    sums[0] += e;
  }
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

}  // namespace bitnet::ISA_NS
