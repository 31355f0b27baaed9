// Sum of squares in float64. See index.ts; the definition is in reference.ts.
#include "../../../native/simd64.h"

namespace bitnet::ISA_NS {

KERNEL(sum_squares) {
  const float* x = call.f32(0);
  const Range mine = call.split(call.size(0), 16);
  // Four chains, since an addition takes four cycles. The square of a float32 is exact in float64.
  VD s0 = {}, s1 = {}, s2 = {}, s3 = {};
  const auto add = [](VD& low, VD& high, VF v) {
    const VD a = widen_low(v), b = widen_high(v);
    low += a * a;
    high += b * b;
  };
  size_t i = mine.begin;
  for (; i + 2 * kLanes <= mine.end; i += 2 * kLanes) {
    add(s0, s1, load(x + i));
    add(s2, s3, load(x + i + kLanes));
  }
  for (; i < mine.end; i += kLanes) add(s0, s1, load_part(x + i, min(static_cast<size_t>(kLanes), mine.end - i)));

  double* partial = call.shared<double>();
  partial[call.thread] = sum((s0 + s2) + (s1 + s3));
  call.barrier();
  if (call.thread != 0) return;
  double total = 0;
  for (int t = 0; t < call.threads; t++) total += partial[t];
  call.f32(1)[call.size(1)] = static_cast<float>(total);
}

}  // namespace bitnet::ISA_NS
