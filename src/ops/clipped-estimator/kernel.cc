// dw = dy where |w| <= limit · s, else 0. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

// w [size] float32, scale [1], dy [size] -> dw [size], added to if number 2 is 1.
KERNEL(clipped_estimator_backward) {
  const float *w = call.f32(0), *dy = call.f32(2);
  float* dw = call.f32(3);
  const float bound = static_cast<float>(call.number(1)) * call.f32(1)[0];
  const bool accumulate = call.size(2) != 0;
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i++) {
    // A NaN is not within any bound.
    const float value = (w[i] < 0 ? -w[i] : w[i]) <= bound ? dy[i] : 0.0f;
    dw[i] = accumulate ? dw[i] + value : value;
  }
}

}  // namespace bitnet::ISA_NS
