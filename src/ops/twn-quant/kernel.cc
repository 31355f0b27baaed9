// Ternary weight codes by a threshold, and their scale (TWN). The definition is in reference.ts.
#include "native/simd64.h"

namespace bitnet::ISA_NS {

// The sum over threads, in their order, of what each gives; every thread gets it.
INLINE double total_of(const Call& call, double own) {
  double* shared = call.shared<double>();
  call.barrier();  // of an earlier sum, all have been read
  shared[call.thread] = own;
  call.barrier();
  double total = 0;
  for (int t = 0; t < call.threads; t++) total += shared[t];
  return total;
}

// w [size] float32 -> codes [size] 0, 1 or 2, scale [1].
KERNEL(twn_quant) {
  const float* w = call.f32(0);
  uint8_t* codes = call.u8(1);
  float* scale = call.f32(2);
  const size_t size = call.size(0);
  const bool survivors = call.integer(2) != 0;
  const float eps = call.number(3);
  const Range mine = call.split(size, 16);

  VD low = {}, high = {};
  size_t i = mine.begin;
  for (; i < mine.end; i += kLanes) {
    const VF a = abs(i + kLanes <= mine.end ? load(w + i) : load_part(w + i, mine.end - i));
    low += widen_low(a), high += widen_high(a);
  }
  const float mean = static_cast<float>(total_of(call, sum(low + high)) / static_cast<double>(size));
  const float threshold = call.number(1) * mean;

  const VF above = splat(threshold), below = splat(-threshold);
  low = high = VD{};
  size_t count = 0;
  for (i = mine.begin; i < mine.end; i += kLanes) {
    const bool whole = i + kLanes <= mine.end;
    const VF v = whole ? load(w + i) : load_part(w + i, mine.end - i);  // 0 behind the end: never above
    const VI plus = v > above, minus = v < below;
    const VF kept = select(plus | minus, abs(v), splat(0.0f));
    low += widen_low(kept), high += widen_high(kept);
    count += static_cast<size_t>(-sum(plus | minus));
    const VI c = splat(1) - plus + minus;
    if (whole) store_u8(codes + i, c);
    else
      for (size_t j = 0; i + j < mine.end; j++) codes[i + j] = static_cast<uint8_t>(c[j]);
  }
  const double kept = total_of(call, sum(low + high)), many = total_of(call, static_cast<double>(count));
  const bool finite = mean <= 3.402823466e38f;  // false for a NaN too
  const float level = survivors && finite ? (many > 0 ? static_cast<float>(kept / many) : 0.0f) : mean;
  // NaN stays NaN.
  if (call.thread == 0) scale[0] = level < eps ? eps : level;
}

}  // namespace bitnet::ISA_NS
