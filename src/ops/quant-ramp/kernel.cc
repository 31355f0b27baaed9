// y = x + lambda · (code · scale - x). See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

// Exactly the quantized value at lambda 1, where the sum would round.
INLINE VF ramped(VF x, VF dequantised, VF lambda) {
  return lambda[0] == 1.0f ? dequantised : x + lambda * (dequantised - x);
}

// x [rows, width] float32, codes int8 like it, scale [rows] -> y [rows, width].
KERNEL(quant_ramp_activations) {
  const size_t rows = call.size(0), width = call.size(1);
  const VF lambda = splat(call.number(2));
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* x = call.f32(0) + m * width;
    const int8_t* codes = call.i8(1) + m * width;
    float* y = call.f32(3) + m * width;
    const VF scale = splat(call.f32(2)[m]);
    size_t k = 0;
    for (; k + kLanes <= width; k += kLanes)
      store(y + k, ramped(load(x + k), to_float(load_i8(codes + k)) * scale, lambda));
    for (; k < width; k++) y[k] = ramped(splat(x[k]), to_float(splat(int32_t{codes[k]})) * scale, lambda)[0];
  }
}

// w [size] float32, codes uint8 (q + 1) like it, scale [1] -> y [size].
KERNEL(quant_ramp_weights) {
  const float* w = call.f32(0);
  const uint8_t* codes = call.u8(1);
  const VF scale = splat(call.f32(2)[0]);
  float* y = call.f32(3);
  const VF lambda = splat(call.number(1));
  const Range mine = call.split(call.size(0), 16);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes)
    store(y + i, ramped(load(w + i), to_float(load_u8(codes + i) - splat(1)) * scale, lambda));
  for (; i < mine.end; i++) y[i] = ramped(splat(w[i]), to_float(splat(int32_t{codes[i]} - 1)) * scale, lambda)[0];
}

// w [size] float32, its quantized values like it -> y [size].
KERNEL(quant_ramp_values) {
  const float *w = call.f32(0), *values = call.f32(1);
  float* y = call.f32(2);
  const VF lambda = splat(call.number(1));
  const Range mine = call.split(call.size(0), 16);
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) store(y + i, ramped(load(w + i), load(values + i), lambda));
  for (; i < mine.end; i++) y[i] = ramped(splat(w[i]), splat(values[i]), lambda)[0];
}

}  // namespace bitnet::ISA_NS
