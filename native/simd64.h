// Vectors of float64 lanes beside simd.h's: for sums that float32 would lose (norms over long rows, gradients over
// thousands of tokens). A float32 vector widens into two, its lower and its upper lanes, exactly.
//
//   VD  kLanes / 2 float64 lanes; + - * / are the compiler's own operators
#pragma once
#include "simd.h"

namespace bitnet::ISA_NS {

constexpr int kDoubles = kLanes / 2;
typedef double VD __attribute__((vector_size(kVectorBytes)));

// Lanes 0 .. kDoubles-1, widened.
INLINE VD widen_low(VF v) {
#if SIMD_AVX512
  return (VD)_mm512_cvtps_pd(_mm512_castps512_ps256((__m512)v));
#elif SIMD_AVX2
  return (VD)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v));
#elif SIMD_SSE4
  return (VD)_mm_cvtps_pd((__m128)v);
#elif SIMD_WASM
  return (VD)wasm_f64x2_promote_low_f32x4((v128_t)v);
#else
  return (VD)vcvt_f64_f32(vget_low_f32((float32x4_t)v));
#endif
}
// Lanes kDoubles .. kLanes-1, widened.
INLINE VD widen_high(VF v) {
#if SIMD_AVX512
  return (VD)_mm512_cvtps_pd(_mm512_extractf32x8_ps((__m512)v, 1));
#elif SIMD_AVX2
  return (VD)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1));
#elif SIMD_SSE4
  return (VD)_mm_cvtps_pd(_mm_movehl_ps((__m128)v, (__m128)v));
#elif SIMD_WASM
  return (VD)wasm_f64x2_promote_low_f32x4(wasm_i64x2_shuffle((v128_t)v, (v128_t)v, 1, 1));
#else
  return (VD)vcvt_high_f64_f32((float32x4_t)v);
#endif
}

// In the order of the lanes.
INLINE double sum(VD v) {
  double s = v[0];
  UNROLL for (int i = 1; i < kDoubles; i++) s += v[i];
  return s;
}

// Correctly rounded; files are compiled with -fno-math-errno, so that it is an instruction and not a call.
INLINE double sqrt(double a) { return __builtin_sqrt(a); }

}  // namespace bitnet::ISA_NS
