// Gated feed-forward activation, forward and backward. See index.ts; the definition is in reference.ts. Bound by memory.
#include "native/gate.h"

namespace bitnet::ISA_NS {

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
    store_part(h + i, gated<kind>(load_part(gate + i, n), load_part(up + i, n)), n);
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
    const VF g = load_part(gate + i, n);
    VF s = {}, rest = {}, of_gate, of_up;
    if (kind == kSilu) sigmoid(g, s, rest);
    gated_gradients<kind>(g, load_part(up + i, n), load_part(dh + i, n), s, rest, of_gate, of_up);
    if (dgate) store_part(dgate + i, add_gate ? of_gate + load_part(dgate + i, n) : of_gate, n);
    if (dup) store_part(dup + i, add_up ? of_up + load_part(dup + i, n) : of_up, n);
  });
}

KERNEL(gated_activation_backward) {
  if (call.integer(1) == kSilu) run_backward<kSilu>(call);
  else run_backward<kRelu2>(call);
}

}  // namespace bitnet::ISA_NS
