// One AdamW step, fused: each of weight, gradient, m and v goes through the processor once. See index.ts; the definition
// is in reference.ts. Bound by memory (28 bytes a weight).
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

struct Settings {
  VF decay, beta1, rest1, beta2, rest2, eps, step_size, root_scale, gradient_scale;
};

INLINE void update(VF& weight, VF gradient, VF& m, VF& v, const Settings& s) {
  const VF g = gradient * s.gradient_scale;
  m = fma(s.beta1, m, s.rest1 * g);
  // Not g * g first: with |g| above 1.8e19 that alone would overflow.
  v = fma(s.beta2, v, s.rest2 * g * g);
  weight = s.decay * weight - s.step_size * m / fma(sqrt(v), s.root_scale, s.eps);
}

KERNEL(adamw_step) {
  float *weight = call.f32(0), *m = call.f32(2), *v = call.f32(3);
  const float* gradient = call.f32(1);
  const Settings s = {
      .decay = splat(call.number(1)),
      .beta1 = splat(call.number(2)),
      // 1 - beta in float64: 1 - float(0.999) would be off by 1e-8, 1e-5 of it.
      .rest1 = splat(static_cast<float>(1 - call.real(2))),
      .beta2 = splat(call.number(3)),
      .rest2 = splat(static_cast<float>(1 - call.real(3))),
      .eps = splat(call.number(4)),
      .step_size = splat(call.number(5)),
      .root_scale = splat(call.number(6)),
      .gradient_scale = splat(call.number(7)),
  };
  const Range mine = call.split(call.size(0), 16);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) {
    VF w = load(weight + i), a = load(m + i), b = load(v + i);
    update(w, load(gradient + i), a, b, s);
    store(weight + i, w);
    store(m + i, a);
    store(v + i, b);
  }
  const size_t rest = mine.end - i;
  VF w = load_part(weight + i, rest), a = load_part(m + i, rest), b = load_part(v + i, rest);
  update(w, load_part(gradient + i, rest), a, b, s);
  store_part(weight + i, w, rest);
  store_part(m + i, a, rest);
  store_part(v + i, b, rest);
}

}  // namespace bitnet::ISA_NS
