// One SGD step, fused. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/cautious.h"
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

template <bool kCautious>
static void sgd_with(const Call& call) {
  float* weight = call.f32(0);
  const float* gradient = call.f32(1);
  float* buffer = call.has(2) ? call.f32(2) : nullptr;
  const VF decay = splat(call.number(1)), rate = splat(call.number(2)), momentum = splat(call.number(3));
  const VF scale = splat(call.number(4));
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t n = min(static_cast<size_t>(kLanes), mine.end - i);
    VF change = load_part(gradient + i, n) * scale;
    if (buffer) {
      change = fma(momentum, load_part(buffer + i, n), change);
      store_part(buffer + i, change, n);
    }
    const VF w = load_part(weight + i, n);
    store_part(weight + i, (kCautious ? cautious_decay(decay, change, w) : decay) * w - rate * change, n);
  }
}

KERNEL(sgd_step) { call.integer(5) ? sgd_with<true>(call) : sgd_with<false>(call); }

}  // namespace bitnet::ISA_NS
