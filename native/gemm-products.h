// The three products that gemm.h and gemm-rows.h are made of, on words of 32 bits: one float32, two bfloat16 or four
// bytes (two int16 where the machine has no byte product) that follow each other along k. Each gives
//
//   kGroup    values of k in a word
//   kStretch  words of k that gemm.h runs through at once, so that what it packs stays in cache
//   add       sum += a · b, lane by lane: the sum over the word's values of k
#pragma once
#include "simd.h"

namespace bitnet::ISA_NS {

struct Float32Product {
  typedef VF Sum;
  static constexpr size_t kGroup = 1;
  static constexpr size_t kShortWords = 0;
  static constexpr size_t kStretch = 768;
  INLINE void add(VF& sum, VI a, VI b) { sum = fma((VF)a, (VF)b, sum); }
};

#if SIMD_AVX512 && defined(__AVX512BF16__)
#define SIMD_BF16 1
struct Bfloat16Product {
  typedef VF Sum;
  static constexpr size_t kGroup = 2;
  static constexpr size_t kStretch = 768;
  // As assembly: GCC 12 spills the sums when it may choose registers for the intrinsic, and runs at half the speed.
  INLINE void add(VF& sum, VI a, VI b) { asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(b), "v"(a)); }
};
#endif

// A is int8, B is 0, 1 or 2 (a ternary weight plus one): no step below can overflow, on any machine.
#if (SIMD_AVX2 || SIMD_SSE4)
#define SIMD_SHORT_SUMS 1
typedef int16_t VS __attribute__((vector_size(kVectorBytes)));
#endif
struct Int8Product {
  typedef VI Sum;
#if SIMD_SHORT_SUMS
  // Without a product that adds up to int32, sums are kept as pairs of int16 for a while: a pair's product is 2 · 2 · 127
  // at most, so 64 of them stay below 2^15.
  static constexpr size_t kShortWords = 64;
  // As assembly, so that GCC 12 does not make all the products first and spill the sums.
  INLINE void add_short(VI& sum, VI a, VI b) {
    VI product;
#if SIMD_AVX2
    asm("vpmaddubsw %2, %3, %1\n\tvpaddw %1, %0, %0" : "+x"(sum), "=&x"(product) : "x"(a), "x"(b));
#else
    asm("movdqa %3, %1\n\tpmaddubsw %2, %1\n\tpaddw %1, %0" : "+x"(sum), "=&x"(product) : "x"(a), "x"(b));
#endif
  }
  INLINE VI widen(VI sum) {
#if SIMD_AVX2
    return (VI)_mm256_madd_epi16((__m256i)sum, _mm256_set1_epi16(1));
#else
    return (VI)_mm_madd_epi16((__m128i)sum, _mm_set1_epi16(1));
#endif
  }
#endif
  static constexpr size_t kStretch = 1024;
#if SIMD_WASM
  static constexpr size_t kGroup = 2;  // int16 pairs: what i32x4.dot_i16x8 takes
  INLINE void add(VI& sum, VI a, VI b) { sum += (VI)wasm_i32x4_dot_i16x8((v128_t)a, (v128_t)b); }
#else
  static constexpr size_t kGroup = 4;
  INLINE void add(VI& sum, VI a, VI b) {
#if SIMD_AVX512 && defined(__AVX512VNNI__)
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(b), "v"(a));
#elif SIMD_AVX512
    sum += (VI)_mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)b, (__m512i)a), _mm512_set1_epi16(1));
#elif SIMD_AVX2
    sum += (VI)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)b, (__m256i)a), _mm256_set1_epi16(1));
#elif SIMD_SSE4
    sum += (VI)_mm_madd_epi16(_mm_maddubs_epi16((__m128i)b, (__m128i)a), _mm_set1_epi16(1));
#elif defined(__ARM_FEATURE_DOTPROD)
    sum = (VI)vdotq_s32((int32x4_t)sum, (int8x16_t)a, (int8x16_t)b);
#else
    int16x8_t low = vmull_s8(vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b));
    int16x8_t high = vmull_high_s8((int8x16_t)a, (int8x16_t)b);
    sum = (VI)vpadalq_s16((int32x4_t)sum, vpaddq_s16(low, high));
#endif
  }
#endif
};

// int8 by int8: both may be anything in ±127. Where the byte product takes one of them unsigned, B's values come with
// kOffset added, and kOffset times the sum of A's goes off the result; where its sums of two would overflow int16, values
// are widened first.
#if SIMD_AVX512 && defined(__AVX512VNNI__)
typedef Int8Product SignedInt8Product;
constexpr int kOffset = 128;
#elif SIMD_AVX512 || SIMD_AVX2 || SIMD_SSE4
struct SignedInt8Product {
  typedef VI Sum;
  static constexpr size_t kGroup = 2;
  static constexpr size_t kShortWords = 0;
  static constexpr size_t kStretch = 1024;
  INLINE void add(VI& sum, VI a, VI b) {
#if SIMD_AVX512
    sum += (VI)_mm512_madd_epi16((__m512i)a, (__m512i)b);
#elif SIMD_AVX2
    sum += (VI)_mm256_madd_epi16((__m256i)a, (__m256i)b);
#else
    sum += (VI)_mm_madd_epi16((__m128i)a, (__m128i)b);
#endif
  }
};
constexpr int kOffset = 0;
#else
typedef Int8Product SignedInt8Product;
constexpr int kOffset = 0;
#endif

}  // namespace bitnet::ISA_NS
