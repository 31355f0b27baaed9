// into[offset + i] = (into[offset + i]) + factor · x[i]. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

KERNEL(add_scaled) {
  const float* x = call.f32(0);
  float* into = call.f32(1) + call.size(1);
  const VF factor = splat(call.number(2));
  const bool accumulate = call.integer(3) != 0;
  // 16 floats are a cache line: two threads write no line together where `into` starts one.
  const Range mine = call.split(call.size(0), 16);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) {
    const VF scaled = factor * load(x + i);
    store(into + i, accumulate ? load(into + i) + scaled : scaled);
  }
  const size_t rest = mine.end - i;
  const VF scaled = factor * load_part(x + i, rest);
  store_part(into + i, accumulate ? load_part(into + i, rest) + scaled : scaled, rest);
}

}  // namespace bitnet::ISA_NS
