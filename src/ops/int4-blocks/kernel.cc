// Weights to 4 bits in blocks of 32, as values. See index.ts; the definition is in reference.ts.
#include "../../../native/half.h"
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

// w [size], whole blocks of 32 -> y [size].
KERNEL(int4_blocks) {
  constexpr size_t kBlock = 32;
  const float* w = call.f32(0);
  float* y = call.f32(1);
  const Range mine = call.split(call.size(0), kBlock);
  for (size_t from = mine.begin; from < mine.end; from += kBlock) {
    float largest = 0;
    bool finite = true;
    for (size_t i = from; i < from + kBlock; i++) {
      const float magnitude = abs(w[i]);
      finite &= magnitude <= 3.402823466e38f;  // false for a NaN too
      if (magnitude > abs(largest)) largest = w[i];
    }
    const float d = largest / -8.0f;
    float scale = finite ? half_to_float(float_to_half(d)) : __builtin_nanf("");
    if (scale == 0) scale = 0.0f;  // never -0
    // Where d is 0 in float16, every value is 0.
    const float inverse = scale == 0 ? 0.0f : 1.0f / d;
    for (size_t i = from; i < from + kBlock; i++) {
      // At least 0.5, so that to cut is to floor.
      const float x = finite ? w[i] * inverse + 8.5f : 8.0f;
      const int32_t q = static_cast<int32_t>(x);
      y[i] = static_cast<float>((q < 15 ? q : 15) - 8) * scale;
    }
  }
}

}  // namespace bitnet::ISA_NS
