// Backward rules of ternary weights, dw = dy · f(w, q, s, dy). See index.ts; the definitions are in reference.ts. Bound by
// memory, but for soft and reste, which take an exponential or two for each weight.
#include "native/gate.h"

namespace bitnet::ISA_NS {

// Buffers w, codes, scale, dy, dw and numbers size, accumulate, of every rule. value(u, q, dy, w) is dw, lane by lane.
template <class Value>
INLINE void estimate(const Call& call, Value value) {
  const float *w = call.f32(0), *dy = call.f32(3);
  const uint8_t* codes = call.u8(1);
  const VF scale = splat(call.f32(2)[0]);
  float* dw = call.f32(4);
  const bool accumulate = call.integer(1) != 0;
  const Range mine = call.split(call.size(0), 16);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) {
    const VF x = load(w + i);
    const VF of_w = value(x / scale, to_float(load_u8(codes + i) - splat(1)), load(dy + i), x);
    store(dw + i, accumulate ? load(dw + i) + of_w : of_w);
  }
  const size_t rest = mine.end - i;
  if (rest == 0) return;
  uint8_t last[kLanes] = {};
  for (size_t j = 0; j < rest; j++) last[j] = codes[i + j];
  const VF x = load_part(w + i, rest);
  const VF of_w = value(x / scale, to_float(load_u8(last) - splat(1)), load_part(dy + i, rest), x);
  store_part(dw + i, accumulate ? load_part(dw + i, rest) + of_w : of_w, rest);
}

// dy where |w - s · q| <= trust · s, else 0.
KERNEL(trust_estimator_backward) {
  const float s = call.f32(2)[0];
  const VF scale = splat(s), bound = splat(call.number(2) * s);
  // s · q is exact, since q is -1, 0 or 1. A NaN is not within any bound.
  estimate(call, [&](VF, VF q, VF dy, VF w) { return select(abs(w - scale * q) <= bound, dy, VF{}); });
}

// sech²(x) = 4 σ(2x) (1 - σ(2x)): no cancellation where tanh is near 1.
INLINE VF quarter_sech2(VF x) {
  VF s, rest;
  sigmoid(x + x, s, rest);
  return s * rest;
}

KERNEL(soft_estimator_backward) {
  const VF t = splat(call.number(2)), b = splat(call.number(4));
  const VF twice_slope = splat(static_cast<float>(2 * call.real(3) * call.real(2)));
  estimate(call, [&](VF u, VF, VF dy, VF) {
    return dy * (twice_slope * (quarter_sech2(t * (u - b)) + quarter_sech2(t * (u + b))));
  });
}

// |dy| carries the sign: dy · (1 + delta · sign(dy) · e) = dy + delta · |dy| · e.
KERNEL(ewgs_estimator_backward) {
  const VF delta = splat(call.number(2));
  estimate(call, [&](VF u, VF q, VF dy, VF) { return dy + delta * abs(dy) * (u - q); });
}

KERNEL(reste_estimator_backward) {
  const double order = call.real(2);
  const VF inverse = splat(static_cast<float>(1 / order)), power = splat(static_cast<float>(1 / order - 1));
  const VF limit = splat(call.number(3)), center = splat(call.number(4));
  const VF b = splat(call.number(5)), half = splat(static_cast<float>(1 / (1 - call.real(5))));
  estimate(call, [&](VF u, VF, VF dy, VF) {
    const VF v = abs((abs(u) - b) * half);
    // The center's power where v is in it, so that the logarithm is of a normal number.
    const VI inside = v <= center;
    const VF slope = exp(power * log(select(inside, center, v)));
    return select(v <= limit, dy * select(inside, slope, inverse * slope), VF{});
  });
}

}  // namespace bitnet::ISA_NS
