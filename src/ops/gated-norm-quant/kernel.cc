// Gated activation, RMSNorm and int8 codes in one pass, and their gradients in one. The hidden activations stay in the
// first cache: backward computes them anew from gate and up, which it reads in any case. The definition is in
// reference.ts; the same operations in the same order as the three ops alone, so the same bits.
#include "native/gate.h"
#include "native/rows.h"

namespace bitnet::ISA_NS {

template <int kind>
INLINE void gated_row(const float* gate, const float* up, size_t width, float* h) {
  for (size_t c = 0; c < width; c += kLanes) {
    const size_t n = part(c, width);
    store_part(h + c, gated<kind>(load_part(gate + c, n), load_part(up + c, n)), n);
  }
}

template <int kind>
INLINE void run_forward(const Call& call) {
  const float *gate = call.f32(0), *up = call.f32(1), *gain = call.f32(2);
  float *scale = call.f32(4), *inverse = call.f32(6);
  const size_t width = call.size(1);
  float* h = call.scratch<float>();
  const Range mine = call.split(call.size(0));
  for (size_t m = mine.begin; m < mine.end; m++) {
    gated_row<kind>(gate + m * width, up + m * width, width, h);
    inverse[m] = inverse_rms(h, width, call.real(3));
    const VF r = splat(inverse[m]);
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t n = part(c, width);
      store_part(h + c, load_part(gain + c, n) * (load_part(h + c, n) * r), n);
    }
    quantise_row(h, width, call.number(4), call.i8(3) + m * width, scale + m, call.i32(5) + m);
  }
}

// gate, up [M, F], gain [F] -> codes [M, F] int8, scale [M], sums [M], inverse [M].
KERNEL(gated_norm_quant) {
  if (call.integer(2) == kSilu) run_forward<kSilu>(call);
  else run_forward<kRelu2>(call);
}

template <int kind>
INLINE void run_backward(const Call& call) {
  const float *gate = call.f32(0), *up = call.f32(1), *gain = call.f32(2), *inverse = call.f32(3), *dy = call.f32(4);
  float *dgate = call.f32(5), *dup = call.f32(6), *dgain = call.f32(7);
  const size_t width = call.size(1);
  const bool add_gate = call.integer(3) != 0, add_up = call.integer(4) != 0, add_gain = call.integer(5) != 0;
  ColumnSums sums{call.scratch<VD>()};
  ColumnSums::clear(sums, width);
  // A row of each, in whole vectors: the hidden activations; the gate's sigmoid and what it lacks of 1.
  const size_t room = (width + kLanes - 1) / kLanes * kLanes;
  float* h = reinterpret_cast<float*>(sums.sums + room / kDoubles);
  float *shares = h + room, *rests = shares + room;
  const Range mine = call.split(call.size(0));
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float *g = gate + m * width, *u = up + m * width, *d = dy + m * width;
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t n = part(c, width);
      const VF of_g = load_part(g + c, n), of_u = load_part(u + c, n);
      if (kind == kRelu2) {
        store(h + c, gated<kind>(of_g, of_u));
        continue;
      }
      VF s, rest;
      sigmoid(of_g, s, rest);
      store(h + c, of_g * s * of_u);
      store(shares + c, s);
      store(rests + c, rest);
    }
    const VF r = splat(inverse[m]);
    const double dot = sum_row(width, [&](size_t c, size_t n, VD& low, VD& high) {
      const VF v = load_part(gain + c, n) * load_part(d + c, n) * load(h + c);
      low += widen_low(v);
      high += widen_high(v);
    });
    const VF mean = splat(static_cast<float>(dot * inverse[m] / static_cast<double>(width)));
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t n = part(c, width);
      const VF hidden = load(h + c), of_y = load_part(d + c, n);
      ColumnSums::add(sums, c, of_y * hidden * r);
      const VF of_h = r * (load_part(gain + c, n) * of_y - hidden * r * mean);
      VF s = {}, rest = {}, of_gate, of_up;
      if (kind == kSilu) s = load(shares + c), rest = load(rests + c);
      gated_gradients<kind>(load_part(g + c, n), load_part(u + c, n), of_h, s, rest, of_gate, of_up);
      if (dgate) {
        float* p = dgate + m * width + c;
        store_part(p, add_gate ? of_gate + load_part(p, n) : of_gate, n);
      }
      if (dup) {
        float* p = dup + m * width + c;
        store_part(p, add_up ? of_up + load_part(p, n) : of_up, n);
      }
    }
  }
  if (dgain) ColumnSums::reduce(call, sums, width, dgain, add_gain);
}

// dgate, dup [M, F] and dgain [F]; each may be null.
KERNEL(gated_norm_quant_backward) {
  if (call.integer(2) == kSilu) run_backward<kSilu>(call);
  else run_backward<kRelu2>(call);
}

}  // namespace bitnet::ISA_NS
