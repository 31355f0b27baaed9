// Vectors of 32-bit lanes, one set of names for every instruction set: x86-64-v2 (SSE4), AVX2+FMA, AVX-512 (with VNNI
// and BF16), Arm NEON, WASM SIMD. A kernel is written once over these and compiled once for each; kLanes is 4, 8 or 16.
//
//   VF  float32 lanes     VI  int32 lanes (also what comparisons give: -1 true, 0 false)     VU  uint32 lanes
//   (float64 lanes, for sums: simd64.h)
//
// Arithmetic, comparison and shifts are the compiler's own operators on vectors (a * b, a < b, i >> 2, v[3]); what has
// no operator is a function here. Everything is inline in bitnet::ISA_NS, so no copy can leak from one instruction set
// to another. Loads and stores need no alignment. What is rounded is rounded as IEEE says; nothing is approximated.
//
// fma() is a fused multiply-add where the machine has one, and a product and a sum elsewhere. The compiler may also fuse
// an a * b + c of yours: where both roundings matter, keep the product in a function argument or compare it first.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kernel.h"

#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#elif defined(__x86_64__)
#if defined(__clang__)
#include <immintrin.h>
#else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12: its own avx512fintrin.h (bug 105593)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define INLINE static inline __attribute__((always_inline))
// Before a loop of constant bounds over registers: unless it is unrolled, GCC keeps the array of vectors in memory.
#define UNROLL _Pragma("GCC unroll 32")

namespace bitnet::ISA_NS {

#if defined(__AVX512F__)
#define SIMD_AVX512 1
constexpr int kLanes = 16;
#elif defined(__AVX2__)
#define SIMD_AVX2 1
constexpr int kLanes = 8;
#elif defined(__SSE4_1__)
#define SIMD_SSE4 1
constexpr int kLanes = 4;
#elif defined(__wasm_simd128__)
#define SIMD_WASM 1
constexpr int kLanes = 4;
#elif defined(__ARM_NEON)
#define SIMD_NEON 1
constexpr int kLanes = 4;
#else
#error "simd.h: compile with -msse4.1 or better, for Arm NEON, or for WASM with -msimd128"
#endif
constexpr int kVectorBytes = 4 * kLanes;

typedef float VF __attribute__((vector_size(kVectorBytes)));
typedef int32_t VI __attribute__((vector_size(kVectorBytes)));
typedef uint32_t VU __attribute__((vector_size(kVectorBytes)));
// The same in memory: any alignment, and free to alias other types (bytes, bfloat16 pairs).
typedef float VFMemory __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));
typedef int32_t VIMemory __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));
typedef float FloatMemory __attribute__((aligned(1), may_alias));
typedef int32_t IntMemory __attribute__((aligned(1), may_alias));

// ---- memory

INLINE VF load(const float* p) { return *reinterpret_cast<const VFMemory*>(p); }
INLINE VI load(const int32_t* p) { return *reinterpret_cast<const VIMemory*>(p); }
INLINE void store(float* p, VF v) { *reinterpret_cast<VFMemory*>(p) = v; }
INLINE void store(int32_t* p, VI v) { *reinterpret_cast<VIMemory*>(p) = v; }
// kVectorBytes bytes, whatever they mean.
INLINE VI load_bytes(const void* p) { return *reinterpret_cast<const VIMemory*>(p); }
INLINE void store_bytes(void* p, VI v) { *reinterpret_cast<VIMemory*>(p) = v; }
// Four bytes as an int32, at any address.
INLINE int32_t load_word(const void* p) { return *reinterpret_cast<const IntMemory*>(p); }

INLINE VF splat(float x) { return x - VF{}; }
INLINE VI splat(int32_t x) { return x - VI{}; }

// The first n lanes (0 <= n <= kLanes), zero beyond; nothing outside p[0..n) is touched.
INLINE VF load_part(const float* p, size_t n) {
#if SIMD_AVX512
  return (VF)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
  if (n >= kLanes) return load(p);
  VF v = {};
  float* lanes = reinterpret_cast<float*>(&v);
  for (size_t i = 0; i < n; i++) lanes[i] = p[i];
  return v;
#endif
}
INLINE VI load_part(const int32_t* p, size_t n) { return (VI)load_part(reinterpret_cast<const float*>(p), n); }
INLINE void store_part(float* p, VF v, size_t n) {
#if SIMD_AVX512
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
  if (n >= kLanes) return store(p, v);
  const float* lanes = reinterpret_cast<const float*>(&v);
  for (size_t i = 0; i < n; i++) p[i] = lanes[i];
#endif
}
INLINE void store_part(int32_t* p, VI v, size_t n) { store_part(reinterpret_cast<float*>(p), (VF)v, n); }

// ---- arithmetic

// a * b + c
INLINE VF fma(VF a, VF b, VF c) {
#if SIMD_AVX512
  return (VF)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif SIMD_AVX2 && defined(__FMA__)
  return (VF)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif SIMD_NEON
  return (VF)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

// Lane by lane: mask (from a comparison) ? a : b.
INLINE VF select(VI mask, VF a, VF b) {
#if SIMD_AVX512
  return (VF)_mm512_mask_blend_ps(_mm512_movepi32_mask((__m512i)mask), (__m512)b, (__m512)a);
#elif SIMD_AVX2
  return (VF)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#elif SIMD_SSE4
  return (VF)_mm_blendv_ps((__m128)b, (__m128)a, (__m128)mask);
#else
  return (VF)(((VI)a & mask) | ((VI)b & ~mask));
#endif
}
INLINE VI select(VI mask, VI a, VI b) { return (VI)select(mask, (VF)a, (VF)b); }

// The smaller and the larger; b where either is NaN (as x86 does). So max(x, running) drops a NaN in x, and
// max(running, x) keeps x's NaN only until the next value: test for NaN apart.
INLINE VF min(VF a, VF b) {
#if SIMD_AVX512
  return (VF)_mm512_min_ps((__m512)a, (__m512)b);
#elif SIMD_AVX2
  return (VF)_mm256_min_ps((__m256)a, (__m256)b);
#elif SIMD_SSE4
  return (VF)_mm_min_ps((__m128)a, (__m128)b);
#elif SIMD_WASM
  return (VF)wasm_f32x4_pmin((v128_t)b, (v128_t)a);
#else
  return select(a < b, a, b);
#endif
}
INLINE VF max(VF a, VF b) {
#if SIMD_AVX512
  return (VF)_mm512_max_ps((__m512)a, (__m512)b);
#elif SIMD_AVX2
  return (VF)_mm256_max_ps((__m256)a, (__m256)b);
#elif SIMD_SSE4
  return (VF)_mm_max_ps((__m128)a, (__m128)b);
#elif SIMD_WASM
  return (VF)wasm_f32x4_pmax((v128_t)b, (v128_t)a);
#else
  return select(a > b, a, b);
#endif
}
INLINE VI min(VI a, VI b) {
#if SIMD_AVX512
  return (VI)_mm512_min_epi32((__m512i)a, (__m512i)b);
#else
  return select(a < b, a, b);
#endif
}
INLINE VI max(VI a, VI b) {
#if SIMD_AVX512
  return (VI)_mm512_max_epi32((__m512i)a, (__m512i)b);
#elif SIMD_AVX2
  return (VI)_mm256_max_epi32((__m256i)a, (__m256i)b);
#elif SIMD_SSE4
  return (VI)_mm_max_epi32((__m128i)a, (__m128i)b);
#else
  return select(a > b, a, b);
#endif
}
INLINE float min(float a, float b) { return a < b ? a : b; }
INLINE float max(float a, float b) { return a > b ? a : b; }
INLINE size_t min(size_t a, size_t b) { return a < b ? a : b; }
INLINE size_t max(size_t a, size_t b) { return a > b ? a : b; }

INLINE VF abs(VF a) { return (VF)((VI)a & splat(0x7fffffff)); }
INLINE float abs(float a) { return __builtin_fabsf(a); }
// -1 in each lane that holds NaN.
INLINE VI is_nan(VF a) { return a != a; }

INLINE VF sqrt(VF a) {
#if SIMD_AVX512
  return (VF)_mm512_sqrt_ps((__m512)a);
#elif SIMD_AVX2
  return (VF)_mm256_sqrt_ps((__m256)a);
#elif SIMD_SSE4
  return (VF)_mm_sqrt_ps((__m128)a);
#elif SIMD_WASM
  return (VF)wasm_f32x4_sqrt((v128_t)a);
#else
  return (VF)vsqrtq_f32((float32x4_t)a);
#endif
}
INLINE float sqrt(float a) { return sqrt(splat(a))[0]; }

// ---- conversion

// To int32, half to even. Outside int32, and for NaN, the lane is whatever the machine gives.
INLINE VI to_int(VF a) {
#if SIMD_AVX512
  return (VI)_mm512_cvtps_epi32((__m512)a);
#elif SIMD_AVX2
  return (VI)_mm256_cvtps_epi32((__m256)a);
#elif SIMD_SSE4
  return (VI)_mm_cvtps_epi32((__m128)a);
#elif SIMD_WASM
  return (VI)wasm_i32x4_trunc_sat_f32x4(wasm_f32x4_nearest((v128_t)a));
#else
  return (VI)vcvtnq_s32_f32((float32x4_t)a);
#endif
}
INLINE int32_t to_int(float a) { return to_int(splat(a))[0]; }
// To float32, nearest.
INLINE VF to_float(VI a) { return __builtin_convertvector(a, VF); }
// To an integral float32, half to even.
INLINE VF round_even(VF a) {
#if SIMD_AVX512
  return (VF)_mm512_roundscale_ps((__m512)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif SIMD_AVX2
  return (VF)_mm256_round_ps((__m256)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif SIMD_SSE4
  return (VF)_mm_round_ps((__m128)a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif SIMD_WASM
  return (VF)wasm_f32x4_nearest((v128_t)a);
#else
  return (VF)vrndnq_f32((float32x4_t)a);
#endif
}

// kLanes bytes, widened to int32 lanes.
INLINE VI load_i8(const int8_t* p) {
#if SIMD_AVX512
  return (VI)_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif SIMD_AVX2
  return (VI)_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#elif SIMD_SSE4
  return (VI)_mm_cvtepi8_epi32(_mm_cvtsi32_si128(load_word(p)));
#elif SIMD_WASM
  return (VI)wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p)));
#else
  return VI{p[0], p[1], p[2], p[3]};
#endif
}
INLINE VI load_u8(const uint8_t* p) {
#if SIMD_AVX512
  return (VI)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif SIMD_AVX2
  return (VI)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
#elif SIMD_SSE4
  return (VI)_mm_cvtepu8_epi32(_mm_cvtsi32_si128(load_word(p)));
#elif SIMD_WASM
  return (VI)wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(p)));
#else
  return VI{p[0], p[1], p[2], p[3]};
#endif
}
// The low byte of each lane, to kLanes bytes.
INLINE void store_i8(int8_t* p, VI v) {
#if SIMD_AVX512
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8((__m512i)v));
#else
  typedef uint8_t Bytes __attribute__((vector_size(kVectorBytes)));
  Bytes b = (Bytes)v;
#if SIMD_AVX2
  __m256i s = _mm256_shuffle_epi8((__m256i)b, _mm256_set1_epi32(0x0c080400));
  reinterpret_cast<IntMemory*>(p)[0] = _mm256_extract_epi32(s, 0);
  reinterpret_cast<IntMemory*>(p)[1] = _mm256_extract_epi32(s, 4);
#elif SIMD_SSE4
  *reinterpret_cast<IntMemory*>(p) = _mm_cvtsi128_si32(_mm_shuffle_epi8((__m128i)b, _mm_set1_epi32(0x0c080400)));
#else
  p[0] = (int8_t)b[0], p[1] = (int8_t)b[4], p[2] = (int8_t)b[8], p[3] = (int8_t)b[12];
#endif
#endif
}
INLINE void store_u8(uint8_t* p, VI v) { store_i8(reinterpret_cast<int8_t*>(p), v); }

// ---- bfloat16: the upper 16 bits of a float32

// Nearest bfloat16, half to even; its bits in the lower half of the lane. NaN stays NaN, and what is too large is Inf.
INLINE VU to_bf16(VF a) {
  VU x = (VU)a;
  VU rounded = (x + 0x7fffu + ((x >> 16) & 1u)) >> 16;
  return (VU)select(is_nan(a), (VI)((x >> 16) | 0x40u), (VI)rounded);
}
INLINE VF from_bf16(VU bits) { return (VF)(bits << 16); }
// A pair in each lane, `first` in the lower half: the operand of bfloat16 dot products.
INLINE VI pair_bf16(VF first, VF second) {
#if SIMD_AVX512 && defined(__AVX512BF16__)
  const __m512i interleave = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                                              21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512i joined = (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
  return (VI)_mm512_permutexvar_epi16(interleave, joined);
#else
  return (VI)(to_bf16(first) | (to_bf16(second) << 16));
#endif
}

// ---- across lanes; always in the same order

// The upper half of the lanes is added to the lower, until one is left.
#if defined(__x86_64__)
INLINE float sum(__m128 v) {
  v = _mm_add_ps(v, _mm_movehl_ps(v, v));
  return v[0] + v[1];
}
INLINE int32_t sum(__m128i v) {
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xee));
  return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0x55)));
}
#if SIMD_AVX512 || SIMD_AVX2
INLINE float sum(__m256 v) { return sum(_mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1))); }
INLINE int32_t sum(__m256i v) {
  return sum(_mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}
#endif
#if SIMD_AVX512
INLINE float sum(VF v) {
  const __m512 w = (__m512)v;
  return sum(_mm256_add_ps(_mm512_castps512_ps256(w), _mm512_extractf32x8_ps(w, 1)));
}
INLINE int32_t sum(VI v) {
  const __m512i w = (__m512i)v;
  return sum(_mm256_add_epi32(_mm512_castsi512_si256(w), _mm512_extracti32x8_epi32(w, 1)));
}
#elif SIMD_AVX2
INLINE int32_t sum(VI v) { return sum((__m256i)v); }
#else
INLINE int32_t sum(VI v) { return sum((__m128i)v); }
#endif
#else
INLINE float sum(VF v) {
  float t[kLanes];
  store(t, v);
  UNROLL for (int half = kLanes / 2; half > 0; half /= 2) {
    UNROLL for (int i = 0; i < half; i++) t[i] += t[i + half];
  }
  return t[0];
}
INLINE int32_t sum(VI v) {
  int32_t t[kLanes], s = 0;
  store(t, v);
  UNROLL for (int i = 0; i < kLanes; i++) s += t[i];
  return s;
}
#endif
// No NaN among them.
INLINE float largest(VF v) {
  float t[kLanes];
  store(t, v);
  UNROLL for (int half = kLanes / 2; half > 0; half /= 2) {
    UNROLL for (int i = 0; i < half; i++) t[i] = max(t[i], t[i + half]);
  }
  return t[0];
}
INLINE int32_t largest(VI v) {
  int32_t t[kLanes];
  store(t, v);
  for (int i = 1; i < kLanes; i++) t[0] = t[i] > t[0] ? t[i] : t[0];
  return t[0];
}
INLINE bool any(VI mask) {
#if SIMD_AVX512
  return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif SIMD_AVX2
  return _mm256_movemask_ps((__m256)mask) != 0;
#elif SIMD_SSE4
  return _mm_movemask_ps((__m128)mask) != 0;
#elif SIMD_WASM
  return wasm_v128_any_true((v128_t)mask);
#else
  return vmaxvq_u32((uint32x4_t)mask) != 0;
#endif
}

}  // namespace bitnet::ISA_NS
