// Transposing kLanes x kLanes words of 32 bits, in registers.
#pragma once
#include "simd.h"

namespace bitnet::ISA_NS {

#if defined(__clang__)
#define SHUFFLE_CONSTANT(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE_CONSTANT(a, b, ...) __builtin_shuffle(a, b, VI{__VA_ARGS__})
#endif

INLINE VI interleave_low(VI a, VI b) {
#if SIMD_AVX512
  return SHUFFLE_CONSTANT(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif SIMD_AVX2
  return SHUFFLE_CONSTANT(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return SHUFFLE_CONSTANT(a, b, 0, 4, 1, 5);
#endif
}
INLINE VI interleave_high(VI a, VI b) {
#if SIMD_AVX512
  return SHUFFLE_CONSTANT(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif SIMD_AVX2
  return SHUFFLE_CONSTANT(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return SHUFFLE_CONSTANT(a, b, 2, 6, 3, 7);
#endif
}
// log2(kLanes) perfect shuffles of the rows are a transposition.
INLINE void transpose(VI (&rows)[kLanes]) {
  UNROLL for (int stage = 1; stage < kLanes; stage *= 2) {
    VI next[kLanes];
    UNROLL for (int i = 0; i < kLanes / 2; i++) {
      next[2 * i] = interleave_low(rows[i], rows[i + kLanes / 2]);
      next[2 * i + 1] = interleave_high(rows[i], rows[i + kLanes / 2]);
    }
    UNROLL for (int i = 0; i < kLanes; i++) rows[i] = next[i];
  }
}

}  // namespace bitnet::ISA_NS
