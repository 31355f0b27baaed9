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
    const auto [most, total] = softmax_row(x, classes, stats, m);
    const double below = sum_below(x, most, classes) / static_cast<double>(classes);
    row_loss[m] = targets[m] == kIgnored ? 0.f : static_cast<float>(log(total) + below);
  }
  call.barrier();
  if (call.thread != 0) return;
  mean_of_counted(row_loss, targets, rows, loss);
}

KERNEL(uniform_cross_entropy_backward) {
  const float* logits = call.f32(0);
  const int32_t* targets = call.i32(1);
  const float *stats = call.f32(2), *dloss = call.f32(3);
  float* dlogits = call.f32(4);
  const size_t rows = call.size(0), classes = call.size(1);
  const bool accumulate = call.integer(2) != 0;
  const double counted = counted_rows(targets, rows);
  const double weight = dloss[0] / counted;
  const float even = static_cast<float>(weight / static_cast<double>(classes));
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = logits + m * classes;
    float* dx = dlogits + m * classes;
    const float scale = static_cast<float>(weight / stats[2 * m + 1]);
    softmax_gradient(x, dx, classes, targets[m] != kIgnored, accumulate, stats[2 * m], scale, even);
  }
}

}  // namespace bitnet::ISA_NS
