// The arithmetic of one AdamW step on a vector of weights: shared by ops/adamw (float32 moments) and ops/adamw-8bit.
// The formula stands in ops/adamw/reference.ts.
#pragma once
#include "cautious.h"
#include "simd.h"

namespace bitnet::ISA_NS {

struct AdamW {
  VF decay, beta1, rest1, beta2, rest2, eps, step_size, root_scale, gradient_scale;

  // From the numbers 1 to 7 of a call, in the order of adamwParams in ops/adamw/index.ts.
  INLINE AdamW of(const Call& call) {
    return {
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
  }
};

template <bool kCautious>
INLINE void update(VF& weight, VF gradient, VF& m, VF& v, const AdamW& s) {
  const VF g = gradient * s.gradient_scale;
  m = fma(s.beta1, m, s.rest1 * g);
  // Not g * g first: with |g| above 1.8e19 that alone would overflow.
  v = fma(s.beta2, v, s.rest2 * g * g);
  const VF decay = kCautious ? cautious_decay(s.decay, m, weight) : s.decay;
  weight = decay * weight - s.step_size * m / fma(sqrt(v), s.root_scale, s.eps);
}

}  // namespace bitnet::ISA_NS
