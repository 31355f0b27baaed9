// Copies new rows to their place in a cache; see index.ts.
#include "../../../native/kernel.h"

namespace bitnet::ISA_NS {

KERNEL(cache_append) {
  float* cache = call.f32(0);
  const float* rows = call.f32(1);
  const size_t batch = call.size(0), capacity = call.size(1), length = call.size(2), width = call.size(3);
  const size_t start = call.size(4);
  const Range mine = call.split(batch * length);
  for (size_t r = mine.begin; r < mine.end; r++) {
    float* to = cache + (r / length * capacity + start + r % length) * width;
    const float* from = rows + r * width;
    for (size_t c = 0; c < width; c++) to[c] = from[c];
  }
}

}  // namespace bitnet::ISA_NS
