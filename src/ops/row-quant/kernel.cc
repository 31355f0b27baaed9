// Weights rounded to b bits with a scale for each row. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

// w [rows, width] -> y like it; number 2: bits.
KERNEL(row_quant) {
  const size_t rows = call.size(0), width = call.size(1);
  const float levels = static_cast<float>((1 << (call.integer(2) - 1)) - 1);
  const Range mine = call.split(rows);
  for (size_t n = mine.begin; n < mine.end; n++) {
    const float* w = call.f32(0) + n * width;
    float* y = call.f32(1) + n * width;
    float largest = 0;
    bool finite = true;
    for (size_t k = 0; k < width; k++) {
      const float magnitude = w[k] < 0 ? -w[k] : w[k];
      finite &= magnitude <= 3.402823466e38f;  // false for a NaN too
      largest = magnitude > largest ? magnitude : largest;
    }
    const float s = finite ? largest / levels : __builtin_nanf("");
    const float inverse = s < 1.17549435e-38f ? 0.0f : 1.0f / s;
    const VF scale = splat(s), factor = splat(inverse), low = splat(-levels), high = splat(levels);
    for (size_t k = 0; k < width; k += kLanes) {
      const size_t lanes = width - k < kLanes ? width - k : kLanes;
      const VF q = round_even(load_part(w + k, lanes) * factor);
      store_part(y + k, max(low, min(high, q)) * scale, lanes);
    }
  }
}

}  // namespace bitnet::ISA_NS
