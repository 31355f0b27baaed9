// Penalties on weights: sums over a matrix, and their gradients. See index.ts; the definitions are in reference.ts. Bound by
// memory. Sums are float64, added up thread by thread in the same order each time.
#include "native/simd64.h"

namespace bitnet::ISA_NS {

// As `penaltyKinds` in reference.ts.
enum Penalty { kDampening = 0, kProximal = 1, kRange = 2, kL1 = 3 };

struct Matrix {
  const float* w;
  const uint8_t* codes;
  VF scale, bound;  // bound: of range
};

// What is squared (l1: the weight), with the sign of its gradient.
template <int kind>
INLINE VF excess(VF w, VF q, const Matrix& m) {
  // s · q is exact. In this order min and max keep a NaN.
  if (kind == kDampening) return max(-m.scale, min(m.scale, w)) - m.scale * q;
  if (kind == kProximal) return w - m.scale * q;
  if (kind == kRange) {
    const VF over = abs(w) - m.bound;
    return select(over <= 0.f, VF{}, select(w < 0.f, -over, over));
  }
  return w;
}

// body(offset, lanes, w, q) over a thread's part; beyond the last weight w and q are 0, which no penalty counts.
template <class Body>
INLINE void for_weights(const Matrix& m, Range mine, Body body) {
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes)
    body(i, static_cast<size_t>(kLanes), load(m.w + i), to_float(load_u8(m.codes + i) - splat(1)));
  const size_t rest = mine.end - i;
  if (rest == 0) return;
  uint8_t last[kLanes];
  for (size_t j = 0; j < kLanes; j++) last[j] = j < rest ? m.codes[i + j] : 1;
  body(i, rest, load_part(m.w + i, rest), to_float(load_u8(last) - splat(1)));
}

INLINE Matrix matrix_of(const Call& call, int limit) {
  const float s = call.f32(2)[0];
  return {call.f32(0), call.u8(1), splat(s), splat(call.number(limit) * s)};
}

// The threads' values added up, in their order; the same for all threads.
INLINE double total_of(const Call& call, double mine, int slot = 0) {
  double* partial = call.shared<double>() + slot * call.threads;
  partial[call.thread] = mine;
  call.barrier();
  double total = 0;
  for (int t = 0; t < call.threads; t++) total += partial[t];
  return total;
}

template <int kind>
INLINE void run_forward(const Call& call) {
  const Matrix m = matrix_of(call, 2);
  VD low = {}, high = {};
  for_weights(m, call.split(call.size(0), 16), [&](size_t, size_t, VF w, VF q) {
    const VF e = excess<kind>(w, q, m);
    if (kind == kL1) {
      low += widen_low(abs(e)), high += widen_high(abs(e));
      return;
    }
    const VD a = widen_low(e), b = widen_high(e);
    low += a * a, high += b * b;
  });
  const double total = total_of(call, sum(low + high));
  if (call.thread == 0) call.f32(3)[0] = static_cast<float>(kind == kProximal ? total / 2 : total);
}

template <int kind>
INLINE void run_backward(const Call& call) {
  const Matrix m = matrix_of(call, 2);
  const float dloss = call.f32(3)[0];
  const VF factor = splat(kind == kDampening || kind == kRange ? 2 * dloss : dloss);
  float* dw = call.f32(4);
  const bool accumulate = call.integer(3) != 0;
  for_weights(m, call.split(call.size(0), 16), [&](size_t i, size_t n, VF w, VF q) {
    VF e = excess<kind>(w, q, m);
    if (kind == kDampening) e = select(abs(w) <= m.scale, e, VF{});
    if (kind == kL1) e = select(w > 0.f, splat(1.f), select(w < 0.f, splat(-1.f), w));
    const VF of_w = factor * e;
    store_part(dw + i, accumulate ? load_part(dw + i, n) + of_w : of_w, n);
  });
}

KERNEL(weight_penalty_forward) {
  switch (call.integer(1)) {
    case kDampening: return run_forward<kDampening>(call);
    case kProximal: return run_forward<kProximal>(call);
    case kRange: return run_forward<kRange>(call);
    default: return run_forward<kL1>(call);
  }
}

KERNEL(weight_penalty_backward) {
  switch (call.integer(1)) {
    case kDampening: return run_backward<kDampening>(call);
    case kProximal: return run_backward<kProximal>(call);
    case kRange: return run_backward<kRange>(call);
    default: return run_backward<kL1>(call);
  }
}

// w [size] -> stats [4]: mean, 1 / sigma, kurtosis, mean of z³; loss [1].
KERNEL(weight_kurtosis_forward) {
  const float* w = call.f32(0);
  const size_t size = call.size(0);
  const double n = static_cast<double>(size);
  const Range mine = call.split(size, 16);
  VD low = {}, high = {};
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const VF v = load_part(w + i, min(static_cast<size_t>(kLanes), mine.end - i));
    low += widen_low(v), high += widen_high(v);
  }
  const double mean = total_of(call, sum(low + high)) / n;

  VD m2 = {}, m3 = {}, m4 = {};
  const auto add = [&](VD v) {
    const VD d = v - mean, d2 = d * d;
    m2 += d2, m3 += d2 * d, m4 += d2 * d2;
  };
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) add(widen_low(load(w + i))), add(widen_high(load(w + i)));
  double s2 = sum(m2), s3 = sum(m3), s4 = sum(m4);
  for (; i < mine.end; i++) {
    const double d = static_cast<double>(w[i]) - mean, d2 = d * d;
    s2 += d2, s3 += d2 * d, s4 += d2 * d2;
  }
  s2 = total_of(call, s2, 1) / n, s3 = total_of(call, s3, 2) / n, s4 = total_of(call, s4, 3) / n;
  if (call.thread != 0) return;
  const double kurtosis = s4 / (s2 * s2), off = kurtosis - call.real(1);
  float* stats = call.f32(1);
  stats[0] = static_cast<float>(mean);
  stats[1] = static_cast<float>(1 / sqrt(s2));
  stats[2] = static_cast<float>(kurtosis);
  stats[3] = static_cast<float>(s3 / (s2 * sqrt(s2)));
  call.f32(2)[0] = static_cast<float>(off * off);
}

KERNEL(weight_kurtosis_backward) {
  const float *w = call.f32(0), *stats = call.f32(1);
  float* dw = call.f32(3);
  const double kurtosis = stats[2];
  const double factor = 8 * (kurtosis - call.real(1)) * stats[1] * call.f32(2)[0] / static_cast<double>(call.size(0));
  const VF mean = splat(stats[0]), inverse = splat(stats[1]), k = splat(stats[2]), cubes = splat(stats[3]);
  const VF f = splat(static_cast<float>(factor));
  const bool accumulate = call.integer(2) != 0;
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t n = min(static_cast<size_t>(kLanes), mine.end - i);
    const VF z = (load_part(w + i, n) - mean) * inverse;
    const VF of_w = f * (z * (z * z - k) - cubes);
    store_part(dw + i, accumulate ? load_part(dw + i, n) + of_w : of_w, n);
  }
}

}  // namespace bitnet::ISA_NS
