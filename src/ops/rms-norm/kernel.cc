// RMSNorm, forward and backward. See index.ts; the definition is in reference.ts. Bound by memory, so sums over a row
// and over the rows are float64: they cost nothing, and hold for any width and any number of tokens.
#include "native/rows.h"

namespace bitnet::ISA_NS {

KERNEL(rms_norm_forward) {
  const float *x = call.f32(0), *gain = call.f32(1);
  float *y = call.f32(2), *inverse = call.f32(3);
  const size_t width = call.size(1);
  const Range mine = call.split(call.size(0));
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* row = x + m * width;
    float* out = y + m * width;
    inverse[m] = inverse_rms(row, width, call.real(2));
    const VF r = splat(inverse[m]);
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t n = part(c, width);
      store_part(out + c, load_part(gain + c, n) * (load_part(row + c, n) * r), n);
    }
  }
}

// Both gradients in one pass over x and dy; either may be null. Each thread sums the gain's over its share of the rows,
// then all add up what each has. (Columns shared out would need no second step, but rows read in strips are five times
// slower.)
KERNEL(rms_norm_backward) {
  const float *x = call.f32(0), *gain = call.f32(1), *inverse = call.f32(2), *dy = call.f32(3);
  float *dx = call.f32(4), *dgain = call.f32(5);
  const size_t width = call.size(1);
  const bool add_x = call.integer(2) != 0, add_gain = call.integer(3) != 0;
  ColumnSums sums{call.scratch<VD>()};
  if (dgain) ColumnSums::clear(sums, width);
  const Range mine = call.split(call.size(0));
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float *row = x + m * width, *up = dy + m * width;
    const VF r = splat(inverse[m]);
    if (dgain) {
      for (size_t c = 0; c < width; c += kLanes) {
        const size_t n = part(c, width);
        ColumnSums::add(sums, c, load_part(up + c, n) * load_part(row + c, n) * r);
      }
    }
    if (!dx) continue;
    float* out = dx + m * width;
    const double dot = sum_row(width, [&](size_t c, size_t n, VD& low, VD& high) {
      const VF v = load_part(gain + c, n) * load_part(up + c, n) * load_part(row + c, n);
      low += widen_low(v);
      high += widen_high(v);
    });
    const VF mean = splat(static_cast<float>(dot * inverse[m] / static_cast<double>(width)));
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t n = part(c, width);
      const VF g = load_part(gain + c, n) * load_part(up + c, n);
      VF d = r * (g - load_part(row + c, n) * r * mean);
      if (add_x) d += load_part(out + c, n);
      store_part(out + c, d, n);
    }
  }
  if (dgain) ColumnSums::reduce(call, sums, width, dgain, add_gain);
}

}  // namespace bitnet::ISA_NS
