// One AdamW step, fused: each of weight, gradient, m and v goes through the processor once. See index.ts; the definition
// is in reference.ts. Bound by memory (28 bytes a weight).
#include "../../../native/adamw.h"

namespace bitnet::ISA_NS {

template <bool kCautious>
static void adamw_with(const Call& call) {
  float *weight = call.f32(0), *m = call.f32(2), *v = call.f32(3);
  const float* gradient = call.f32(1);
  const AdamW s = AdamW::of(call);
  const Range mine = call.split(call.size(0), 16);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) {
    VF w = load(weight + i), a = load(m + i), b = load(v + i);
    update<kCautious>(w, load(gradient + i), a, b, s);
    store(weight + i, w);
    store(m + i, a);
    store(v + i, b);
  }
  const size_t rest = mine.end - i;
  VF w = load_part(weight + i, rest), a = load_part(m + i, rest), b = load_part(v + i, rest);
  update<kCautious>(w, load_part(gradient + i, rest), a, b, s);
  store_part(weight + i, w, rest);
  store_part(m + i, a, rest);
  store_part(v + i, b, rest);
}

KERNEL(adamw_step) { call.integer(8) ? adamw_with<true>(call) : adamw_with<false>(call); }

}  // namespace bitnet::ISA_NS
