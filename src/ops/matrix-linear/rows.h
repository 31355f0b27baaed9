// Rows of a float matrix in five number formats, as kernels read them. The layouts are in quant/matrix-rows.ts:
//
//   f32, bf16, f16   K numbers
//   int8             K bytes q + 128, then the row's float32 scale
//   int4             blocks of 64 as 32 bytes (byte i: q + 8 of weight i in the lower half, of 32 + i in the upper), then
//                    each block's bfloat16 scale
#pragma once
#include "native/half.h"
#include "native/linear-ends.h"

namespace bitnet::ISA_NS {

// As `matrixFormats` in quant/matrix-rows.ts.
enum MatrixFormat { kF32 = 0, kBf16 = 1, kF16 = 2, kInt8 = 3, kInt4 = 4 };
constexpr size_t kInt4Block = 64;

INLINE size_t int4_blocks(size_t k) { return (k + kInt4Block - 1) / kInt4Block; }
INLINE size_t row_bytes(int format, size_t k) {
  return format == kF32 ? 4 * k : format == kInt8 ? k + 4 : format == kInt4 ? int4_blocks(k) * (kInt4Block / 2 + 2) : 2 * k;
}

typedef uint16_t HalfMemory __attribute__((aligned(1), may_alias));
INLINE uint16_t load_u16(const uint8_t* p) { return *reinterpret_cast<const HalfMemory*>(p); }
INLINE float load_f32(const uint8_t* p) { return *reinterpret_cast<const FloatMemory*>(p); }

// A row's numbers in f32, bf16 or f16, kLanes at a time (int8 and int4 are multiplied in integers: int-rows.h); x holds zeros
// past k, and reads past a row's end stay inside the matrix's memory, which is padded by 64 bytes.
template <int format>
struct RowReader {
  const uint8_t* row;
  size_t k;

  INLINE VF read(const RowReader& r, size_t at) {
    if (format == kF32) return load(reinterpret_cast<const float*>(r.row) + at);
    if (format == kBf16) return load_bf16(reinterpret_cast<const uint16_t*>(r.row) + at);
    return load_half(reinterpret_cast<const uint16_t*>(r.row) + at);
  }
};

// Sums of one row of x, of every so many vectors: they hide the latency of the multiply-add. As many whatever kRows is, so
// that a row of x gives the same bits alone and among others.
#if SIMD_AVX512
constexpr int kDotDepth = 4;
#else
constexpr int kDotDepth = 2;
#endif

// sums[i] = x_i · the row, for kRows rows of x that are `stride` floats apart, with zeros past k up to `stride`.
template <int format, int kRows>
INLINE void row_dots(const uint8_t* row, size_t k, const float* x, size_t stride, float (&out)[kRows]) {
  constexpr int kDepth = kDotDepth;
  VF sums[kRows][kDepth];
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int d = 0; d < kDepth; d++) sums[i][d] = VF{};
  }
  const RowReader<format> reader{row, k};
  auto step = [&](int d, size_t at) __attribute__((always_inline)) {
    const VF w = RowReader<format>::read(reader, at);
    UNROLL for (int i = 0; i < kRows; i++) sums[i][d] = fma(w, load(x + static_cast<size_t>(i) * stride + at), sums[i][d]);
  };
  size_t at = 0;
  for (; at + kDepth * kLanes <= k; at += kDepth * kLanes) {
    UNROLL for (int d = 0; d < kDepth; d++) step(d, at + static_cast<size_t>(d * kLanes));
  }
  for (; at + kLanes <= k; at += kLanes) step(0, at);
  float rest[kRows] = {};
  for (; at < k; at++) {  // what lies past a row's end may be no number
    const float w = format == kF32    ? load_f32(row + 4 * at)
                    : format == kF16  ? half_to_float(load_u16(row + 2 * at))
                                      : bf16_to_float(load_u16(row + 2 * at));
    UNROLL for (int i = 0; i < kRows; i++) rest[i] += w * x[static_cast<size_t>(i) * stride + at];
  }
  UNROLL for (int i = 0; i < kRows; i++) {
    VF total = sums[i][0];
    UNROLL for (int d = 1; d < kDepth; d++) total += sums[i][d];
    out[i] = sum(total) + rest[i];
  }
}

// A row as floats, with zeros from k up to a whole block of 64.
INLINE void widen_row(int format, const uint8_t* row, size_t k, float* to) {
  const size_t padded = int4_blocks(k) * kInt4Block;
  const float scale = format == kInt8 ? load_f32(row + k) : 1;
  for (size_t i = 0; i < k; i++) {
    if (format == kF32) to[i] = load_f32(row + 4 * i);
    else if (format == kBf16) to[i] = bf16_to_float(load_u16(row + 2 * i));
    else if (format == kF16) to[i] = half_to_float(load_u16(row + 2 * i));
    else if (format == kInt8) to[i] = static_cast<float>(row[i] - 128) * scale;
    else {
      const size_t block = i / kInt4Block, j = i % kInt4Block;
      const uint8_t byte = row[block * kInt4Block / 2 + j % 32];
      const int q = (j < 32 ? byte & 15 : byte >> 4) - 8;
      to[i] = static_cast<float>(q) * bf16_to_float(load_u16(row + int4_blocks(k) * kInt4Block / 2 + 2 * block));
    }
  }
  for (size_t i = k; i < padded; i++) to[i] = 0;
}

}  // namespace bitnet::ISA_NS
