// array = value. See index.ts.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

KERNEL(fill) {
  float* array = call.f32(0);
  const Range mine = call.split(call.size(0), 16);
  const VF value = splat(call.number(1));
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) store(array + i, value);
  store_part(array + i, value, mine.end - i);
}

}  // namespace bitnet::ISA_NS
