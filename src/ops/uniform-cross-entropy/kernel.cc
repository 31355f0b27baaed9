// Cross entropy against the uniform distribution, forward and backward. See index.ts; the definition is in reference.ts.
// Bound by memory and by exponentials.
#include "native/softmax-rows.h"

namespace bitnet::ISA_NS {

// sum of most - x, each difference in float32.
INLINE double sum_below(const float* x, float most, size_t classes) {
  const VF base = splat(most);
  VF sums[4] = {};
  size_t v = 0;
  for (; v + 4 * kLanesWide <= classes; v += 4 * kLanesWide) {
    UNROLL for (int i = 0; i < 4; i++) sums[i] += base - load(x + v + i * kLanes);
  }
  for (; v + kLanesWide <= classes; v += kLanesWide) sums[0] += base - load(x + v);
  double total = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  for (; v < classes; v++) total += static_cast<double>(most) - x[v];
  return total;
}

KERNEL(uniform_cross_entropy_forward) {
  const float* logits = call.f32(0);
  const int32_t* targets = call.i32(1);
  float *stats = call.f32(2), *row_loss = call.f32(3), *loss = call.f32(4);
  const size_t rows = call.size(0), classes = call.size(1);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = logits + m * classes;
    const float most = row_max(x, classes);
    const double total = row_sum(x, most, classes);
    stats[2 * m] = most;
    stats[2 * m + 1] = static_cast<float>(total);
    const double below = sum_below(x, most, classes) / static_cast<double>(classes);
    row_loss[m] = targets[m] == kIgnored ? 0.f : static_cast<float>(log(total) + below);
  }
  call.barrier();
  if (call.thread != 0) return;
  // One thread, in order: the loss does not hang on the number of threads.
  double total = 0, counted = 0;
  for (size_t m = 0; m < rows; m++) {
    if (targets[m] == kIgnored) continue;
    total += row_loss[m];
    counted++;
  }
  loss[0] = static_cast<float>(total / counted);
}

KERNEL(uniform_cross_entropy_backward) {
  const float* logits = call.f32(0);
  const int32_t* targets = call.i32(1);
  const float *stats = call.f32(2), *dloss = call.f32(3);
  float* dlogits = call.f32(4);
  const size_t rows = call.size(0), classes = call.size(1);
  const bool accumulate = call.integer(2) != 0;
  double counted = 0;
  for (size_t m = 0; m < rows; m++) counted += targets[m] != kIgnored;
  const double weight = dloss[0] / counted;
  const VF even = splat(static_cast<float>(weight / static_cast<double>(classes)));
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = logits + m * classes;
    float* dx = dlogits + m * classes;
    const bool counts = targets[m] != kIgnored;
    if (!counts && accumulate) continue;
    const VF base = splat(stats[2 * m]), scale = splat(static_cast<float>(weight / stats[2 * m + 1]));
    for (size_t v = 0; v < classes; v += kLanesWide) {
      const size_t n = min(kLanesWide, classes - v);
      const VF gradient = counts ? exp(load_part(x + v, n) - base) * scale - even : VF{};
      store_part(dx + v, accumulate ? load_part(dx + v, n) + gradient : gradient, n);
    }
  }
}

}  // namespace bitnet::ISA_NS
