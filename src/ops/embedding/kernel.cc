// Embedding: gather rows; scatter gradients back. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

// 16 floats are a cache line: two threads never write the same one.
constexpr size_t kLine = 16;

INLINE void copy_row(float* to, const float* from, size_t width) {
  size_t c = 0;
  for (; c + kLanes <= width; c += kLanes) store(to + c, load(from + c));
  store_part(to + c, load_part(from + c, width - c), width - c);
}
INLINE void fill_row(float* to, float value, size_t width) {
  const VF v = splat(value);
  size_t c = 0;
  for (; c + kLanes <= width; c += kLanes) store(to + c, v);
  store_part(to + c, v, width - c);
}
INLINE void add_row(float* to, const float* from, size_t width) {
  size_t c = 0;
  for (; c + kLanes <= width; c += kLanes) store(to + c, load(to + c) + load(from + c));
  store_part(to + c, load_part(to + c, width - c) + load_part(from + c, width - c), width - c);
}

KERNEL(embedding_forward) {
  const int32_t* ids = call.i32(0);
  const float* table = call.f32(1);
  float* y = call.f32(2);
  const size_t vocabulary = call.size(1), width = call.size(2);
  const Range mine = call.split(call.size(0));
  for (size_t n = mine.begin; n < mine.end; n++) {
    if (ids[n] >= 0 && static_cast<size_t>(ids[n]) < vocabulary)
      copy_row(y + n * width, table + static_cast<size_t>(ids[n]) * width, width);
    else
      fill_row(y + n * width, __builtin_nanf(""), width);
  }
}

// Each thread has columns of its own and takes all ids in order, so the sums never depend on the number of threads.
KERNEL(embedding_backward) {
  const int32_t* ids = call.i32(0);
  const float* dy = call.f32(1);
  float* dtable = call.f32(2);
  const size_t count = call.size(0), vocabulary = call.size(1), width = call.size(2);
  const Range mine = call.split(width, kLine);
  const size_t columns = mine.end - mine.begin;
  if (columns == 0) return;
  if (!call.integer(3))
    for (size_t v = 0; v < vocabulary; v++) fill_row(dtable + v * width + mine.begin, 0, columns);
  for (size_t n = 0; n < count; n++) {
    if (ids[n] < 0 || static_cast<size_t>(ids[n]) >= vocabulary) continue;
    add_row(dtable + static_cast<size_t>(ids[n]) * width + mine.begin, dy + n * width + mine.begin, columns);
  }
}

}  // namespace bitnet::ISA_NS
