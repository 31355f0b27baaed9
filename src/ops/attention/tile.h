// Small matrix products over tiles that lie in the cache, and how tiles are laid out there. Every tile's rows are padded
// with zeros to whole vectors, and its count of rows to whole groups of kGroup, so that no product has a remainder.
#pragma once
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

// Register blocking: kGroup rows by kWide vectors of accumulators.
#if SIMD_AVX512
constexpr size_t kGroup = 8, kWide = 3;  // 24 of 32 registers
#elif SIMD_AVX2
constexpr size_t kGroup = 6, kWide = 2;  // 12 of 16
#else
constexpr size_t kGroup = 4, kWide = 2;  // 8: more would spill in WASM engines
#endif
constexpr size_t kVector = kLanes;
constexpr size_t kPanel = 2 * kVector;  // keys across a panel of transposed keys

constexpr size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }
constexpr size_t round_down(size_t n, size_t unit) { return n / unit * unit; }

// Keeps GCC from computing every row's address ahead of the loop: there are more of them than registers.
template <class T>
INLINE T* opaque(T* p) {
  asm("" : "+r"(p));
  return p;
}

// What a 32-bit word of an operand is: one float32, or two bfloat16 that follow each other along the depth of the
// product (k and k + 1, the first in the lower half). Tiles of either are addressed as floats.
struct Singles {
  static constexpr size_t kGroup = 1;
  INLINE void add(VF& sum, VF a, VF b) { sum = fma(a, b, sum); }
};
#if SIMD_AVX512 && defined(__AVX512BF16__)
#define ATTENTION_PAIRS 1
struct Pairs {
  static constexpr size_t kGroup = 2;
  // As assembly: GCC 12 spills the sums when it may choose registers for the intrinsic.
  INLINE void add(VF& sum, VF a, VF b) { asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(b), "v"(a)); }
};
#endif

#if ATTENTION_PAIRS
// kVector values as bfloat16, in half as many words.
INLINE void store_bf16(float* p, VF v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), (__m256i)_mm512_cvtneps_pbh((__m512)v));
}
#endif

// c[i][j] = sum over words k < depth of a(i, k) * b[k][j] (plus c[i][j] if `add`), for `rows` rows and `vectors` vectors
// of j. a(i, k) is a[i * a_row + k * a_step]: a tile as it lies, or transposed.
// Never inlined: what else lives in registers around it would push the sums out of them.
template <size_t rows, size_t vectors, class Word>
static __attribute__((noinline)) void multiply_block(size_t depth, const float* a, size_t a_row, size_t a_step,
                                                     const float* b, size_t b_step, float* c, size_t c_row, bool add) {
  VF sums[rows][vectors];
  if (add) {
    const float* from = c;
    UNROLL for (size_t i = 0; i < rows; i++, from = opaque(from + c_row)) {
      UNROLL for (size_t j = 0; j < vectors; j++) sums[i][j] = load(from + j * kVector);
    }
  } else {
    UNROLL for (size_t i = 0; i < rows; i++) {
      UNROLL for (size_t j = 0; j < vectors; j++) sums[i][j] = VF{};
    }
  }
  for (size_t k = 0; k < depth; k++, a += a_step, b += b_step) {
    VF right[vectors];
    UNROLL for (size_t j = 0; j < vectors; j++) right[j] = load(b + j * kVector);
    UNROLL for (size_t i = 0; i < rows; i++) {
      const VF left = splat(a[i * a_row]);
      UNROLL for (size_t j = 0; j < vectors; j++) Word::add(sums[i][j], left, right[j]);
    }
  }
  UNROLL for (size_t i = 0; i < rows; i++, c = opaque(c + c_row)) {
    UNROLL for (size_t j = 0; j < vectors; j++) store(c + j * kVector, sums[i][j]);
  }
}

// The same for any whole number of vectors.
template <size_t rows, class Word = Singles>
static void multiply(size_t vectors, size_t depth, const float* a, size_t a_row, size_t a_step, const float* b,
                     size_t b_step, float* c, size_t c_row, bool add) {
  while (vectors > 0) {
    // Four are two and two, not three and one.
    const size_t n = vectors == kWide + 1 && kWide > 2 ? 2 : min(vectors, kWide);
    if (n == 3) multiply_block<rows, kWide, Word>(depth, a, a_row, a_step, b, b_step, c, c_row, add);
    else if (n == 2) multiply_block<rows, 2, Word>(depth, a, a_row, a_step, b, b_step, c, c_row, add);
    else multiply_block<rows, 1, Word>(depth, a, a_row, a_step, b, b_step, c, c_row, add);
    b += n * kVector;
    c += n * kVector;
    vectors -= n;
  }
}

// One group of rows against the first `columns` of a transposed panel (more of it may be computed).
template <class Word = Singles>
INLINE void multiply_panel(size_t columns, size_t depth, const float* a, size_t a_row, const float* panel, float* c,
                           size_t c_row) {
  if (columns > kVector) multiply_block<kGroup, 2, Word>(depth, a, a_row, 1, panel, kPanel, c, c_row, false);
  else multiply_block<kGroup, 1, Word>(depth, a, a_row, 1, panel, kPanel, c, c_row, false);
}

// to[i] = from[i] * scale for `rows` rows of `width` floats, padded with zeros to `padded` floats and `padded_rows` rows.
static void copy_rows(const float* from, size_t from_row, size_t rows, size_t width, float scale, float* to, size_t padded,
                      size_t padded_rows) {
  const VF factor = splat(scale);
  for (size_t i = 0; i < padded_rows; i++, to += padded) {
    size_t d = 0;
    if (i < rows) {
      for (; d + kVector <= width; d += kVector) store(to + d, load(from + d) * factor);
      if (d < width) {
        store(to + d, load_part(from + d, width - d) * factor);
        d += kVector;
      }
      from += from_row;
    }
    for (; d < padded; d += kVector) store(to + d, VF{});
  }
}

#if ATTENTION_PAIRS
// The same rows as bfloat16: each row in half as many words, pairs along the row.
static void copy_rows_paired(const float* from, size_t from_row, size_t rows, size_t width, float* to, size_t padded,
                             size_t padded_rows) {
  for (size_t i = 0; i < padded_rows; i++, from += from_row) {
    for (size_t d = 0; d < padded; d += kVector) {
      const size_t n = i < rows && d < width ? min(kVector, width - d) : 0;
      store_bf16(to + i * padded / 2 + d / 2, n ? load_part(from + d, n) : VF{});
    }
  }
}

// Pairs across rows: word d of row i holds from[2 i][d] and from[2 i + 1][d], times `scale`; zeros beyond `rows`.
static void interleave_rows(const float* from, size_t from_row, size_t rows, size_t width, float scale, float* to,
                            size_t padded) {
  const VF factor = splat(scale);
  for (size_t i = 0; i < rows; i += 2, to += padded) {
    const float *first = from + i * from_row, *second = first + from_row;
    for (size_t d = 0; d < padded; d += kVector) {
      const size_t n = d < width ? min(kVector, width - d) : 0;
      const VF a = n ? load_part(first + d, n) : VF{}, b = n && i + 1 < rows ? load_part(second + d, n) : VF{};
      store(to + d, (VF)pair_bf16(a * factor, b * factor));
    }
  }
}
#endif

typedef float V4 __attribute__((vector_size(16)));
typedef float V4Memory __attribute__((vector_size(16), aligned(1), may_alias));
INLINE V4 load4(const float* p) { return *reinterpret_cast<const V4Memory*>(p); }
INLINE void store4(float* p, V4 v) { *reinterpret_cast<V4Memory*>(p) = v; }
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE4(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE4(a, b, i, j, k, l) __builtin_shuffle(a, b, VI4{i, j, k, l})
typedef int32_t VI4 __attribute__((vector_size(16)));
#endif

INLINE void transpose4(V4& a, V4& b, V4& c, V4& d) {
  const V4 ab = SHUFFLE4(a, b, 0, 4, 1, 5), ab2 = SHUFFLE4(a, b, 2, 6, 3, 7);
  const V4 cd = SHUFFLE4(c, d, 0, 4, 1, 5), cd2 = SHUFFLE4(c, d, 2, 6, 3, 7);
  a = SHUFFLE4(ab, cd, 0, 1, 4, 5);
  b = SHUFFLE4(ab, cd, 2, 3, 6, 7);
  c = SHUFFLE4(ab2, cd2, 0, 1, 4, 5);
  d = SHUFFLE4(ab2, cd2, 2, 3, 6, 7);
}

// The sums, or the largest, of the lanes of four vectors. No NaN among those of which the largest is wanted.
template <class Join>
INLINE V4 join_lanes(const VF* v, Join join) {
  float lanes[4 * kLanes];
  V4 four[4];
  UNROLL for (int i = 0; i < 4; i++) {
    store(lanes + i * kLanes, v[i]);
    four[i] = load4(lanes + i * kLanes);
    UNROLL for (int part = 1; part < kLanes / 4; part++) four[i] = join(four[i], load4(lanes + i * kLanes + part * 4));
  }
  transpose4(four[0], four[1], four[2], four[3]);
  return join(join(four[0], four[1]), join(four[2], four[3]));
}
INLINE V4 sums_of(const VF* v) {
  return join_lanes(v, [](V4 a, V4 b) { return a + b; });
}
INLINE V4 largest_of(const VF* v) {
  return join_lanes(v, [](V4 a, V4 b) { return a > b ? a : b; });
}

// Asks for the memory of `rows` rows ahead of time, to be written or only read: rows are short and far apart, which no
// hardware foresees.
template <int write = 0>
INLINE void prefetch_rows(const float* from, size_t from_row, size_t rows, size_t width) {
  for (size_t i = 0; i < rows; i++, from += from_row) {
    for (size_t d = 0; d < width; d += 16) __builtin_prefetch(from + d, write);
  }
}

// Panels of kPanel rows, transposed: to[panel][d][row in panel], zeros beyond `rows`.
static void transpose_rows(const float* from, size_t from_row, size_t rows, size_t width, float* to) {
  for (size_t panel = 0; panel < rows; panel += kPanel, to += width * kPanel) {
    const size_t here = min(kPanel, rows - panel);
    if (panel + kPanel < rows)
      prefetch_rows(from + (panel + kPanel) * from_row, from_row, min(kPanel, rows - panel - kPanel), width);
    for (size_t i = 0; i < kPanel; i += 4) {
      const float* p = from + (panel + i) * from_row;
      float* q = to + i;
      size_t d = 0;
      if (i + 4 <= here) {
        for (; d + 4 <= width; d += 4) {
          V4 a = load4(p + d), b = load4(p + from_row + d), c = load4(p + 2 * from_row + d),
             e = load4(p + 3 * from_row + d);
          transpose4(a, b, c, e);
          store4(q + d * kPanel, a);
          store4(q + (d + 1) * kPanel, b);
          store4(q + (d + 2) * kPanel, c);
          store4(q + (d + 3) * kPanel, e);
        }
      }
      for (; d < width; d++) {
        for (size_t r = 0; r < 4; r++) q[d * kPanel + r] = i + r < here ? p[r * from_row + d] : 0;
      }
    }
  }
}

}  // namespace bitnet::ISA_NS
