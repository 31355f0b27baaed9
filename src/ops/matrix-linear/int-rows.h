// Products by rows of int8 and int4 matrices in integers, as reference.ts defines them. A row of x is split once into codes
// of 15 bits, and they into two bytes each, so that its rounding is lost beside that of the weights, and a product of two
// bytes by a byte of weights is exact:
//
//   q = round(x · 16256 / max|x|) = 128 · high + low,   high in [-127, 127], low in [-64, 63]
//
// int8: sums over the whole row are exact, and so the result is the same to the bit on every instruction set, for any number
// of rows and threads. int4: the sum over a block of 64 weights is exact (below 2^24); blocks are added in float32.
//
// Instructions for 64 bytes of one row, AVX-512: int8, 2 VPDPBUSD and 3 loads; int4, 4 VPDPBUSD and some 8 others.
#pragma once
#include "native/gemm-products.h"
#include "rows.h"

namespace bitnet::ISA_NS {

constexpr float kMostCode = 16256;   // 127 · 128
constexpr size_t kIntUnit = 128;     // rows of codes are whole units
constexpr size_t kAheadBytes = 6144;  // of weights, fetched before they are used
constexpr size_t kIntHead = 64;      // bytes in front of a row's codes

INLINE size_t int_width(size_t k) { return (k + kIntUnit - 1) / kIntUnit * kIntUnit; }
// A row of x ready to be multiplied: its head, high bytes, low bytes, and for int4 the sums that its codes' bias adds.
INLINE size_t int_row_bytes(size_t k) { return kIntHead + int_width(k) / 2 * 5; }

struct IntRowHead {
  float scale;
  int32_t high, low;  // sums of the bytes
};

struct IntRow {
  const uint8_t* p;
  INLINE const IntRowHead& head(const IntRow& r) { return *reinterpret_cast<const IntRowHead*>(r.p); }
  INLINE const int8_t* high(const IntRow& r) { return reinterpret_cast<const int8_t*>(r.p + kIntHead); }
  INLINE const int8_t* low(const IntRow& r, size_t width) { return high(r) + width; }
  INLINE const int32_t* bias(const IntRow& r, size_t width) {
    return reinterpret_cast<const int32_t*>(r.p + kIntHead + 2 * width);
  }
};

INLINE int32_t add_lanes(VI v) {
#if SIMD_AVX512
  return _mm512_reduce_add_epi32((__m512i)v);
#elif SIMD_AVX2
  const __m128i four = _mm_add_epi32(_mm256_castsi256_si128((__m256i)v), _mm256_extracti128_si256((__m256i)v, 1));
  const __m128i two = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32(two, 0xb1)));
#else
  return sum(v);
#endif
}

// sum += x · w in each lane's four bytes; x signed, within ±127. Of int8 rows w is q + 128 as it is stored: kWideBias is
// what the product has too much of it. Of int4 rows w is q + 8, from 0 to 15.
#if SIMD_AVX512
constexpr int kWideBias = 128;
#else
constexpr int kWideBias = 0;
#endif
INLINE VI stored_bytes(const uint8_t* p) {
  const VI v = load_bytes(p);
  return kWideBias ? v : v ^ splat(static_cast<int32_t>(0x80808080u));
}
#if SIMD_WASM
INLINE void add_signed(VI& sum, VI x, VI w) {
  sum += (VI)wasm_i32x4_dot_i16x8(wasm_i16x8_extend_low_i8x16((v128_t)x), wasm_i16x8_extend_low_i8x16((v128_t)w));
  sum += (VI)wasm_i32x4_dot_i16x8(wasm_i16x8_extend_high_i8x16((v128_t)x), wasm_i16x8_extend_high_i8x16((v128_t)w));
}
#endif
INLINE void add_wide(VI& sum, VI x, VI w) {
#if SIMD_AVX512
  Int8Product::add(sum, x, w);
#elif SIMD_AVX2
  // |w| times x with w's sign: two products are 2 · 127 · 127 at most, which int16 holds.
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)w), _mm256_sign_epi8((__m256i)x, (__m256i)w));
  sum += (VI)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
#elif SIMD_SSE4
  const __m128i pairs = _mm_maddubs_epi16(_mm_abs_epi8((__m128i)w), _mm_sign_epi8((__m128i)x, (__m128i)w));
  sum += (VI)_mm_madd_epi16(pairs, _mm_set1_epi16(1));
#elif SIMD_WASM
  add_signed(sum, x, w);
#else
  Int8Product::add(sum, x, w);
#endif
}
INLINE void add_nibbles(VI& sum, VI x, VI w) {
#if SIMD_AVX512
  Int8Product::add(sum, x, w);
#elif SIMD_AVX2
  sum += (VI)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)w, (__m256i)x), _mm256_set1_epi16(1));
#elif SIMD_SSE4
  sum += (VI)_mm_madd_epi16(_mm_maddubs_epi16((__m128i)w, (__m128i)x), _mm_set1_epi16(1));
#elif SIMD_WASM
  add_signed(sum, x, w);
#else
  Int8Product::add(sum, x, w);
#endif
}

// ---- int4: a vector of bytes, its lower halves first, is some whole blocks, or a part of one

constexpr size_t kNibbleBlocks = kVectorBytes > 32 ? kVectorBytes / 32 : 1;   // blocks at once
constexpr size_t kNibbleVectors = kVectorBytes < 32 ? 32 / kVectorBytes : 1;  // vectors of a block
// Where number i of a row stands among its bytes: so that those that meet a vector's lower halves, and those that meet its
// upper halves, are vectors.
INLINE size_t nibble_place(size_t i) {
  if (kNibbleBlocks == 1) return i;
  const size_t quarter = i / 32 % 4;
  return i - quarter * 32 + (quarter == 1 ? 64 : quarter == 2 ? 32 : quarter * 32);
}
// Vector j of step `block`'s lower halves; the upper halves' is kNibbleHigh further.
INLINE size_t nibble_at(size_t block, size_t j) { return block * kInt4Block + j * kVectorBytes; }
constexpr size_t kNibbleHigh = kNibbleBlocks * 32;

// The scales of kNibbleBlocks blocks, each in its lanes; 0 for a block past the row's end.
INLINE VF nibble_scales(const uint8_t* scales, size_t block, size_t blocks) {
#if SIMD_AVX512
  int32_t pair = load_u16(scales + 2 * block);
  if (block + 1 < blocks) pair = load_word(scales + 2 * block);
  const __m512i both = _mm512_set1_epi32(pair);
  return (VF)((VI)_mm512_mask_slli_epi32(both, 0x00ff, both, 16) & splat(static_cast<int32_t>(0xffff0000u)));
#else
  (void)blocks;
  return splat(bf16_to_float(load_u16(scales + 2 * block)));
#endif
}

// ---- making a row of x ready

template <bool kNibbles>
INLINE void ready_int_row(const float* x, size_t k, uint8_t* to) {
  const size_t width = int_width(k);
  IntRowHead& head = *reinterpret_cast<IntRowHead*>(to);
  int8_t *high = reinterpret_cast<int8_t*>(to + kIntHead), *low = high + width;
  VI most = {};
  for (size_t c = 0; c < k; c += kLanes) most = max(most, (VI)load_part(x + c, part(c, k)) & splat(0x7fffffff));
  const float largest_x = ((VF)splat(largest(most)))[0];  // a NaN is larger than all, as bits
  const bool sound = largest_x <= 3.4028234663852886e38f;
  // What is not a number makes the whole row so; what is too small to divide by is nothing.
  head.scale = sound ? largest_x / kMostCode : __builtin_nanf("");
  const float factor = sound && largest_x > 1e-30f ? kMostCode / largest_x : 0;
  VI sum_high = {}, sum_low = {};
  for (size_t c = 0; c < width; c += kLanes) {
    const VF v = c < k ? load_part(x + c, part(c, k)) : VF{};
    const VI q = sound ? to_int(v * splat(factor)) : VI{};
    const VI h = (q + splat(64)) >> 7, l = q - (h << 7);
    sum_high += h;
    sum_low += l;
    const size_t at = kNibbles ? nibble_place(c) : c;
    store_i8(high + at, h);
    store_i8(low + at, l);
  }
  head.high = add_lanes(sum_high);
  head.low = add_lanes(sum_low);
  if (!kNibbles) return;
  int32_t* bias = reinterpret_cast<int32_t*>(low + width);
  const VI eights = splat(0x08080808);
  for (size_t b = 0; b < width / kInt4Block; b += kNibbleBlocks, bias += kLanes) {
    VI h = {}, l = {};
    for (size_t j = 0; j < kNibbleVectors; j++) {
      for (size_t half = 0; half < 2; half++) {
        const size_t at = nibble_at(b, j) + half * kNibbleHigh;
        add_nibbles(h, load_bytes(high + at), eights);
        add_nibbles(l, load_bytes(low + at), eights);
      }
    }
    store(bias, -((h << 7) + l));
  }
}

// Rows are read some at a time, which hides from the processor that memory is read in order: it is told.
INLINE void fetch_ahead([[maybe_unused]] const uint8_t* p) {
#if !SIMD_WASM
  __builtin_prefetch(p + kAheadBytes, 0, 3);
#endif
}

// ---- products: out[i][c] = row i of x (`x_stride` bytes apart) · row c of the weights (`stride` bytes apart)

template <int kRows, int kColumns>
INLINE void int8_dots(const uint8_t* w, size_t stride, size_t k, const uint8_t* x, size_t x_stride,
                      float (&out)[kRows][kColumns]) {
  const size_t width = int_width(k);
  VI high[kRows][kColumns], low[kRows][kColumns];
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int c = 0; c < kColumns; c++) high[i][c] = low[i][c] = VI{};
  }
  // What is read of the weights past k belongs to their neighbours, and meets zeros.
  for (size_t at = 0; at < k; at += kVectorBytes) {
    VI ws[kColumns];
    UNROLL for (int c = 0; c < kColumns; c++) {
      ws[c] = stored_bytes(w + static_cast<size_t>(c) * stride + at);
      fetch_ahead(w + at * kColumns + static_cast<size_t>(c * kVectorBytes));
    }
    UNROLL for (int i = 0; i < kRows; i++) {
      const IntRow row{x + static_cast<size_t>(i) * x_stride};
      const VI h = load_bytes(IntRow::high(row) + at), l = load_bytes(IntRow::low(row, width) + at);
      UNROLL for (int c = 0; c < kColumns; c++) add_wide(high[i][c], h, ws[c]), add_wide(low[i][c], l, ws[c]);
    }
  }
  UNROLL for (int i = 0; i < kRows; i++) {
    const IntRowHead& head = IntRow::head({x + static_cast<size_t>(i) * x_stride});
    UNROLL for (int c = 0; c < kColumns; c++) {
      const float h = static_cast<float>(add_lanes(high[i][c]) - kWideBias * head.high);
      const float l = static_cast<float>(add_lanes(low[i][c]) - kWideBias * head.low);
      out[i][c] = (h * 128.0f + l) * (head.scale * load_f32(w + static_cast<size_t>(c) * stride + k));
    }
  }
}

template <int kRows, int kColumns>
INLINE void int4_dots(const uint8_t* w, size_t stride, size_t k, const uint8_t* x, size_t x_stride,
                      float (&out)[kRows][kColumns]) {
  const size_t width = int_width(k), blocks = int4_blocks(k);
  VF sums[kRows][kColumns];
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int c = 0; c < kColumns; c++) sums[i][c] = VF{};
  }
  for (size_t b = 0; b < blocks; b += kNibbleBlocks) {
    UNROLL for (int c = 0; c < kColumns; c++) {
      const uint8_t* row = w + static_cast<size_t>(c) * stride;
      const VF scales = nibble_scales(row + blocks * kInt4Block / 2, b, blocks);
      VI halves[kNibbleVectors][2];
      UNROLL for (size_t j = 0; j < kNibbleVectors; j++) {
        const VI v = load_bytes(row + b * kInt4Block / 2 + j * kVectorBytes);
        fetch_ahead(w + b * kInt4Block / 2 * kColumns + (static_cast<size_t>(c) * kNibbleVectors + j) * kVectorBytes);
        halves[j][0] = v & splat(0x0f0f0f0f);
        halves[j][1] = (VI)((VU)v >> 4) & splat(0x0f0f0f0f);
      }
      UNROLL for (int i = 0; i < kRows; i++) {
        const IntRow own{x + static_cast<size_t>(i) * x_stride};
        VI high = {}, total = load(IntRow::bias(own, width) + b / kNibbleBlocks * kLanes);
        UNROLL for (size_t j = 0; j < kNibbleVectors; j++) {
          UNROLL for (size_t half = 0; half < 2; half++) {
            const size_t at = nibble_at(b, j) + half * kNibbleHigh;
            add_nibbles(high, load_bytes(IntRow::high(own) + at), halves[j][half]);
            add_nibbles(total, load_bytes(IntRow::low(own, width) + at), halves[j][half]);
          }
        }
        sums[i][c] = fma(to_float((high << 7) + total), scales, sums[i][c]);
      }
    }
  }
  UNROLL for (int i = 0; i < kRows; i++) {
    const float scale = IntRow::head({x + static_cast<size_t>(i) * x_stride}).scale;
    UNROLL for (int c = 0; c < kColumns; c++) out[i][c] = sum(sums[i][c]) * scale;
  }
}

}  // namespace bitnet::ISA_NS
