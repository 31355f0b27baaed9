// Matrix products: C(m, n) = sum over k of A(m, k) · B(k, n), for float32, bfloat16 and int8-by-ternary operands in any
// layout. The operations matmul and bit-linear are this loop with operands of their own (gemm-operands.h).
//
// All operands are words of 32 bits (gemm-products.h), so there is one register tile, one blocking, one packing: B is
// packed into panels of kTileColumns columns, word by word; A is read row by row, in place where it can be.
//
//   for each block of columns            (as much of B as is packed at once)
//     for each few stretches of k          (packed together)
//       for each block of kBlockRows rows    (so that C stays in cache while k is run through)
//         for each of the stretches            (A is converted now, where it needs to be)
//           for each tile of C                   kTileRows rows by one panel
//
// While tiles are multiplied, what the next stretch will read is fetched from memory: packing would wait for it, which
// costs up to a quarter where the product runs over many rows (dYᵀ · X).
//
// Each value of C is summed in an order that depends on the shape and the instruction set alone: results repeat from
// run to run, and are the same for every number of threads.
#pragma once
#include "gemm-products.h"

namespace bitnet::ISA_NS {

// The register tile: 24 sums, 3 vectors of B and 1 of A of 32 registers, or 12, 2 and 1 of 16. WebAssembly in V8 (Node
// 20, 22) spills above 8 sums, and is then half as fast.
#if SIMD_AVX512
constexpr int kTileRows = 8, kTileVectors = 3;
#elif SIMD_AVX2 || SIMD_SSE4
constexpr int kTileRows = 6, kTileVectors = 2;
#elif SIMD_NEON
constexpr int kTileRows = 8, kTileVectors = 2;
#else
constexpr int kTileRows = 4, kTileVectors = 2;
#endif
constexpr size_t kTileColumns = kTileVectors * kLanes;
constexpr size_t kBlockRows = 96;  // a multiple of every kTileRows

// In words; chosen by measurement on Zen 4, whose second cache holds 1 MiB.
constexpr size_t kMostStretch = 1024;          // of k; the largest Product::kStretch
constexpr size_t kPanelStretch = 384;          // of k, where A is packed in panels: k is long there, B passes by once
constexpr size_t kPackedWords = 1u << 20;      // of B, for each thread
constexpr size_t kPackedByCache = 128u << 10;  // of B, where C is small enough to be added to in cache instead
constexpr size_t kSmallC = 256u << 10;         // such a C
constexpr size_t kSetWords = 160u << 10;       // panels of B that stay in cache while all rows of a block pass
constexpr size_t kPackedAWords = kBlockRows * (kMostStretch + 2 * kLanes);
constexpr size_t kLineWords = kBlockRows + kLanes;
// Panels are a cache line further apart than they need: a multiple of 4 KiB would put them all on one set of the cache.
constexpr size_t kPad = 16;
static_assert((kPackedWords + kPackedAWords + kLineWords) * 4 <= kScratchBytes, "no room to pack");
static_assert(Int8Product::kStretch <= kMostStretch && Float32Product::kStretch <= kMostStretch, "no room for A");
static_assert(kMostStretch * kTileColumns + kPad <= kSetWords && kSetWords <= kPackedWords, "one panel must fit");

// ---- where the sums go, stretch by stretch: `first` and `last` say whether this stretch of k is one

// C = sums · scale, or C += sums · scale. C is [M, N] float32 with rows `stride` apart.
struct StoreFloat {
  float* c;
  size_t stride;
  bool accumulate;

  INLINE void fetch(const StoreFloat& to, size_t row, size_t column) {
    float* c = to.c + row * to.stride + column;
    UNROLL for (int j = 0; j < kTileVectors; j++) __builtin_prefetch(c + j * kLanes, 1, 3);
  }
  // `count` lanes (kLanes, or fewer at C's right edge) of C's row from `column` on.
  template <bool kWhole>
  INLINE void put(const StoreFloat& to, size_t row, size_t column, size_t count, VF sums, float scale, bool first, bool) {
    float* c = to.c + row * to.stride + column;
    const VF v = sums * splat(scale);
    if (to.accumulate || !first) {
      kWhole ? store(c, load(c) + v) : store_part(c, load_part(c, count) + v, count);
    } else {
      kWhole ? store(c, v) : store_part(c, v, count);
    }
  }
};

// Y = (sums - row sum of A) · (row scale · scale). Between stretches of k, Y holds the int32 sums.
struct StoreDequantised {
  float* y;
  size_t stride;
  const int32_t* row_sums;
  const float* row_scales;
  const float* residual;  // like y, added to it; or null

  INLINE void fetch(const StoreDequantised& to, size_t row, size_t column) {
    float* y = to.y + row * to.stride + column;
    UNROLL for (int j = 0; j < kTileVectors; j++) __builtin_prefetch(y + j * kLanes, 1, 3);
  }
  template <bool kWhole>
  INLINE void put(const StoreDequantised& to, size_t row, size_t column, size_t count, VI sums, float scale, bool first,
                  bool last) {
    float* y = to.y + row * to.stride + column;
    if (!first) sums += (VI)(kWhole ? load(y) : load_part(y, count));
    const VF times = splat(to.row_scales[row] * scale);
    VF v = last ? to_float(sums - splat(to.row_sums[row])) * times : (VF)sums;
    if (last && to.residual) {
      const float* r = to.residual + row * to.stride + column;
      v += kWhole ? load(r) : load_part(r, count);
    }
    kWhole ? store(y, v) : store_part(y, v, count);
  }
};

// C (+)= (sums - row sum of A) · row scale, stretch by stretch of k: the row sum is of all of k, and goes off the first.
struct StoreRowScaled {
  float* c;
  size_t stride;
  const int32_t* row_sums;
  const float* row_scales;
  bool accumulate;

  INLINE void fetch(const StoreRowScaled& to, size_t row, size_t column) {
    float* c = to.c + row * to.stride + column;
    UNROLL for (int j = 0; j < kTileVectors; j++) __builtin_prefetch(c + j * kLanes, 1, 3);
  }
  template <bool kWhole>
  INLINE void put(const StoreRowScaled& to, size_t row, size_t column, size_t count, VI sums, float, bool first, bool) {
    float* c = to.c + row * to.stride + column;
    if (first) sums -= splat(to.row_sums[row]);
    VF v = to_float(sums) * splat(to.row_scales[row]);
    if (to.accumulate || !first) v += kWhole ? load(c) : load_part(c, count);
    kWhole ? store(c, v) : store_part(c, v, count);
  }
};

// C (+)= (sums - kOffset · sum of A's row) · scale of A's row, where each term (a block of k) has sums and scales of its own.
struct BlockScale {
  const float* scales;
  const int32_t* sums;
};
struct StoreBlockScaled {
  float* c;
  size_t stride;
  bool accumulate;

  INLINE void fetch(const StoreBlockScaled& to, size_t row, size_t column) {
    float* c = to.c + row * to.stride + column;
    UNROLL for (int j = 0; j < kTileVectors; j++) __builtin_prefetch(c + j * kLanes, 1, 3);
  }
  template <bool kWhole>
  INLINE void put(const StoreBlockScaled& to, size_t row, size_t column, size_t count, VI sums, BlockScale scale,
                  bool first, bool) {
    float* c = to.c + row * to.stride + column;
    if (kOffset) sums -= splat(scale.sums[row] * kOffset);
    VF v = to_float(sums) * splat(scale.scales[row]);
    if (to.accumulate || !first) v += kWhole ? load(c) : load_part(c, count);
    kWhole ? store(c, v) : store_part(c, v, count);
  }
};

// An Out may want whole blocks: kBlockColumns columns, or multiples, which no thread or set of panels cuts; at most
// kMostColumns of them and kBlockRows rows, of which it is told by `done` behind the last of their sums, while they are in
// cache.
template <class...>
using Void = void;
template <class Out, class = void>
struct Blocks {
  static constexpr size_t kColumns = kTileColumns, kMostColumns = ~size_t{0};
  INLINE void done(const Out&, Range, Range) {}
};
template <class Out>
struct Blocks<Out, Void<decltype(Out::kBlockColumns)>> {
  static constexpr size_t kColumns = Out::kBlockColumns, kMostColumns = Out::kMostColumns;
  INLINE void done(const Out& out, Range rows, Range columns) { Out::done(out, rows, columns); }
};

// ---- fetching ahead: what the next stretch packs comes from memory while this one is multiplied

// A block of memory: `rows` pieces of `bytes` bytes, `stride` bytes apart.
struct Block {
  const void* start;
  size_t stride, rows, bytes;
};

// Lines to fetch during one tile: `count` of them, `step` bytes apart.
struct Ahead {
  const uint8_t* p;
  size_t step, count;
};

// Deals a block's cache lines out to tiles.
struct Fetcher {
  static constexpr size_t kLine = 64;
  Block block;
  size_t row, offset, for_each_tile;

  INLINE Fetcher over(const Block& block, size_t tiles) {
    const size_t lines = block.rows * ((block.bytes + kLine - 1) / kLine);
    return {block, 0, 0, (lines + tiles - 1) / max(tiles, size_t{1})};
  }
  INLINE Ahead next(Fetcher& f) {
    if (f.offset >= f.block.bytes) return {nullptr, 0, 0};
    const uint8_t* p = static_cast<const uint8_t*>(f.block.start) + f.row * f.block.stride + f.offset;
    const size_t count = min(f.for_each_tile, f.block.rows - f.row);
    f.row += count;
    if (f.row == f.block.rows) f.row = 0, f.offset += kLine;
    return {p, f.block.stride, count};
  }
};

// ---- the register tile

// Rows of A: row i, word w is at base + i * stride + 4 w; or, in panels of kTileRows rows that are `stride` bytes apart,
// at base + 4 (w * kTileRows + i).
struct RowsOfA {
  const uint8_t* base;
  size_t stride;
};

// A tile that reaches over C's right edge.
template <int kRows, int kVectors, class Out, class Sum, class Scale>
static __attribute__((noinline)) void put_edge(const Out& out, size_t row, size_t column, size_t columns,
                                               const Sum (&sums)[kRows][kVectors], Scale scale, bool first, bool last) {
  for (size_t i = 0; i < kRows; i++) {
    for (size_t j = 0; j * kLanes < columns; j++)
      Out::template put<false>(out, row + i, column + j * kLanes, min(columns - j * kLanes, size_t{kLanes}), sums[i][j],
                               scale, first, last);
  }
}

#if SIMD_WASM
// V8 unrolls the loop over k, which is worth a quarter, only where it stands inside other loops.
#define TILE INLINE
#else
#define TILE static __attribute__((noinline))
#endif
template <class Product, int kRows, int kVectors, bool kPanels, class Out, class Scale>
TILE void tile(const Out& out, RowsOfA a, const int32_t* b, size_t words, size_t row, size_t column, size_t columns,
               Scale scale, bool first, bool last, [[maybe_unused]] Ahead ahead_a, [[maybe_unused]] Ahead ahead_b) {
  UNROLL for (int i = 0; i < kRows; i++) Out::fetch(out, row + static_cast<size_t>(i), column);
  typename Product::Sum sums[kRows][kVectors];
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int j = 0; j < kVectors; j++) sums[i][j] = typename Product::Sum{};
  }
  const uint8_t* p = a.base;
  // One word of k: each of the tile's sums gets its product.
  auto step = [&](auto& to, auto add) __attribute__((always_inline)) {
    VI bs[kVectors];
    UNROLL for (int j = 0; j < kVectors; j++) bs[j] = load(b + j * kLanes);
    UNROLL for (int i = 0; i < kRows; i++) {
      const VI value = splat(load_word(kPanels ? p + 4 * i : p + static_cast<size_t>(i) * a.stride));
      UNROLL for (int j = 0; j < kVectors; j++) add(to[i][j], value, bs[j]);
    }
    p += kPanels ? 4 * kTileRows : 4;
    b += kTileColumns;
  };
#if SIMD_SHORT_SUMS
  if constexpr (Product::kShortWords > 0) {
    for (size_t w = 0; w < words; w += Product::kShortWords) {
      VI shorts[kRows][kVectors];
      UNROLL for (int i = 0; i < kRows; i++) {
        UNROLL for (int j = 0; j < kVectors; j++) shorts[i][j] = VI{};
      }
      for (size_t end = min(w + Product::kShortWords, words), at = w; at < end; at++)
        step(shorts, [](VI& sum, VI x, VI y) __attribute__((always_inline)) { Product::add_short(sum, x, y); });
      UNROLL for (int i = 0; i < kRows; i++) {
        UNROLL for (int j = 0; j < kVectors; j++) sums[i][j] += Product::widen(shorts[i][j]);
      }
    }
  } else
#endif
    for (size_t w = 0; w < words; w++) {
      step(sums, [](typename Product::Sum& sum, VI x, VI y) __attribute__((always_inline)) { Product::add(sum, x, y); });
#if !SIMD_WASM
      if (w < ahead_a.count) __builtin_prefetch(ahead_a.p, 0, 2), ahead_a.p += ahead_a.step;
      if (w < ahead_b.count) __builtin_prefetch(ahead_b.p, 0, 2), ahead_b.p += ahead_b.step;
#endif
    }
  if (columns == kVectors * kLanes) {
    UNROLL for (int i = 0; i < kRows; i++) {
      UNROLL for (int j = 0; j < kVectors; j++)
        Out::template put<true>(out, row + static_cast<size_t>(i), column + static_cast<size_t>(j) * kLanes, kLanes,
                                sums[i][j], scale, first, last);
    }
  } else {
    typename Product::Sum kept[kRows][kVectors];
    UNROLL for (int i = 0; i < kRows; i++) {
      UNROLL for (int j = 0; j < kVectors; j++) kept[i][j] = sums[i][j];
    }
    put_edge<kRows, kVectors>(out, row, column, columns, kept, scale, first, last);
  }
}

// A tile of as many rows as there are, kTileRows at most. One at C's right edge leaves out the vectors that are not there,
// where tiles are so wide that those would be much of the work.
template <class Product, bool kPanels, int kRows = kTileRows, class Out, class... Rest>
INLINE void tile_of_rows(size_t rows, const Out& out, RowsOfA a, const int32_t* b, size_t words, size_t row, size_t column,
                         size_t columns, Rest... rest) {
  if (rows < kRows) {
    if constexpr (kRows > 1)
      tile_of_rows<Product, kPanels, kRows - 1>(rows, out, a, b, words, row, column, columns, rest...);
    return;
  }
#if SIMD_AVX512 || SIMD_AVX2
  if constexpr (kRows == kTileRows) {
    if (columns <= kLanes)
      return tile<Product, kRows, 1, kPanels>(out, a, b, words, row, column, columns, rest...);
    if constexpr (kTileVectors > 2) {
      if (columns <= 2 * kLanes)
        return tile<Product, kRows, 2, kPanels>(out, a, b, words, row, column, columns, rest...);
    }
  }
#endif
  tile<Product, kRows, kTileVectors, kPanels>(out, a, b, words, row, column, columns, rest...);
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
// Every thread of a row of the grid reads the same rows of A, of a column the same columns of B; reading a byte of them
// takes about as long as kByte multiplications.
template <class A, class B, size_t kColumns>
INLINE Share share(const Call& call, size_t m, size_t n) {
  constexpr double kByte = 5;
  size_t threads = static_cast<size_t>(call.threads), thread = static_cast<size_t>(call.thread), best = 1;
  double least = 0;
  for (size_t down = 1; down <= threads; down++) {
    if (threads % down) continue;
    size_t across = threads / down;
    size_t row_blocks = (m + kTileRows - 1) / kTileRows, column_blocks = (n + kColumns - 1) / kColumns;
    double rows = static_cast<double>((row_blocks + down - 1) / down * kTileRows);
    double columns = static_cast<double>((column_blocks + across - 1) / across * kColumns);
    double cost = rows * columns + kByte * (A::kBytes * rows + B::kBytes * columns);
    if (down == 1 || cost < least) least = cost, best = down;
  }
  size_t across = threads / best;
  return {part(m, kTileRows, thread / across, best), part(n, kColumns, thread % across, across)};
}

// ---- the loop

// One term of C = sum of A_t · B_t · scale_t: the same rows and columns, and a k of its own.
template <class A, class B, class Scale = float>
struct Term {
  A a;
  B b;
  size_t k;
  Scale scale;
};

// A stretch of k within one term. The list of all of them is walked without being written down.
struct Stretch {
  int term;
  size_t k, count, words;
};

template <class Product, class A, class B, class Scale>
struct Stretches {
  const Term<A, B, Scale>* terms;
  int term_count;

  Stretch at(int term, size_t k) const {
    if (term == term_count) return {term, 0, 0, 0};
    constexpr size_t kGroup = Product::kGroup, most = A::kPanels ? kPanelStretch : Product::kStretch;
    const size_t all = (terms[term].k + kGroup - 1) / kGroup, pieces = (all + most - 1) / most;
    const size_t words = min((all + pieces - 1) / pieces, all - k / kGroup);
    return {term, k, min(words * kGroup, terms[term].k - k), words};
  }
  Stretch after(const Stretch& s) const {
    return s.k + s.count < terms[s.term].k ? at(s.term, s.k + s.count) : at(s.term + 1, 0);
  }
  bool ended(const Stretch& s) const { return s.term == term_count; }
  bool last(const Stretch& s) const { return ended(after(s)); }
};

INLINE size_t panel_stride(const Stretch& s) { return s.words * kTileColumns + kPad; }
INLINE bool same(const Stretch& a, const Stretch& b) { return a.term == b.term && a.k == b.k; }

// Computes this thread's share of C. A has kPanels, kBytes (of one value), rows(row, rows, k, count, scratch, line),
// which gives RowsOfA, and block(row, rows, k, count), the memory that `rows` will read; B has kBytes, pack(panels,
// stride, column, columns, k, count), which fills panels `stride` words apart, block(column, columns, k, count), and kRoom,
// words that are packed at once: kPackedWords, so that A is read seldom; or kSetWords, so that what is packed never leaves
// the second cache, where A is short and stays in the third.
template <class Product, class A, class B, class Scale, class Out>
static void gemm(const Call& call, size_t m, size_t n, const Term<A, B, Scale>* terms, int term_count, const Out& out) {
  constexpr size_t kColumns = Blocks<Out>::kColumns, kBlockPanels = kColumns / kTileColumns;
  static_assert(kColumns % kTileColumns == 0 && kBlockPanels * kMostStretch * kTileColumns + kPad <= B::kRoom &&
                B::kRoom <= kPackedWords);
  const Share mine = share<A, B, kColumns>(call, m, n);
  const size_t row_begin = mine.rows.begin, row_end = mine.rows.end;
  if (row_begin == row_end || mine.columns.begin == mine.columns.end) return;
  int32_t* const packed = call.scratch<int32_t>();
  int32_t* const packed_a = packed + kPackedWords;
  int32_t* const line = packed_a + kPackedAWords;
  const Stretches<Product, A, B, Scale> all{terms, term_count};
  auto tiles_down = [](size_t rows) { return (rows + kTileRows - 1) / kTileRows; };

  size_t longest = 0;
  for (int t = 0; t < term_count; t++) longest = max(longest, panel_stride(all.at(t, 0)));
  const size_t most_columns = max(B::kRoom / longest / kBlockPanels, size_t{1}) * kColumns;

  for (size_t n0 = mine.columns.begin; n0 < mine.columns.end; n0 += most_columns) {
    const size_t n1 = min(n0 + most_columns, mine.columns.end);
    const size_t panels = (n1 - n0 + kTileColumns - 1) / kTileColumns;
    const bool small = (row_end - row_begin) * (n1 - n0) <= kSmallC;
    for (Stretch from = all.at(0, 0), to; !all.ended(from); from = to) {
      // Pack B for as many stretches as there is room: one at least.
      size_t room = small ? max(kPackedByCache, panels * panel_stride(from)) : max(B::kRoom, panels * panel_stride(from)), tiles = 0;
      int32_t* next = packed;
      for (to = from; !all.ended(to) && panels * panel_stride(to) <= room; to = all.after(to)) {
        terms[to.term].b.pack(next, panel_stride(to), n0, n1 - n0, to.k, to.count);
        next += panels * panel_stride(to);
        room -= panels * panel_stride(to);
        tiles += panels * tiles_down(row_end - row_begin);
      }
      Fetcher fetch_b{};
      if (!all.ended(to)) {
        fetch_b = Fetcher::over(terms[to.term].b.block(n0, n1 - n0, to.k, to.count), tiles);
      } else if (n1 < mine.columns.end) {
        const size_t coming = min(most_columns, mine.columns.end - n1);
        fetch_b = Fetcher::over(terms[0].b.block(n1, coming, 0, all.at(0, 0).count), tiles);
      }

      for (size_t m0 = row_begin; m0 < row_end; m0 += kBlockRows) {
        const size_t m1 = min(m0 + kBlockRows, row_end);
        const int32_t* b = packed;
        for (Stretch s = from; !same(s, to); s = all.after(s)) {
          const RowsOfA a = terms[s.term].a.rows(m0, m1 - m0, s.k, s.count, packed_a, line);
          const bool first = s.term == 0 && s.k == 0, last = all.last(s);

          // What `rows` will read next: these rows of the next stretch, or the next rows, or the next few stretches.
          Stretch coming = all.after(s);
          size_t coming_row = m0;
          if (same(coming, to)) {
            coming_row = m1 < row_end ? m1 : row_begin;
            if (m1 < row_end) coming = from;
          }
          Fetcher fetch_a{};
          if (!all.ended(coming)) {
            const size_t rows = min(kBlockRows, row_end - coming_row);
            fetch_a = Fetcher::over(terms[coming.term].a.block(coming_row, rows, coming.k, coming.count),
                                    panels * tiles_down(m1 - m0));
          }

          // Rows outside, so that C is written along its rows, as far as the panels stay in cache. A in panels comes
          // with a B that does not: one panel, then, and all rows.
          const size_t set = A::kPanels ? 1 : min(max(kSetWords / panel_stride(s) / kBlockPanels, size_t{1}) * kBlockPanels,
                                                  Blocks<Out>::kMostColumns / kColumns * kBlockPanels);
          const size_t tile_stride = A::kPanels ? a.stride : kTileRows * a.stride;
          for (size_t j0 = n0; j0 < n1; j0 += set * kTileColumns) {
            const size_t j1 = min(j0 + set * kTileColumns, n1);
            const int32_t* const set_begin = b;
            const uint8_t* base = a.base;
            for (size_t i = m0; i < m1; i += kTileRows, base += tile_stride) {
              b = set_begin;
              for (size_t j = j0; j < j1; j += kTileColumns, b += panel_stride(s))
                tile_of_rows<Product, A::kPanels>(m1 - i, out, RowsOfA{base, a.stride}, b, s.words, i, j,
                                                  min(kTileColumns, n1 - j), terms[s.term].scale, first, last,
                                                  Fetcher::next(fetch_a), Fetcher::next(fetch_b));
            }
            if (last) Blocks<Out>::done(out, {m0, m1}, {j0, j1});
          }
        }
      }
    }
  }
}

}  // namespace bitnet::ISA_NS
