// Rows of weights as model files hold them, to what the packed engine makes its own of: floats, or ternary codes with the
// scale that a row's blocks agree on. The layouts are those of quant/ (plain, q8-0, q6-k, tq1-0, tq2-0, q2-0, i2-s), which
// the results are held to. Of packed-linear and matrix-linear.
#pragma once
#include "half.h"

namespace bitnet::ISA_NS {

// As `rowSources` in quant/row-sources.ts.
enum RowSource { kFromF32 = 0, kFromF16, kFromBf16, kFromQ8, kFromQ6, kFromTq2, kFromTq1, kFromQ2, kFromI2S, kFromCodes };

typedef uint16_t HalfBits __attribute__((aligned(1), may_alias));
INLINE uint16_t half_at(const uint8_t* p) { return *reinterpret_cast<const HalfBits*>(p); }

INLINE size_t source_row_bytes(int source, size_t k) {
  switch (source) {
    case kFromF32: return 4 * k;
    case kFromF16:
    case kFromBf16: return 2 * k;
    case kFromQ8: return k / 32 * 34;
    case kFromQ6: return k / 256 * 210;
    case kFromTq2: return k / 256 * 66;
    case kFromTq1: return k / 256 * 54;
    case kFromQ2: return k / 64 * 18;
    case kFromI2S: return k / 4;
    default: return k;
  }
}

// k floats of a row of floats; `to` has room for a whole vector more.
INLINE void source_floats(int source, const uint8_t* from, size_t k, float* to) {
  switch (source) {
    case kFromF32: __builtin_memcpy(to, from, 4 * k); return;
    case kFromF16:
    case kFromBf16: {
      size_t i = 0;
      for (; i + kLanes <= k; i += kLanes) {
        const uint16_t* p = reinterpret_cast<const uint16_t*>(from + 2 * i);
        store(to + i, source == kFromF16 ? load_half(p) : load_bf16(p));
      }
      for (; i < k; i++) to[i] = source == kFromF16 ? half_to_float(half_at(from + 2 * i)) : bf16_to_float(half_at(from + 2 * i));
      return;
    }
    case kFromQ8:
      for (size_t b = 0; b < k; b += 32, from += 34) {
        const float d = half_to_float(half_at(from));
        for (size_t i = 0; i < 32; i++) to[b + i] = d * static_cast<float>(static_cast<int8_t>(from[2 + i]));
      }
      return;
    default:  // Q6_K
      for (size_t b = 0; b < k; b += 256, from += 210) {
        const float d = half_to_float(half_at(from + 208));
        for (size_t half = 0; half < 2; half++) {
          const uint8_t *low = from + 64 * half, *high = from + 128 + 32 * half;
          for (size_t quarter = 0; quarter < 4; quarter++) {
            float* out = to + b + 128 * half + 32 * quarter;
            const uint8_t* bits = low + 32 * (quarter & 1);
            const unsigned low_shift = quarter < 2 ? 0 : 4, high_shift = static_cast<unsigned>(2 * quarter);
            for (size_t l = 0; l < 32; l++) {
              const int q = ((bits[l] >> low_shift) & 15) | ((high[l] >> high_shift) & 3) << 4;
              const auto group = static_cast<int8_t>(from[192 + 8 * half + 2 * quarter + l / 16]);
              out[l] = d * static_cast<float>(group) * static_cast<float>(q - 32);
            }
          }
        }
      }
  }
}

// One block's codes, and what they say of the row so far: its scale (0 while all were zero), NaN where blocks do not agree,
// or where a code is 3, which is no ternary weight.
INLINE void judge_block(const uint8_t* codes, size_t count, float d, float* scale) {
  uint8_t set = 0, wrong = 0;
  for (size_t i = 0; i < count; i++) {
    set |= codes[i] ^ 1;
    wrong |= codes[i] & static_cast<uint8_t>(codes[i] >> 1);
  }
  if (set == 0) return;
  const bool sound = (wrong & 1) == 0 && d > 0 && d - d == 0 && (*scale == 0 || *scale == d);
  *scale = sound ? d : __builtin_nanf("");
}

// A row's codes 0, 1, 2, and its scale: NaN where it has not one (then a slower reader says what is wrong). I2_S has its
// scale elsewhere, and so has a row of codes: 1 stands for it. `floats` is room for a row.
INLINE float source_codes(int source, const uint8_t* from, size_t k, uint8_t* codes, float* floats) {
  float scale = 0;
  if (source <= kFromQ6) {
    source_floats(source, from, k, floats);
    for (size_t i = 0; i < k && scale == 0; i++) scale = abs(floats[i]);
    bool sound = scale - scale == 0;
    for (size_t i = 0; i < k; i++) {
      const float x = floats[i];
      sound &= x == 0 || abs(x) == scale;
      codes[i] = static_cast<uint8_t>(1 + (x > 0) - (x < 0));
    }
    return sound ? scale : __builtin_nanf("");
  }
  switch (source) {
    case kFromTq2:
      for (size_t b = 0; b < k; b += 256, from += 66) {
        for (size_t h = 0; h < 2; h++) {
          for (unsigned l = 0; l < 4; l++) {
            for (size_t m = 0; m < 32; m++)
              codes[b + 128 * h + 32 * l + m] = static_cast<uint8_t>(from[32 * h + m] >> (2 * l) & 3);
          }
        }
        judge_block(codes + b, 256, half_to_float(half_at(from + 64)), &scale);
      }
      return scale;
    case kFromTq1:
      for (size_t b = 0; b < k; b += 256, from += 54) {
        auto part = [&](size_t bytes, size_t at, size_t first, size_t trits) __attribute__((always_inline)) {
          for (size_t m = 0; m < bytes; m++) {
            unsigned q = from[at + m];
            for (size_t n = 0; n < trits; n++, q = 3 * q & 255)
              codes[b + first + m + bytes * n] = static_cast<uint8_t>(3 * q >> 8);
          }
        };
        part(32, 0, 0, 5);
        part(16, 32, 160, 5);
        part(4, 48, 240, 4);
        judge_block(codes + b, 256, half_to_float(half_at(from + 52)), &scale);
      }
      return scale;
    case kFromQ2:
      for (size_t b = 0; b < k; b += 64, from += 18) {
        for (unsigned j = 0; j < 64; j++) codes[b + j] = static_cast<uint8_t>(from[2 + j / 4] >> (2 * (j & 3)) & 3);
        judge_block(codes + b, 64, half_to_float(half_at(from)), &scale);
      }
      return scale;
    case kFromI2S:
      for (size_t b = 0; b < k; b += 128, from += 32) {
        for (unsigned g = 0; g < 4; g++) {
          for (size_t p = 0; p < 32; p++) codes[b + 32 * g + p] = static_cast<uint8_t>(from[p] >> (6 - 2 * g) & 3);
        }
        judge_block(codes + b, 128, 1, &scale);
      }
      return scale;
    default:
      __builtin_memcpy(codes, from, k);
      judge_block(codes, k, 1, &scale);
      return scale;
  }
}

}  // namespace bitnet::ISA_NS
