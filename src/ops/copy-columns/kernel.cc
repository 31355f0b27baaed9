// Copies a matrix into columns of a wider one. See index.ts, whose kernel's reference is the definition.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

// from [rows, width] -> to [rows, stride] at columns first, first + 1, ...
KERNEL(copy_columns) {
  const size_t rows = call.size(0), width = call.size(1), stride = call.size(2), first = call.size(3);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* from = call.f32(0) + m * width;
    float* to = call.f32(1) + m * stride + first;
    size_t i = 0;
    for (; i + kLanes <= width; i += kLanes) store(to + i, load(from + i));
    for (; i < width; i++) to[i] = from[i];
  }
}

}  // namespace bitnet::ISA_NS
