// What kernels that go through rows of activations share: sums in float64, the norm's factor, and int8 codes.
#pragma once
#include "simd64.h"

namespace bitnet::ISA_NS {

// Lanes in use from `at` on.
INLINE size_t part(size_t at, size_t end) { return min(static_cast<size_t>(kLanes), end - at); }

// The sum of term(offset, lanes, low, high) over a row, in float64; the last call has fewer lanes, zero beyond.
template <class Term>
INLINE double sum_row(size_t width, Term term) {
  VD low = {}, high = {};
  for (size_t c = 0; c < width; c += kLanes) term(c, part(c, width), low, high);
  return sum(low + high);
}

// 1 / sqrt(mean(x²) + eps) of a row.
INLINE float inverse_rms(const float* row, size_t width, double eps) {
  const double squares = sum_row(width, [&](size_t c, size_t n, VD& low, VD& high) {
    const VF v = load_part(row + c, n);
    const VD a = widen_low(v), b = widen_high(v);
    low += a * a;
    high += b * b;
  });
  return static_cast<float>(1 / sqrt(squares / static_cast<double>(width) + eps));
}

// A row's codes within ±levels, at most 127; its scale and the sum of its codes come back. The definition:
// ops/activation-quant/reference.ts.
INLINE void quantise_row(const float* x, size_t width, float eps, int8_t* codes, float* scale, int32_t* code_sum,
                         float levels = 127.0f) {
  // Magnitudes are ordered as their bits are, with NaN above infinity: an integer max keeps a NaN.
  const VI magnitude = splat(0x7fffffff);
  VI most = {}, most2 = {};
  size_t k = 0;
  for (; k + 2 * kLanes <= width; k += 2 * kLanes) {
    most = max(most, load_bytes(x + k) & magnitude);
    most2 = max(most2, load_bytes(x + k + kLanes) & magnitude);
  }
  for (; k < width; k += kLanes) most = max(most, (VI)load_part(x + k, part(k, width)) & magnitude);
  const float absmax = ((VF)splat(largest(max(most, most2))))[0];

  const float bounded = absmax < eps ? eps : absmax;
  *scale = bounded / levels;
  if (!(absmax <= 3.4028234663852886e38f)) {
    // NaN or infinity: zero codes times that scale are NaN all along the row.
    for (k = 0; k < width; k++) codes[k] = 0;
    *code_sum = 0;
    return;
  }
  // |x| <= absmax, so |x · factor| < levels + 0.5: no clip is needed.
  const VF factor = splat(levels / bounded);
  VI total = {};
  for (k = 0; k + kLanes <= width; k += kLanes) {
    const VI q = to_int(load(x + k) * factor);
    total += q;
    store_i8(codes + k, q);
  }
  if (k < width) {
    const VI q = to_int(load_part(x + k, width - k) * factor);
    total += q;
    for (size_t j = 0; k + j < width; j++) codes[k + j] = static_cast<int8_t>(q[j]);
  }
  *code_sum = sum(total);
}

// Sums over rows of float32 terms, column by column, in float64: what a thread keeps in its scratch while it goes
// through its rows, and how all threads' sums come together.
struct ColumnSums {
  VD* sums;  // two for each kLanes columns

  INLINE void clear(ColumnSums& s, size_t width) {
    for (size_t c = 0; c < width; c += kLanes) s.sums[c / kDoubles] = s.sums[c / kDoubles + 1] = VD{};
  }
  INLINE void add(ColumnSums& s, size_t c, VF terms) {
    s.sums[c / kDoubles] += widen_low(terms);
    s.sums[c / kDoubles + 1] += widen_high(terms);
  }
  // out [width] (+)= the threads' sums, in the order of the threads. Called by all threads, `width` being the same.
  INLINE void reduce(const Call& call, ColumnSums& s, size_t width, float* out, bool accumulate) {
    VD** everyones = call.shared<VD*>();
    everyones[call.thread] = s.sums;
    call.barrier();
    const Range own = call.split(width, 16);
    for (size_t c = own.begin; c < own.end; c++) {
      double total = accumulate ? out[c] : 0;
      for (int t = 0; t < call.threads; t++) total += everyones[t][c / kDoubles][c % kDoubles];
      out[c] = static_cast<float>(total);
    }
  }
};

}  // namespace bitnet::ISA_NS
