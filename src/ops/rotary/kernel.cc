// Rotary position embedding. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

KERNEL(rotary) {
  const float *x = call.f32(0), *table = call.f32(1);
  float* y = call.f32(2);
  const size_t tokens = call.size(1), heads = call.size(2), width = call.size(3), start = call.size(4);
  const size_t half = width / 2;
  const VF direction = splat(call.number(5));
  const bool accumulate = call.integer(6) != 0;
  const Range mine = call.split(call.size(0));
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float *cosines = table + (start + m % tokens) * width, *sines = cosines + half;
    for (size_t i = 0; i < half; i += kLanes) {
      const size_t n = min(static_cast<size_t>(kLanes), half - i);
      const VF cos = load_part(cosines + i, n), sin = load_part(sines + i, n) * direction;
      for (size_t h = 0; h < heads; h++) {
        const size_t at = (m * heads + h) * width + i;
        const VF a = load_part(x + at, n), b = load_part(x + at + half, n);
        VF first = a * cos - b * sin, second = b * cos + a * sin;
        if (accumulate) {
          first += load_part(y + at, n);
          second += load_part(y + at + half, n);
        }
        store_part(y + at, first, n);
        store_part(y + at + half, second, n);
      }
    }
  }
}

}  // namespace bitnet::ISA_NS
