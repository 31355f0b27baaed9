// Weights to int8 in blocks of 32, as values. See index.ts; the definition is in reference.ts.
#include "../../../native/half.h"
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

// w [size], whole blocks of 32 -> y [size].
KERNEL(int8_blocks) {
  constexpr size_t kBlock = 32;
  const float* w = call.f32(0);
  float* y = call.f32(1);
  const Range mine = call.split(call.size(0), kBlock);
  for (size_t from = mine.begin; from < mine.end; from += kBlock) {
    float largest = 0;
    bool finite = true;
    for (size_t i = from; i < from + kBlock; i++) {
      const float magnitude = w[i] < 0 ? -w[i] : w[i];
      finite &= magnitude <= 3.402823466e38f;  // false for a NaN too
      largest = magnitude > largest ? magnitude : largest;
    }
    const float d = largest / 127.0f, inverse = d == 0 ? 0.0f : 1.0f / d;
    const float scale = finite ? half_to_float(float_to_half(d)) : __builtin_nanf("");
    for (size_t i = from; i < from + kBlock; i++) {
      const float x = w[i] * inverse, magnitude = x < 0 ? -x : x;
      int32_t q = finite ? static_cast<int32_t>(magnitude) : 0;
      q += magnitude - static_cast<float>(q) >= 0.5f;
      y[i] = static_cast<float>(x < 0 ? -q : q) * scale;
    }
  }
}

}  // namespace bitnet::ISA_NS
