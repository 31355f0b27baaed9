// RMSNorm and int8 codes in one pass: a row is read from memory once, and its normed values never leave the first cache.
// The definition is in reference.ts. The same operations in the same order as rms_norm_forward and activation_quant, so
// the same bits. Backward is rms_norm_backward.
#include "native/rows.h"

namespace bitnet::ISA_NS {

// x [M, K], gain [K] -> codes [M, K] int8, scale [M], sums [M], inverse [M].
KERNEL(norm_quant) {
  const float *x = call.f32(0), *gain = call.f32(1);
  float *scale = call.f32(3), *inverse = call.f32(5);
  const size_t width = call.size(1);
  float* normed = call.scratch<float>();
  const Range mine = call.split(call.size(0));
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* row = x + m * width;
    inverse[m] = inverse_rms(row, width, call.real(2));
    const VF r = splat(inverse[m]);
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t n = part(c, width);
      store_part(normed + c, load_part(gain + c, n) * (load_part(row + c, n) * r), n);
    }
    quantise_row(normed, width, call.number(3), call.i8(2) + m * width, scale + m, call.i32(4) + m);
  }
}

}  // namespace bitnet::ISA_NS
