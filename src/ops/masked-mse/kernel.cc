// Mean square difference over counted rows. See index.ts; the definition is in reference.ts. Bound by memory.
#include "native/simd64.h"

namespace bitnet::ISA_NS {

constexpr int32_t kLeftOut = -100;

KERNEL(masked_mse_forward) {
  const float *x = call.f32(0), *y = call.f32(1);
  const int32_t* targets = call.i32(2);
  float *row_loss = call.f32(3), *loss = call.f32(4);
  const size_t rows = call.size(0), width = call.size(1);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    VD low = {}, high = {};
    for (size_t i = 0; i < width; i += kLanes) {
      const size_t n = min(static_cast<size_t>(kLanes), width - i);
      const VF difference = load_part(x + m * width + i, n) - load_part(y + m * width + i, n);
      const VD below = widen_low(difference), above = widen_high(difference);
      low += below * below;
      high += above * above;
    }
    row_loss[m] = targets[m] == kLeftOut ? 0.f : static_cast<float>(sum(low) + sum(high));
  }
  call.barrier();
  if (call.thread != 0) return;
  // One thread, in order: the loss does not hang on the number of threads.
  double total = 0, counted = 0;
  for (size_t m = 0; m < rows; m++) {
    if (targets[m] == kLeftOut) continue;
    total += row_loss[m];
    counted++;
  }
  loss[0] = static_cast<float>(total / (counted * static_cast<double>(width)));
}

KERNEL(masked_mse_backward) {
  const float *x = call.f32(0), *y = call.f32(1);
  const int32_t* targets = call.i32(2);
  const float* dloss = call.f32(3);
  float* dx = call.f32(4);
  const size_t rows = call.size(0), width = call.size(1);
  const bool accumulate = call.integer(2) != 0;
  double counted = 0;
  for (size_t m = 0; m < rows; m++) counted += targets[m] != kLeftOut;
  const VF weight = splat(static_cast<float>(2.0 * dloss[0] / (counted * static_cast<double>(width))));
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const bool counts = targets[m] != kLeftOut;
    for (size_t k = 0; k < width; k += kLanes) {
      const size_t i = m * width + k, n = min(static_cast<size_t>(kLanes), width - k);
      const VF g = counts ? (load_part(x + i, n) - load_part(y + i, n)) * weight : VF{};
      store_part(dx + i, accumulate ? load_part(dx + i, n) + g : g, n);
    }
  }
}

}  // namespace bitnet::ISA_NS
