// IEEE binary16 lanes to float32 and one value back, on machines with and without an instruction for it; exact one way,
// half to even the other.
#pragma once
#include "simd.h"

namespace bitnet::ISA_NS {

INLINE float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, rest = h & 0x7fffu;
  // Below 2^-14 numbers are multiples of 2^-24; above, the exponent is biased anew.
  const float small = static_cast<float>(rest) * 5.9604644775390625e-8f;
  uint32_t bits = rest >= 0x7c00 ? 0x7f800000u | (rest & 0x3ffu) << 13 : (rest << 13) + (112u << 23);
  if (rest < 0x400) __builtin_memcpy(&bits, &small, 4);
  bits |= sign;
  float out;
  __builtin_memcpy(&out, &bits, 4);
  return out;
}

// kLanes halves at p.
INLINE VF load_half(const uint16_t* p) {
#if SIMD_AVX512
  return (VF)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif SIMD_AVX2 && defined(__F16C__)
  return (VF)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
  VU h;
  UNROLL for (int i = 0; i < kLanes; i++) h[i] = p[i];
  const VU sign = (h & 0x8000u) << 16, rest = h & 0x7fffu;
  const VF small = to_float((VI)rest) * splat(5.9604644775390625e-8f);
  const VI normal = (VI)((rest << 13) + (112u << 23)), endless = (VI)(((rest & 0x3ffu) << 13) | 0x7f800000u);
  const VI bits = select((VI)rest < 0x400, (VI)small, select((VI)rest >= 0x7c00, endless, normal));
  return (VF)(bits | (VI)sign);
#endif
}

// kLanes bfloat16 at p.
INLINE VF load_bf16(const uint16_t* p) {
#if SIMD_AVX512
  return (VF)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16);
#elif SIMD_AVX2
  return (VF)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16);
#elif SIMD_SSE4
  return (VF)_mm_slli_epi32(_mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))), 16);
#elif SIMD_WASM
  return (VF)wasm_i32x4_shl(wasm_u32x4_load16x4(p), 16);
#else
  VU h;
  UNROLL for (int i = 0; i < kLanes; i++) h[i] = p[i];
  return (VF)(h << 16);
#endif
}

INLINE uint16_t float_to_half(float x) {
  uint32_t b;
  __builtin_memcpy(&b, &x, 4);
  const uint32_t sign = b >> 16 & 0x8000, rest = b & 0x7fffffffu;
  if (rest > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00);
  if (rest >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and more
  if (rest < 0x38800000u) {
    // Below 2^-14: a multiple of 2^-24, which adding 1/2 rounds to.
    float magic;
    __builtin_memcpy(&magic, &rest, 4);
    magic += 0.5f;
    uint32_t bits;
    __builtin_memcpy(&bits, &magic, 4);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | ((rest - (112u << 23) + 0xfff + (rest >> 13 & 1)) >> 13));
}

// kLanes halves to p, as float_to_half makes them.
INLINE void store_half(uint16_t* p, VF v) {
#if SIMD_AVX512
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif SIMD_AVX2 && defined(__F16C__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
#else
  for (int i = 0; i < kLanes; i++) p[i] = float_to_half(v[i]);
#endif
}

INLINE uint16_t float_to_bf16(float x) { return static_cast<uint16_t>(to_bf16(splat(x))[0]); }
INLINE float bf16_to_float(uint16_t bits) { return from_bf16(VU{} + bits)[0]; }

}  // namespace bitnet::ISA_NS
