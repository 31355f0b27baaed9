// y = a + b, into += from, into = from. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

// 16 floats are a cache line: two threads never write the same one.
constexpr size_t kLine = 16;

KERNEL(add_forward) {
  const float *a = call.f32(0), *b = call.f32(1);
  float* y = call.f32(2);
  const Range mine = call.split(call.size(0), kLine);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) store(y + i, load(a + i) + load(b + i));
  const size_t rest = mine.end - i;
  store_part(y + i, load_part(a + i, rest) + load_part(b + i, rest), rest);
}

KERNEL(add_accumulate) {
  float* into = call.f32(0);
  const float* from = call.f32(1);
  const Range mine = call.split(call.size(0), kLine);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) store(into + i, load(into + i) + load(from + i));
  const size_t rest = mine.end - i;
  store_part(into + i, load_part(into + i, rest) + load_part(from + i, rest), rest);
}

KERNEL(add_copy) {
  float* into = call.f32(0);
  const float* from = call.f32(1);
  const Range mine = call.split(call.size(0), kLine);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) store(into + i, load(from + i));
  const size_t rest = mine.end - i;
  store_part(into + i, load_part(from + i, rest), rest);
}

}  // namespace bitnet::ISA_NS
