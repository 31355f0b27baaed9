// Rows of activations to int8, each with a scale of its own (absmax), and the sums of the codes. The definition is in
// reference.ts.
#include "native/simd.h"

namespace bitnet::ISA_NS {

// x [M, K] -> codes [M, K] int8, scale [M], sums [M].
KERNEL(activation_quant) {
  const size_t rows = call.size(0), width = call.size(1);
  const float eps = call.number(2);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = call.f32(0) + m * width;
    int8_t* codes = call.i8(1) + m * width;

    // Magnitudes are ordered as their bits are, with NaN above infinity: an integer max keeps a NaN.
    const VI magnitude = splat(0x7fffffff);
    VI most = {}, most2 = {};
    size_t k = 0;
    for (; k + 2 * kLanes <= width; k += 2 * kLanes) {
      most = max(most, load_bytes(x + k) & magnitude);
      most2 = max(most2, load_bytes(x + k + kLanes) & magnitude);
    }
    for (; k < width; k += kLanes) most = max(most, (VI)load_part(x + k, width - k) & magnitude);
    const float absmax = ((VF)splat(largest(max(most, most2))))[0];

    const float bounded = absmax < eps ? eps : absmax;
    call.f32(2)[m] = bounded / 127.0f;
    if (!(absmax <= 3.4028234663852886e38f)) {
      // NaN or infinity: zero codes times that scale are NaN all along the row.
      for (k = 0; k < width; k++) codes[k] = 0;
      call.i32(3)[m] = 0;
      continue;
    }
    // |x| <= absmax, so |x · factor| < 127.5: no clip is needed.
    const VF factor = splat(127.0f / bounded);
    VI total = {};
    for (k = 0; k + kLanes <= width; k += kLanes) {
      const VI q = to_int(load(x + k) * factor);
      total += q;
      store_i8(codes + k, q);
    }
    if (k < width) {
      const VI q = to_int(load_part(x + k, width - k) * factor);
      total += q;
      for (size_t j = 0; k + j < width; j++) codes[k + j] = static_cast<int8_t>(q[j]);
    }
    call.i32(3)[m] = sum(total);
  }
}

}  // namespace bitnet::ISA_NS
