// Matrix products: C(m, n) = sum over k of A(m, k) · B(k, n), for float32, bfloat16 and int8-by-ternary operands in any
// layout. The operations matmul and bit-linear are this loop with operands of their own (gemm-operands.h).
//
// All three kinds of operand are handled as words of 32 bits: one float32, two bfloat16 or four bytes (two int16 where
// the machine has no byte product) that follow each other along k. So there is one register tile, one blocking, one
// packing: B is packed into panels of kTileColumns columns, word by word; A is read row by row, in place where it can be.
//
//   for each block of columns          (as much of B as fits into kPackedWords, packed once)
//     for each block of kBlockRows rows  (so that C stays in cache while k is run through)
//       for each stretch of k              (kBlockWords at most: a panel of B stays in the second cache)
//         for each panel, each kTileRows rows: the register tile
//
// Sums run along k in one order that depends on the shape, the instruction set and nothing else, save that the split
// over threads may move the edges of tiles; so results repeat from run to run.
#pragma once
#include "simd.h"

namespace bitnet::ISA_NS {

// The register tile. Zen 4 and Intel: 24 sums + 4 of B + 1 of A of 32 registers, or 12 + 2 + 1 of 16. WebAssembly in V8
// (Node 20, 22) spills above 8 sums, and is then half as fast.
#if SIMD_AVX512
constexpr int kTileRows = 6, kTileVectors = 4;
#elif SIMD_AVX2 || SIMD_SSE4
constexpr int kTileRows = 6, kTileVectors = 2;
#elif SIMD_NEON
constexpr int kTileRows = 8, kTileVectors = 2;
#else
constexpr int kTileRows = 4, kTileVectors = 2;
#endif
constexpr size_t kTileColumns = kTileVectors * kLanes;
constexpr size_t kBlockRows = 96;           // a multiple of every kTileRows
constexpr size_t kMostBlockWords = 1024;    // the largest Product::kBlockWords
constexpr size_t kPackedWords = 1u << 20;   // of B, for each thread: 4 MiB
constexpr size_t kPackedAWords = kBlockRows * (kMostBlockWords + 2 * kLanes);
constexpr size_t kLineWords = kBlockRows + kLanes;
static_assert((kPackedWords + kPackedAWords + kLineWords) * 4 <= kScratchBytes, "no room to pack");
static_assert(kMostBlockWords * kTileColumns <= kPackedWords, "one panel must fit");

// ---- the three products: Sum += A word · B word

struct Float32Product {
  typedef VF Sum;
  static constexpr size_t kGroup = 1;  // values of k in a word
  static constexpr size_t kBlockWords = 384;
  INLINE void add(VF& sum, VI a, VI b) { sum = fma((VF)a, (VF)b, sum); }
};

#if SIMD_AVX512 && defined(__AVX512BF16__)
#define SIMD_BF16 1
struct Bfloat16Product {
  typedef VF Sum;
  static constexpr size_t kGroup = 2;
  static constexpr size_t kBlockWords = 384;
  // As assembly: GCC 12 spills the sums when it may choose registers for the intrinsic, and runs at half the speed.
  INLINE void add(VF& sum, VI a, VI b) { asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(b), "v"(a)); }
};
#endif

// A is int8, B is 0, 1 or 2 (a ternary weight plus one): no step below can overflow, on any machine.
struct Int8Product {
  typedef VI Sum;
  static constexpr size_t kBlockWords = kMostBlockWords;
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

// ---- where the sums go. `first` and `last` stretch of k: see put.

// C = sums · scale, or C += sums · scale. C is [M, N] float32 with rows `stride` apart.
struct StoreFloat {
  float* c;
  size_t stride;
  bool accumulate;

  // A row of one tile: `columns` of the vectors' lanes, at C(row, column).
  template <int kVectors>
  INLINE void put(const StoreFloat& to, size_t row, size_t column, size_t columns, const VF* sums, float scale,
                  bool first, bool) {
    float* c = to.c + row * to.stride + column;
    const bool add = to.accumulate || !first;
    UNROLL for (int j = 0; j < kVectors; j++) {
      const size_t done = static_cast<size_t>(j) * kLanes;
      if (done + kLanes <= columns) {
        VF v = sums[j] * splat(scale);
        store(c + done, add ? load(c + done) + v : v);
      } else if (done < columns) {
        VF v = sums[j] * splat(scale);
        store_part(c + done, add ? load_part(c + done, columns - done) + v : v, columns - done);
      }
    }
  }
};

// Y = (sums - row sum of A) · (row scale · scale). Between stretches of k, Y holds the int32 sums.
struct StoreDequantised {
  float* y;
  size_t stride;
  const int32_t* row_sums;
  const float* row_scales;

  template <int kVectors>
  INLINE void put(const StoreDequantised& to, size_t row, size_t column, size_t columns, const VI* sums, float scale,
                  bool first, bool last) {
    float* y = to.y + row * to.stride + column;
    const VI less = splat(to.row_sums[row]);
    const VF times = splat(to.row_scales[row] * scale);
    UNROLL for (int j = 0; j < kVectors; j++) {
      const size_t done = static_cast<size_t>(j) * kLanes;
      if (done + kLanes <= columns) {
        VI s = first ? sums[j] : sums[j] + (VI)load(y + done);
        store(y + done, last ? to_float(s - less) * times : (VF)s);
      } else if (done < columns) {
        const size_t n = columns - done;
        VI s = first ? sums[j] : sums[j] + (VI)load_part(y + done, n);
        store_part(y + done, last ? to_float(s - less) * times : (VF)s, n);
      }
    }
  }
};

// ---- the register tile

// Rows of A: row i, word w is at base + i * stride + 4 w; or, in panels, at base + 4 (w * kTileRows + i).
struct RowsOfA {
  const uint8_t* base;
  size_t stride;
};

template <class Product, int kRows, bool kPanels, class Out>
static __attribute__((noinline)) void tile(const Out& out, RowsOfA a, const int32_t* b, size_t words, size_t row,
                                           size_t column, size_t columns, float scale, bool first, bool last) {
  typename Product::Sum sums[kRows][kTileVectors];
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int j = 0; j < kTileVectors; j++) sums[i][j] = typename Product::Sum{};
  }
  const uint8_t* p = a.base;
  for (size_t w = 0; w < words; w++) {
    VI bs[kTileVectors];
    UNROLL for (int j = 0; j < kTileVectors; j++) bs[j] = load(b + j * kLanes);
    UNROLL for (int i = 0; i < kRows; i++) {
      const VI value = splat(load_word(kPanels ? p + 4 * i : p + i * a.stride));
      UNROLL for (int j = 0; j < kTileVectors; j++) Product::add(sums[i][j], value, bs[j]);
    }
    p += kPanels ? 4 * kTileRows : 4;
    b += kTileColumns;
  }
  UNROLL for (int i = 0; i < kRows; i++) {
    Out::template put<kTileVectors>(out, row + static_cast<size_t>(i), column, columns, sums[i], scale, first, last);
  }
}

template <class Product, bool kPanels, int kRows = kTileRows, class Out, class... Rest>
INLINE void tile_of_rows(size_t rows, const Out& out, RowsOfA a, Rest... rest) {
  if (rows >= kRows) return tile<Product, kRows, kPanels>(out, a, rest...);
  if constexpr (kRows > 1) tile_of_rows<Product, kPanels, kRows - 1>(rows, out, a, rest...);
}

// ---- sharing the work

struct Share {
  Range rows, columns;
};

INLINE Range part(size_t n, size_t grain, size_t index, size_t parts) {
  size_t blocks = (n + grain - 1) / grain;
  return {min(blocks * index / parts * grain, n), min(blocks * (index + 1) / parts * grain, n)};
}

// This thread's rectangle of C: threads form a grid of rows by columns, the one whose busiest thread has least to do.
// Rows are packed by every thread of their row of the grid, columns likewise; packing one value of A or B takes about
// as long as kPack multiplications.
INLINE Share share(const Call& call, size_t m, size_t n) {
  constexpr double kPack = 24;
  size_t threads = static_cast<size_t>(call.threads), thread = static_cast<size_t>(call.thread), best = 1;
  double least = 0;
  for (size_t down = 1; down <= threads; down++) {
    if (threads % down) continue;
    size_t across = threads / down;
    size_t row_blocks = (m + kTileRows - 1) / kTileRows, column_blocks = (n + kTileColumns - 1) / kTileColumns;
    double rows = static_cast<double>((row_blocks + down - 1) / down * kTileRows);
    double columns = static_cast<double>((column_blocks + across - 1) / across * kTileColumns);
    double cost = rows * columns + kPack * (rows + columns);
    if (down == 1 || cost < least) least = cost, best = down;
  }
  size_t across = threads / best;
  return {part(m, kTileRows, thread / across, best), part(n, kTileColumns, thread % across, across)};
}

// ---- the loop

// One term of C = sum of A_t · B_t · scale_t: the same rows and columns, and a k of its own.
template <class A, class B>
struct Term {
  A a;
  B b;
  size_t k;
  float scale;
};

// Computes this thread's share. A gives `kPanels` and rows(row, rows, k, count, scratch, line) -> RowsOfA; B gives
// pack(panel, column, columns, k, count).
template <class Product, class A, class B, class Out>
static void gemm(const Call& call, size_t m, size_t n, const Term<A, B>* terms, int term_count, const Out& out) {
  const Share mine = share(call, m, n);
  if (mine.rows.begin == mine.rows.end || mine.columns.begin == mine.columns.end) return;
  int32_t* const packed = call.scratch<int32_t>();
  int32_t* const packed_a = packed + kPackedWords;
  int32_t* const line = packed_a + kPackedAWords;
  constexpr size_t kGroup = Product::kGroup;

  // A stretch of k within one term.
  struct Stretch {
    int term;
    size_t k, count, words;
    bool first, last;
  };
  auto stretch_at = [&](int term, size_t k) {
    const size_t all = (terms[term].k + kGroup - 1) / kGroup;
    const size_t pieces = (all + Product::kBlockWords - 1) / Product::kBlockWords;
    const size_t words = min((all + pieces - 1) / pieces, all - k / kGroup);
    const size_t count = min(words * kGroup, terms[term].k - k);
    return Stretch{term, k, count, words, term == 0 && k == 0, term + 1 == term_count && k + count == terms[term].k};
  };
  auto after = [&](const Stretch& s) {
    return s.k + s.count < terms[s.term].k ? stretch_at(s.term, s.k + s.count)
           : s.term + 1 < term_count       ? stretch_at(s.term + 1, 0)
                                           : Stretch{term_count, 0, 0, 0, false, false};
  };

  size_t most_words = 0;
  for (int t = 0; t < term_count; t++) most_words = max(most_words, stretch_at(t, 0).words);
  const size_t most_columns = max(kPackedWords / max(most_words, size_t{1}) / kTileColumns, size_t{1}) * kTileColumns;

  for (size_t n0 = mine.columns.begin; n0 < mine.columns.end; n0 += most_columns) {
    const size_t n1 = min(n0 + most_columns, mine.columns.end);
    const size_t wide = (n1 - n0 + kTileColumns - 1) / kTileColumns * kTileColumns;
    for (Stretch from = stretch_at(0, 0), to; from.term < term_count; from = to) {
      // Pack B for as many stretches as there is room.
      size_t room = kPackedWords;
      int32_t* panel = packed;
      for (to = from; to.term < term_count && to.words * wide <= room; to = after(to)) {
        for (size_t j = n0; j < n1; j += kTileColumns, panel += to.words * kTileColumns)
          terms[to.term].b.pack(panel, j, min(kTileColumns, n1 - j), to.k, to.count);
        room -= to.words * wide;
      }
      for (size_t m0 = mine.rows.begin; m0 < mine.rows.end; m0 += kBlockRows) {
        const size_t m1 = min(m0 + kBlockRows, mine.rows.end);
        const int32_t* b = packed;
        for (Stretch s = from; s.term != to.term || s.k != to.k; s = after(s)) {
          const Term<A, B>& term = terms[s.term];
          const RowsOfA a = term.a.rows(m0, m1 - m0, s.k, s.count, packed_a, line);
          const size_t tile_stride = A::kPanels ? 4 * kTileRows * s.words : kTileRows * a.stride;
          for (size_t j = n0; j < n1; j += kTileColumns, b += s.words * kTileColumns) {
            const uint8_t* base = a.base;
            for (size_t i = m0; i < m1; i += kTileRows, base += tile_stride)
              tile_of_rows<Product, A::kPanels>(m1 - i, out, RowsOfA{base, a.stride}, b, s.words, i, j,
                                                min(kTileColumns, n1 - j), term.scale, s.first, s.last);
          }
        }
      }
    }
  }
}

}  // namespace bitnet::ISA_NS
