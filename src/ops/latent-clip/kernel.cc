// Latent weights clipped at a multiple of their mean magnitude. The definition is in reference.ts. Bound by memory.
#include "../../../native/simd64.h"

namespace bitnet::ISA_NS {

KERNEL(latent_clip) {
  float* w = call.f32(0);
  const size_t n = call.size(0);
  const Range mine = call.split(n, 16);
  VD low = {}, high = {};
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const VF a = abs(load_part(w + i, min(static_cast<size_t>(kLanes), mine.end - i)));
    low += widen_low(a), high += widen_high(a);
  }
  call.shared<double>()[call.thread] = sum(low + high);
  call.barrier();
  double total = 0;
  for (int t = 0; t < call.threads; t++) total += call.shared<double>()[t];
  const float bound = static_cast<float>(total / static_cast<double>(n)) * call.number(1);
  const VF most = splat(bound), least = splat(-bound);
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t count = min(static_cast<size_t>(kLanes), mine.end - i);
    const VF v = load_part(w + i, count);
    // Comparisons with NaN are false: it stays.
    store_part(w + i, select(v > most, most, select(v < least, least, v)), count);
  }
}

}  // namespace bitnet::ISA_NS
