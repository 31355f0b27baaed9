// Relations between positions as a distillation loss. See index.ts; the definition is in reference.ts.
// A thread takes a part of a sequence: what it writes no other does, so sums need no order among threads. Bound by arithmetic.
#include "native/simd-math.h"
#include "native/simd64.h"

namespace bitnet::ISA_NS {

constexpr int32_t kNotCounted = -100;

// One part of one sequence: row t begins at t * stride.
struct Part {
  float* unit;
  size_t stride, width;
  const float* row(size_t t) const { return unit + t * stride; }
};

INLINE float dot(const float* a, const float* b, size_t n) {
  VF sums = {};
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t part = min(static_cast<size_t>(kLanes), n - i);
    sums = fma(load_part(a + i, part), load_part(b + i, part), sums);
  }
  return sum(sums);
}

INLINE void add_scaled_row(float* into, const float* x, float factor, size_t n) {
  const VF f = splat(factor);
  for (size_t i = 0; i < n; i += kLanes) {
    const size_t part = min(static_cast<size_t>(kLanes), n - i);
    store_part(into + i, fma(load_part(x + i, part), f, load_part(into + i, part)), part);
  }
}

// |row|, at least 1e-12.
INLINE double length_of(const float* x, size_t n) {
  double square = 0;
  for (size_t d = 0; d < n; d++) square += static_cast<double>(x[d]) * x[d];
  const double root = sqrt(square);
  // A NaN stays one.
  return root < 1e-12 ? 1e-12 : root;
}

INLINE void to_unit(const float* x, const Part& part, size_t rows) {
  for (size_t t = 0; t < rows; t++) {
    const double length = length_of(x + t * part.stride, part.width);
    for (size_t d = 0; d < part.width; d++)
      part.unit[t * part.stride + d] = static_cast<float>(x[t * part.stride + d] / length);
  }
}

// e^(u[t] · u[j]) for all j, and their sum; scores are in -1..1, so no maximum is taken off.
INLINE double relations(const Part& part, size_t t, size_t rows, float* scores, float* exponentials) {
  for (size_t j = 0; j < rows; j++) scores[j] = dot(part.row(t), part.row(j), part.width);
  double total = 0;
  for (size_t j = 0; j < rows; j += kLanes) {
    const size_t n = min(static_cast<size_t>(kLanes), rows - j);
    store_part(exponentials + j, exp(load_part(scores + j, n)), n);
    for (size_t i = 0; i < n; i++) total += exponentials[j + i];
  }
  return total;
}

KERNEL(relation_kl_forward) {
  const float *student = call.f32(0), *teacher = call.f32(1);
  const int32_t* targets = call.i32(2);
  float *unit_s = call.f32(3), *unit_t = call.f32(4), *partial = call.f32(5), *loss = call.f32(6);
  const size_t batch = call.size(0), rows = call.size(1), parts = call.size(2);
  const size_t width = call.size(3), teacher_width = call.size(4);
  float *s = call.scratch<float>(), *es = s + rows, *p = es + rows, *ep = p + rows;
  const Range mine = call.split(batch * parts);
  for (size_t i = mine.begin; i < mine.end; i++) {
    const size_t b = i / parts, r = i % parts;
    const size_t at_s = b * rows * width + r * (width / parts);
    const size_t at_t = b * rows * teacher_width + r * (teacher_width / parts);
    const Part own{unit_s + at_s, width, width / parts}, other{unit_t + at_t, teacher_width, teacher_width / parts};
    to_unit(student + at_s, own, rows);
    to_unit(teacher + at_t, other, rows);
    double total = 0;
    for (size_t t = 0; t < rows; t++) {
      if (targets[b * rows + t] == kNotCounted) continue;
      const double sum_s = relations(own, t, rows, s, es), sum_t = relations(other, t, rows, p, ep);
      const double shift = log(sum_s) - log(sum_t);
      double row = 0;
      for (size_t j = 0; j < rows; j++) row += ep[j] * (static_cast<double>(p[j]) - s[j] + shift);
      total += row / sum_t;
    }
    partial[i] = static_cast<float>(total);
  }
  call.barrier();
  if (call.thread != 0) return;
  double total = 0, counted = 0;
  for (size_t i = 0; i < batch * parts; i++) total += partial[i];
  for (size_t m = 0; m < batch * rows; m++) counted += targets[m] != kNotCounted;
  loss[0] = static_cast<float>(total / (counted * static_cast<double>(parts)));
}

KERNEL(relation_kl_backward) {
  const float *student = call.f32(0), *teacher = call.f32(1);
  const int32_t* targets = call.i32(2);
  float *unit_s = call.f32(3), *unit_t = call.f32(4), *du = call.f32(5);
  const float* dloss = call.f32(6);
  float* dstudent = call.f32(7);
  const size_t batch = call.size(0), rows = call.size(1), parts = call.size(2);
  const size_t width = call.size(3), teacher_width = call.size(4);
  const bool accumulate = call.integer(5) != 0;
  float *s = call.scratch<float>(), *es = s + rows, *p = es + rows, *ep = p + rows;
  double counted = 0;
  for (size_t m = 0; m < batch * rows; m++) counted += targets[m] != kNotCounted;
  const double c = dloss[0] / (counted * static_cast<double>(parts));
  const Range mine = call.split(batch * parts);
  for (size_t i = mine.begin; i < mine.end; i++) {
    const size_t b = i / parts, r = i % parts, D = width / parts;
    const size_t at_s = b * rows * width + r * D;
    const size_t at_t = b * rows * teacher_width + r * (teacher_width / parts);
    const Part own{unit_s + at_s, width, D}, other{unit_t + at_t, teacher_width, teacher_width / parts};
    to_unit(student + at_s, own, rows);
    to_unit(teacher + at_t, other, rows);
    float* d = du + at_s;
    for (size_t t = 0; t < rows; t++)
      for (size_t k = 0; k < D; k++) d[t * width + k] = 0;
    for (size_t t = 0; t < rows; t++) {
      if (targets[b * rows + t] == kNotCounted) continue;
      const double sum_s = relations(own, t, rows, s, es), sum_t = relations(other, t, rows, p, ep);
      for (size_t j = 0; j < rows; j++) {
        const float e = static_cast<float>(c * (es[j] / sum_s - ep[j] / sum_t));
        add_scaled_row(d + t * width, own.row(j), e, D);
        add_scaled_row(d + j * width, own.row(t), e, D);
      }
    }
    for (size_t t = 0; t < rows; t++) {
      const float* u = own.row(t);
      const double along = dot(u, d + t * width, D), length = length_of(student + at_s + t * width, D);
      float* dx = dstudent + at_s + t * width;
      for (size_t k = 0; k < D; k++) {
        const float gradient = static_cast<float>((d[t * width + k] - u[k] * along) / length);
        dx[k] = accumulate ? dx[k] + gradient : gradient;
      }
    }
  }
}

}  // namespace bitnet::ISA_NS
