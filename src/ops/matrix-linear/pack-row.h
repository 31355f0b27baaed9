// One row of floats to a row of a matrix, as quant/matrix-rows.ts does it, to the bit.
#pragma once
#include "rows.h"

namespace bitnet::ISA_NS {

INLINE float largest_magnitude(const float* x, size_t k) {
  VI most = {};
  for (size_t i = 0; i < k; i += kLanes) most = max(most, (VI)load_part(x + i, part(i, k)) & splat(0x7fffffff));
  return ((VF)splat(largest(most)))[0];
}

INLINE void pack_int8(const float* x, size_t k, uint8_t* to) {
  const float most = largest_magnitude(x, k);
  const VF inverse = splat(most > 0 ? 127.0f / most : 0);
  size_t i = 0;
  for (; i + kLanes <= k; i += kLanes) store_u8(to + i, to_int(load(x + i) * inverse) + splat(128));
  for (; i < k; i++) to[i] = static_cast<uint8_t>(to_int(x[i] * inverse[0]) + 128);
  *reinterpret_cast<FloatMemory*>(to + k) = most / 127.0f;
}

INLINE void pack_int4(const float* x, size_t k, uint8_t* to) {
  const size_t blocks = int4_blocks(k);
  float own[kInt4Block];
  int32_t codes[kInt4Block];
  for (size_t b = 0; b < blocks; b++) {
    const size_t count = min(kInt4Block, k - b * kInt4Block);
    for (size_t i = 0; i < kInt4Block; i++) own[i] = i < count ? x[b * kInt4Block + i] : 0;
    // The number of the largest magnitude becomes -8: the first of equal ones.
    const float magnitude = largest_magnitude(own, kInt4Block);
    float most = magnitude <= 3.4028234663852886e38f ? 0 : __builtin_nanf("");
    for (size_t i = 0; i < kInt4Block; i++) {
      if (abs(own[i]) == magnitude) {
        most = own[i];
        break;
      }
    }
    const uint16_t bits = float_to_bf16(most / -8.0f);
    const float scale = bf16_to_float(bits);
    const VF inverse = splat(scale != 0 ? 1 / scale : 0);
    reinterpret_cast<HalfMemory*>(to + blocks * kInt4Block / 2)[b] = bits;
    for (size_t i = 0; i < kInt4Block; i += kLanes)
      store(codes + i, max(splat(0), min(splat(15), to_int(load(own + i) * inverse) + splat(8))));
    for (size_t i = 0; i < kInt4Block / 2; i++)
      to[b * kInt4Block / 2 + i] = static_cast<uint8_t>(codes[i] | codes[i + kInt4Block / 2] << 4);
  }
}

INLINE void pack_row(int format, const float* x, size_t k, uint8_t* to) {
  if (format == kF32) {
    __builtin_memcpy(to, x, 4 * k);
  } else if (format == kBf16 || format == kF16) {
    for (size_t i = 0; i < k; i++)
      reinterpret_cast<HalfMemory*>(to)[i] = format == kBf16 ? float_to_bf16(x[i]) : float_to_half(x[i]);
  } else if (format == kInt8) {
    pack_int8(x, k, to);
  } else {
    pack_int4(x, k, to);
  }
}

}  // namespace bitnet::ISA_NS
