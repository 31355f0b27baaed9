// Distillation over logits, forward and backward, and drawing tokens. See index.ts; the definition is in reference.ts.
// Bound by memory and by exponentials.
#include "native/simd64.h"
#include "native/softmax-rows.h"

namespace bitnet::ISA_NS {

// e^((x - most) / t), with the division as a product.
INLINE VF tempered(VF x, VF base, VF inverse) { return exp((x - base) * inverse); }

INLINE VF none_if_zero(VF factor, VF product) { return select(factor == VF{}, VF{}, product); }

// sum of e^((x - most) / t), in float64.
INLINE double tempered_sum(const float* x, float most, float inverse, size_t classes) {
  const VF base = splat(most), scale = splat(inverse);
  VD low = {}, high = {};
  for (size_t v = 0; v < classes; v += kLanesWide) {
    const size_t n = min(kLanesWide, classes - v);
    VF e = tempered(load_part(x + v, n), base, scale);
    if (n < kLanesWide) {
      float lanes[kLanes] = {};
      store_part(lanes, e, n);
      e = load(lanes);
    }
    low += widen_low(e);
    high += widen_high(e);
  }
  return sum(low) + sum(high);
}

// -log softmax(y)[target]; 0 where the target does not count.
INLINE float loss_of_target(const float* y, float most, int32_t target, size_t classes) {
  if (target == kIgnored) return 0;
  if (target < 0 || static_cast<size_t>(target) >= classes) return __builtin_nanf("");
  return static_cast<float>(static_cast<double>(most) - y[target] + log(tempered_sum(y, most, 1, classes)));
}

INLINE double exp_of(double x) { return exp(splat(static_cast<float>(x)))[0]; }

// f and r of every row; thread 0 alone, in order.
INLINE void coefficients(const int32_t* targets, const float* target_loss, float* coefficient, size_t rows,
                         size_t length, int direction, double u) {
  for (size_t first = 0; first < rows; first += length) {
    double n = 0, confidence = 0, total = 0;
    float most = -__builtin_inff();
    for (size_t m = first; m < first + length; m++) {
      if (targets[m] == kIgnored) continue;
      n++;
      most = max(most, target_loss[m]);
      if (direction == 2) confidence += exp_of(-target_loss[m]);
    }
    if (u > 0)
      for (size_t m = first; m < first + length; m++)
        if (targets[m] != kIgnored) total += exp_of((static_cast<double>(target_loss[m]) - most) / u);
    const double g = direction == 2 ? confidence / n : direction;
    for (size_t m = first; m < first + length; m++) {
      const bool counts = targets[m] != kIgnored;
      double w = counts ? 1 : 0;
      if (counts && u > 0) w = n * exp_of((static_cast<double>(target_loss[m]) - most) / u) / total;
      coefficient[2 * m] = counts ? static_cast<float>(w * (1 - g)) : 0;
      coefficient[2 * m + 1] = counts ? static_cast<float>(w * g) : 0;
    }
  }
}

KERNEL(distillation_forward) {
  const float *student = call.f32(0), *teacher = call.f32(1);
  const int32_t* targets = call.i32(2);
  float *stats = call.f32(3), *target_loss = call.f32(4), *divergence = call.f32(5), *coefficient = call.f32(6);
  float* loss = call.f32(7);
  const size_t rows = call.size(0), length = call.size(1), classes = call.size(2);
  const double t = call.real(3), u = call.real(5);
  const int direction = call.integer(4);
  const float inverse = static_cast<float>(1 / t);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float *x = student + m * classes, *y = teacher + m * classes;
    const float most_x = row_max(x, classes), most_y = row_max(y, classes);
    const double sum_x = tempered_sum(x, most_x, inverse, classes), sum_y = tempered_sum(y, most_y, inverse, classes);
    stats[4 * m] = most_x;
    stats[4 * m + 1] = static_cast<float>(sum_x);
    stats[4 * m + 2] = most_y;
    stats[4 * m + 3] = static_cast<float>(sum_y);
    const double shift = (static_cast<double>(most_x) - most_y) / t + log(sum_x) - log(sum_y);
    const VF base_x = splat(most_x), base_y = splat(most_y), scale = splat(inverse);
    const VF offset = splat(static_cast<float>(shift));
    VD forward = {}, reverse = {};
    for (size_t v = 0; v < classes; v += kLanesWide) {
      const size_t n = min(kLanesWide, classes - v);
      const VF xs = load_part(x + v, n), ys = load_part(y + v, n);
      const VF q = tempered(xs, base_x, scale), p = tempered(ys, base_y, scale);
      const VF ratio = (ys - xs) * scale + offset;
      VF f = none_if_zero(p, p * ratio), r = none_if_zero(q, q * ratio);
      if (n < kLanesWide) {
        float lanes[2 * kLanes] = {};
        store_part(lanes, f, n);
        store_part(lanes + kLanes, r, n);
        f = load(lanes);
        r = load(lanes + kLanes);
      }
      forward += widen_low(f) + widen_high(f);
      reverse -= widen_low(r) + widen_high(r);
    }
    divergence[2 * m] = static_cast<float>(sum(forward) / sum_y);
    divergence[2 * m + 1] = static_cast<float>(sum(reverse) / sum_x);
    target_loss[m] = direction == 2 || u > 0 ? loss_of_target(y, most_y, targets[m], classes) : 0;
  }
  call.barrier();
  if (call.thread != 0) return;
  // One thread, in order: the loss does not hang on the number of threads.
  coefficients(targets, target_loss, coefficient, rows, length, direction, u);
  double total = 0, counted = 0;
  for (size_t m = 0; m < rows; m++) {
    if (targets[m] == kIgnored) continue;
    counted++;
    for (size_t k = 2 * m; k < 2 * m + 2; k++)
      if (coefficient[k] != 0) total += static_cast<double>(coefficient[k]) * divergence[k];
  }
  loss[0] = static_cast<float>(t * t * total / counted);
}

// The gradient may lie over the teacher's logits: each element is read before it is written.
KERNEL(distillation_backward) {
  const float *student = call.f32(0), *teacher = call.f32(1);
  const int32_t* targets = call.i32(2);
  const float *stats = call.f32(3), *divergence = call.f32(4), *coefficient = call.f32(5), *dloss = call.f32(6);
  float* gradient = call.f32(7);
  const size_t rows = call.size(0), classes = call.size(1);
  const double t = call.real(2);
  const float inverse = static_cast<float>(1 / t);
  double counted = 0;
  for (size_t m = 0; m < rows; m++) counted += targets[m] != kIgnored;
  const double weight = t * dloss[0] / counted;
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float *x = student + m * classes, *y = teacher + m * classes;
    float* dx = gradient + m * classes;
    const bool counts = targets[m] != kIgnored;
    const double sum_x = stats[4 * m + 1], sum_y = stats[4 * m + 3];
    const double f = coefficient[2 * m], r = coefficient[2 * m + 1];
    const double shift = (static_cast<double>(stats[4 * m]) - stats[4 * m + 2]) / t + log(sum_x) - log(sum_y);
    const VF base_x = splat(stats[4 * m]), base_y = splat(stats[4 * m + 2]), scale = splat(inverse);
    const VF of_q = splat(static_cast<float>(weight * f / sum_x)), of_p = splat(static_cast<float>(weight * f / sum_y));
    const VF of_ratio = splat(static_cast<float>(weight * r / sum_x));
    const VF offset = splat(static_cast<float>(shift + divergence[2 * m + 1]));
    for (size_t v = 0; v < classes; v += kLanesWide) {
      const size_t n = min(kLanesWide, classes - v);
      VF g = {};
      if (counts) {
        const VF xs = load_part(x + v, n), ys = load_part(y + v, n);
        const VF q = tempered(xs, base_x, scale);
        if (f != 0) g = q * of_q - tempered(ys, base_y, scale) * of_p;
        if (r != 0) g -= none_if_zero(q, q * of_ratio * ((ys - xs) * scale + offset));
      }
      store_part(dx + v, g, n);
    }
  }
}

KERNEL(sampled_distillation_forward) {
  const float* student = call.f32(0);
  const int32_t *targets = call.i32(1), *ids = call.i32(2);
  const float *entropy = call.f32(3), *target_loss = call.f32(4);
  float *stats = call.f32(5), *row_loss = call.f32(6), *coefficient = call.f32(7), *loss = call.f32(8);
  const size_t rows = call.size(0), length = call.size(1), classes = call.size(2), samples = call.size(3);
  const double t = call.real(4), u = call.real(5);
  const float inverse = static_cast<float>(1 / t);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = student + m * classes;
    const float most = row_max(x, classes);
    const double total = tempered_sum(x, most, inverse, classes);
    stats[2 * m] = most;
    stats[2 * m + 1] = static_cast<float>(total);
    double drawn = 0;
    for (size_t i = 0; i < samples; i++) {
      const int32_t id = ids[m * samples + i];
      const bool within = id >= 0 && static_cast<size_t>(id) < classes;
      drawn += within ? static_cast<double>(most) - x[id] : __builtin_nan("");
    }
    const double mean = drawn / t / static_cast<double>(samples);
    row_loss[m] = targets[m] == kIgnored ? 0.f : static_cast<float>(log(total) + mean - entropy[m]);
  }
  call.barrier();
  if (call.thread != 0) return;
  coefficients(targets, target_loss, coefficient, rows, length, 0, u);
  double total = 0, counted = 0;
  for (size_t m = 0; m < rows; m++) {
    if (targets[m] == kIgnored) continue;
    counted++;
    total += static_cast<double>(coefficient[2 * m]) * row_loss[m];
  }
  loss[0] = static_cast<float>(t * t * total / counted);
}

KERNEL(sampled_distillation_backward) {
  const float* student = call.f32(0);
  const int32_t *targets = call.i32(1), *ids = call.i32(2);
  const float *stats = call.f32(3), *coefficient = call.f32(4), *dloss = call.f32(5);
  float* gradient = call.f32(6);
  const size_t rows = call.size(0), classes = call.size(1), samples = call.size(2);
  const double t = call.real(3);
  const bool accumulate = call.integer(4) != 0;
  const float inverse = static_cast<float>(1 / t);
  double counted = 0;
  for (size_t m = 0; m < rows; m++) counted += targets[m] != kIgnored;
  const double weight = t * dloss[0] / counted;
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = student + m * classes;
    float* dx = gradient + m * classes;
    const bool counts = targets[m] != kIgnored;
    if (!counts && accumulate) continue;
    const double scale = weight * coefficient[2 * m];
    const VF base = splat(stats[2 * m]), by = splat(inverse);
    const VF of_q = splat(static_cast<float>(scale / stats[2 * m + 1]));
    for (size_t v = 0; v < classes; v += kLanesWide) {
      const size_t n = min(kLanesWide, classes - v);
      const VF g = counts ? tempered(load_part(x + v, n), base, by) * of_q : VF{};
      store_part(dx + v, accumulate ? load_part(dx + v, n) + g : g, n);
    }
    if (!counts) continue;
    const float one = static_cast<float>(scale / static_cast<double>(samples));
    for (size_t i = 0; i < samples; i++) {
      const int32_t id = ids[m * samples + i];
      if (id >= 0 && static_cast<size_t>(id) < classes) dx[id] -= one;
    }
  }
}

KERNEL(sample_tokens) {
  const float* teacher = call.f32(0);
  const int32_t* targets = call.i32(1);
  const float* uniforms = call.f32(2);
  int32_t* ids = call.i32(3);
  float *entropy = call.f32(4), *target_loss = call.f32(5);
  const size_t rows = call.size(0), classes = call.size(1), samples = call.size(2);
  const double t = call.real(3);
  const float inverse = static_cast<float>(1 / t);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float *y = teacher + m * classes, *wanted = uniforms + m * samples;
    const float most = row_max(y, classes);
    const double total = tempered_sum(y, most, inverse, classes);
    const VF base = splat(most), scale = splat(inverse);
    double below = 0, cumulative = 0;
    size_t last = 0, drawn = 0;
    for (size_t v = 0; v < classes; v += kLanesWide) {
      const size_t n = min(kLanesWide, classes - v);
      float lanes[kLanes];
      store(lanes, tempered(load_part(y + v, n), base, scale));
      for (size_t i = 0; i < n; i++) {
        if (lanes[i] == 0) continue;
        below += static_cast<double>(lanes[i]) * (static_cast<double>(most) - y[v + i]) / t;
        cumulative += lanes[i];
        last = v + i;
        while (drawn < samples && cumulative > wanted[drawn] * total) ids[m * samples + drawn++] = static_cast<int32_t>(last);
      }
    }
    // The sum and the cumulative sum may differ in their last bit.
    while (drawn < samples) ids[m * samples + drawn++] = static_cast<int32_t>(last);
    entropy[m] = static_cast<float>(log(total) + below / total);
    target_loss[m] = loss_of_target(y, most, targets[m], classes);
  }
}

}  // namespace bitnet::ISA_NS
