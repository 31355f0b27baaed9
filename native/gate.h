// The gate of a gated activation, h = f(gate) * up, and its gradient; vectors in, vectors out. The definition is in
// ops/gated-activation/reference.ts.
#pragma once
#include "simd-math.h"

namespace bitnet::ISA_NS {

// As `kinds` in ops/gated-activation/reference.ts.
enum Kind { kSilu = 0, kRelu2 = 1 };

// s = 1 / (1 + e^-g) and 1 - s, from e^-|g|: neither overflows, and neither cancels.
INLINE void sigmoid(VF g, VF& s, VF& rest) {
  const VF e = exp(-abs(g));
  const VF large = splat(1.f) / (splat(1.f) + e), small = e * large;
  const VI negative = g < 0.f;
  s = select(negative, small, large);
  rest = select(negative, large, small);
}

// max(g, 0), and NaN for NaN.
INLINE VF rectified(VF g) { return select(g <= 0.f, VF{}, g); }

template <int kind>
INLINE VF gated(VF g, VF up) {
  if (kind == kRelu2) {
    const VF r = rectified(g);
    return r * up * r;  // r * r might overflow where the result does not
  }
  VF s, rest;
  sigmoid(g, s, rest);
  return g * s * up;
}

// With d the gradient of h: that of the gate and that of up. s and rest are the gate's sigmoid (not read for relu2).
template <int kind>
INLINE void gated_gradients(VF g, VF up, VF d, VF s, VF rest, VF& dgate, VF& dup) {
  if (kind == kRelu2) {
    const VF r = rectified(g);
    dgate = d * up * (r + r);
    dup = d * r * r;
    return;
  }
  dgate = d * up * (s * (splat(1.f) + g * rest));
  dup = d * (g * s);
}

}  // namespace bitnet::ISA_NS
