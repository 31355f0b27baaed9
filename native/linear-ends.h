// What stands before and behind a matrix product of the packed engine, fused into its kernel: a row's norm in front; behind,
// what is done with the product: kept, added to a residual, or taken in pairs by a gated activation.
#pragma once
#include "gate.h"
#include "rows.h"

namespace bitnet::ISA_NS {

// As `ends` in ops/packed-linear/reference.ts.
enum End { kEndStore = 0, kEndAdd = 1, kEndSilu = 2, kEndRelu2 = 3 };

// Rows of weights that stand together. With a gated end, rows of the gate and of up take turns by such blocks.
constexpr size_t kPanelRows = 16;

INLINE bool is_gated(int end) { return end >= kEndSilu; }

// h = f(gate) · up, as ops/gated-activation computes it.
INLINE VF gated_end(int end, VF gate, VF up) {
  return end == kEndRelu2 ? gated<kRelu2>(gate, up) : gated<kSilu>(gate, up);
}

// `count` lanes of the output at `y`: kept, or added.
INLINE void put_end(int end, float* y, VF value, size_t count) {
  store_part(y, end == kEndAdd ? load_part(y, count) + value : value, count);
}

// gain · (x / rms(x)), as ops/rms-norm computes it, to the bit; x itself where there is no gain.
INLINE const float* normed_row(const float* x, const float* gain, double eps, size_t width, float* to) {
  if (!gain) return x;
  const VF r = splat(inverse_rms(x, width, eps));
  for (size_t c = 0; c < width; c += kLanes) {
    const size_t n = part(c, width);
    store_part(to + c, load_part(gain + c, n) * (load_part(x + c, n) * r), n);
  }
  return to;
}

// From a product [M, rows of weights] to the output: for products of many rows, which are made whole first. All threads.
INLINE void apply_end(const Call& call, int end, const float* product, size_t stride, float* y, size_t m, size_t n) {
  const Range mine = call.split(m);
  for (size_t row = mine.begin; row < mine.end; row++) {
    const float* from = product + row * stride;
    float* to = y + row * n;
    if (!is_gated(end)) {
      for (size_t c = 0; c < n; c += kLanes) put_end(end, to + c, load_part(from + c, part(c, n)), part(c, n));
      continue;
    }
    for (size_t c = 0; c < n; c += kPanelRows) {
      const size_t lanes = min(kPanelRows, n - c);
      for (size_t j = 0; j < lanes; j += kLanes) {
        const size_t count = part(j, lanes);
        const VF gate = load_part(from + 2 * c + j, count), up = load_part(from + 2 * c + kPanelRows + j, count);
        store_part(to + c + j, gated_end(end, gate, up), count);
      }
    }
  }
}

}  // namespace bitnet::ISA_NS
