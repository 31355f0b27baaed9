// Cross entropy, forward and backward over the logits in place. See index.ts; the definition is in reference.ts.
// Bound by memory: a row is read from there once, and its second pass from the cache.
#include "native/softmax-rows.h"

namespace bitnet::ISA_NS {

// Whether a target names a class.
INLINE bool within(int32_t target, size_t classes) { return target >= 0 && static_cast<size_t>(target) < classes; }

KERNEL(cross_entropy_forward) {
  const float* logits = call.f32(0);
  const int32_t* targets = call.i32(1);
  float *token_loss = call.f32(2), *stats = call.f32(3), *loss = call.f32(4);
  const size_t rows = call.size(0), classes = call.size(1);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = logits + m * classes;
    const auto [most, total] = softmax_row(x, classes, stats, m);
    const int32_t target = targets[m];
    if (target == kIgnored) token_loss[m] = 0;
    else if (!within(target, classes)) token_loss[m] = __builtin_nanf("");
    else token_loss[m] = static_cast<float>(static_cast<double>(most) - x[target] + log(total));
  }
  call.barrier();
  if (call.thread != 0) return;
  mean_of_counted(token_loss, targets, rows, loss);
}

KERNEL(cross_entropy_backward) {
  float* logits = call.f32(0);
  const int32_t* targets = call.i32(1);
  const float *stats = call.f32(2), *dloss = call.f32(3), *dtoken_loss = call.f32(4);
  const size_t rows = call.size(0), classes = call.size(1);
  const double counted = counted_rows(targets, rows);
  const double share = dloss ? dloss[0] / counted : 0;
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    float* x = logits + m * classes;
    const int32_t target = targets[m];
    if (target == kIgnored || !within(target, classes)) {
      const VF fill = splat(target == kIgnored ? 0.f : __builtin_nanf(""));
      for (size_t v = 0; v < classes; v += kLanesWide) store_part(x + v, fill, min(kLanesWide, classes - v));
      continue;
    }
    const float weight = static_cast<float>(share + (dtoken_loss ? dtoken_loss[m] : 0.0));
    const VF base = splat(stats[2 * m]), scale = splat(weight / stats[2 * m + 1]);
    // The target's own: (p - 1) * weight, before p is written over x.
    const float p = exp(splat(x[target]) - base)[0] / stats[2 * m + 1];
    size_t v = 0;
    for (; v + kLanesWide <= classes; v += kLanesWide) store(x + v, exp(load(x + v) - base) * scale);
    if (v < classes) store_part(x + v, exp(load_part(x + v, classes - v) - base) * scale, classes - v);
    x[target] = (p - 1) * weight;
  }
}

}  // namespace bitnet::ISA_NS
