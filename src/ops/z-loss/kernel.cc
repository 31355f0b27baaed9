// z-loss, forward and backward. See index.ts; the definition is in reference.ts. Bound by memory and by exponentials.
#include "native/softmax-rows.h"

namespace bitnet::ISA_NS {

KERNEL(z_loss_forward) {
  const float* logits = call.f32(0);
  const int32_t* targets = call.i32(1);
  float *stats = call.f32(2), *row_loss = call.f32(3), *loss = call.f32(4);
  const size_t rows = call.size(0), classes = call.size(1);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = logits + m * classes;
    const auto [most, total] = softmax_row(x, classes, stats, m);
    const double log_z = static_cast<double>(most) + log(total);
    row_loss[m] = targets[m] == kIgnored ? 0.f : static_cast<float>(log_z * log_z);
  }
  call.barrier();
  if (call.thread != 0) return;
  mean_of_counted(row_loss, targets, rows, loss);
}

KERNEL(z_loss_backward) {
  const float* logits = call.f32(0);
  const int32_t* targets = call.i32(1);
  const float *stats = call.f32(2), *dloss = call.f32(3);
  float* dlogits = call.f32(4);
  const size_t rows = call.size(0), classes = call.size(1);
  const bool accumulate = call.integer(2) != 0;
  const double counted = counted_rows(targets, rows);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = logits + m * classes;
    float* dx = dlogits + m * classes;
    const double most = stats[2 * m], total = stats[2 * m + 1];
    const double weight = 2 * (most + log(total)) * dloss[0] / counted / total;
    softmax_gradient(x, dx, classes, targets[m] != kIgnored, accumulate, stats[2 * m], static_cast<float>(weight), 0.f);
  }
}

}  // namespace bitnet::ISA_NS
