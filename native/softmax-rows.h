// Rows of logits as the losses over them read them: largest value, the sum of exponentials below it, the mean over rows that
// count, and a gradient through the softmax.
// Shared by cross-entropy, z-loss and uniform-cross-entropy.
#pragma once
#include "simd-math.h"

namespace bitnet::ISA_NS {

constexpr int32_t kIgnored = -100;  // a target that does not count
constexpr size_t kLanesWide = kLanes;

INLINE float row_max(const float* x, size_t classes) {
  const VF lowest = splat(-__builtin_inff());
  VF most[4] = {lowest, lowest, lowest, lowest};
  size_t v = 0;
  for (; v + 4 * kLanesWide <= classes; v += 4 * kLanesWide) {
    UNROLL for (int i = 0; i < 4; i++) most[i] = max(load(x + v + i * kLanes), most[i]);
  }
  for (; v + kLanesWide <= classes; v += kLanesWide) most[0] = max(load(x + v), most[0]);
  float result = largest(max(max(most[0], most[1]), max(most[2], most[3])));
  for (; v < classes; v++) result = max(x[v], result);
  return result;
}

// sum of e^(x - most); NaN if any x is NaN, or most is infinite.
INLINE double row_sum(const float* x, float most, size_t classes) {
  const VF base = splat(most);
  VF sums[4] = {};
  size_t v = 0;
  for (; v + 4 * kLanesWide <= classes; v += 4 * kLanesWide) {
    UNROLL for (int i = 0; i < 4; i++) sums[i] += exp(load(x + v + i * kLanes) - base);
  }
  for (; v < classes; v += kLanesWide) {
    const size_t n = min(kLanesWide, classes - v);
    VF e = exp(load_part(x + v, n) - base);
    if (n < kLanesWide) {
      float lanes[kLanes] = {};
      store_part(lanes, e, n);
      e = load(lanes);
    }
    sums[0] += e;
  }
  return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// Both of a row, kept in stats [M, 2] for backward.
struct SoftmaxRow {
  float most;
  double total;
};
INLINE SoftmaxRow softmax_row(const float* x, size_t classes, float* stats, size_t m) {
  const float most = row_max(x, classes);
  const double total = row_sum(x, most, classes);
  stats[2 * m] = most;
  stats[2 * m + 1] = static_cast<float>(total);
  return {most, total};
}

INLINE double counted_rows(const int32_t* targets, size_t rows) {
  double counted = 0;
  for (size_t m = 0; m < rows; m++) counted += targets[m] != kIgnored;
  return counted;
}

// After a barrier, by one thread, in order: the loss does not hang on the number of threads.
INLINE void mean_of_counted(const float* row_loss, const int32_t* targets, size_t rows, float* loss) {
  double total = 0, counted = 0;
  for (size_t m = 0; m < rows; m++) {
    if (targets[m] == kIgnored) continue;
    total += row_loss[m];
    counted++;
  }
  loss[0] = static_cast<float>(total / counted);
}

// dx = e^(x - most) * scale - even, written or added; of a row that does not count: 0.
INLINE void softmax_gradient(const float* x, float* dx, size_t classes, bool counts, bool accumulate, float most,
                             float scale, float even) {
  if (!counts && accumulate) return;
  const VF base = splat(most), by = splat(scale), less = splat(even);
  for (size_t v = 0; v < classes; v += kLanesWide) {
    const size_t n = min(kLanesWide, classes - v);
    const VF gradient = counts ? exp(load_part(x + v, n) - base) * by - less : VF{};
    store_part(dx + v, accumulate ? load_part(dx + v, n) + gradient : gradient, n);
  }
}

}  // namespace bitnet::ISA_NS
