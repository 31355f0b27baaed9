// Ternary weight codes and their scale (absmean). The definition is in reference.ts.
#include "native/simd64.h"
#include "native/ternary-codes.h"

namespace bitnet::ISA_NS {

// w [size] float32 -> codes [size] 0, 1 or 2, scale [1]. rule 0: s = mean|w| + eps and t = w / s; rule 1: s =
// max(mean|w|, eps) and t = w · (1 / s).
KERNEL(weight_quant) {
  const float* w = call.f32(0);
  uint8_t* codes = call.u8(1);
  float* scale = call.f32(2);
  const size_t size = call.size(0);
  const bool clamp = call.integer(1) != 0;
  const float eps = call.number(2);
  const Range mine = call.split(size, 16);

  // Float64 throughout: no sum of float32 magnitudes overflows, and the mean is right to its last float32 bit or so.
  VD low = {}, high = {}, low2 = {}, high2 = {};
  size_t i = mine.begin;
  for (; i + 2 * kLanes <= mine.end; i += 2 * kLanes) {
    const VF a = abs(load(w + i)), b = abs(load(w + i + kLanes));
    low += widen_low(a), high += widen_high(a);
    low2 += widen_low(b), high2 += widen_high(b);
  }
  for (; i < mine.end; i += kLanes) {
    const VF a = abs(load_part(w + i, mine.end - i));
    low += widen_low(a), high += widen_high(a);
  }
  call.shared<double>()[call.thread] = sum((low + low2) + (high + high2));
  call.barrier();
  double total = 0;
  for (int t = 0; t < call.threads; t++) total += call.shared<double>()[t];

  const float mean = static_cast<float>(total / static_cast<double>(size));
  const float s = ternary_codes(w, codes, mine, mean, clamp, eps);
  if (call.thread == 0) scale[0] = s;
}

}  // namespace bitnet::ISA_NS
