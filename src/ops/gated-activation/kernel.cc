// Gated feed-forward activation, forward and backward. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd-math.h"

namespace bitnet::ISA_NS {

// As `kinds` in reference.ts.
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
INLINE VF forward(VF g, VF up) {
  if (kind == kRelu2) {
    const VF r = rectified(g);
    return r * up * r;  // r * r might overflow where the result does not
  }
  VF s, rest;
  sigmoid(g, s, rest);
  return g * s * up;
}

// Calls body(offset, lanes) over this thread's share, whole vectors first.
template <class Body>
INLINE void each_vector(const Call& call, size_t elements, Body body) {
  const Range mine = call.split(elements, 16);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) body(i, static_cast<size_t>(kLanes));
  if (i < mine.end) body(i, mine.end - i);
}

template <int kind>
INLINE void run_forward(const Call& call) {
  const float *gate = call.f32(0), *up = call.f32(1);
  float* h = call.f32(2);
  each_vector(call, call.size(0), [&](size_t i, size_t n) {
    store_part(h + i, forward<kind>(load_part(gate + i, n), load_part(up + i, n)), n);
  });
}

KERNEL(gated_activation_forward) {
  if (call.integer(1) == kSilu) run_forward<kSilu>(call);
  else run_forward<kRelu2>(call);
}

template <int kind>
INLINE void run_backward(const Call& call) {
  const float *gate = call.f32(0), *up = call.f32(1), *dh = call.f32(2);
  float *dgate = call.f32(3), *dup = call.f32(4);
  const bool add_gate = call.integer(2) != 0, add_up = call.integer(3) != 0;
  each_vector(call, call.size(0), [&](size_t i, size_t n) {
    const VF g = load_part(gate + i, n), d = load_part(dh + i, n);
    VF s, rest, r = rectified(g);
    if (kind == kSilu) sigmoid(g, s, rest);
    if (dgate) {
      const VF slope = kind == kSilu ? s * (splat(1.f) + g * rest) : r + r;
      VF v = d * load_part(up + i, n) * slope;
      if (add_gate) v += load_part(dgate + i, n);
      store_part(dgate + i, v, n);
    }
    if (dup) {
      VF v = kind == kSilu ? d * (g * s) : d * r * r;
      if (add_up) v += load_part(dup + i, n);
      store_part(dup + i, v, n);
    }
  });
}

KERNEL(gated_activation_backward) {
  if (call.integer(1) == kSilu) run_backward<kSilu>(call);
  else run_backward<kRelu2>(call);
}

}  // namespace bitnet::ISA_NS
