// Packed ternary weights times activations, with the norm and the int8 codes in front and the residual or the gate behind.
// See panel.h for the layout; the definition is in reference.ts.
#include "native/gemm-operands.h"
#include "native/weight-sources.h"
#include "panel.h"

namespace bitnet::ISA_NS {

namespace {

// Behind what gemm.h packs: a block of gates and ups.
constexpr size_t kBlockAt = (kPackedWords + kPackedAWords + kLineWords + 15) / 16 * 16;
static_assert((kBlockAt + kBlockRows * (512 + 16)) * 4 <= kScratchBytes, "no room for a block");
constexpr size_t kFew = 8;  // rows up to which weights are used as they are read, and not unpacked for gemm.h
#if SIMD_AVX512
constexpr int kAtOnce = 8;
#else
constexpr int kAtOnce = 4;  // rows of x: more sums do not fit the registers
#endif

// As `formats` in reference.ts.
enum Format { kTwoBits = 0, kTrits = 1 };

struct Job {
  const float *x, *gain;
  const uint8_t* weights;
  const float* scales;
  float* y;
  size_t m, n, k, blocks;
  double norm_eps;
  float quant_eps, levels;
  int end;

  size_t panel_bytes() const { return blocks * kBlockBytes; }
  size_t panels() const { return (n + kPanelRows - 1) / kPanelRows; }
};

// Rows of x ready to be multiplied, in this thread's own scratch: every thread makes them for itself, which takes a
// microsecond, as meeting the others would.
struct ReadyRows {
  int32_t* words;  // [rows, stride]
  size_t stride;
  float scales[kFew];
  int32_t sums[kFew];
};

template <class Format>
INLINE ReadyRows ready_rows(const Call& call, const Job& job, size_t row, size_t rows) {
  ReadyRows ready;
  const size_t words = job.blocks * Format::kWords;
  // A cache line more, so that rows do not fall on the same cache sets.
  ready.stride = words * kWordBytes / 4 + 16;
  ready.words = call.scratch<int32_t>();
  float* normed = reinterpret_cast<float*>(ready.words + kFew * ready.stride);
  int8_t* codes = reinterpret_cast<int8_t*>(normed + job.k);
  for (size_t i = 0; i < rows; i++) {
    const float* x = normed_row(job.x + (row + i) * job.k, job.gain, job.norm_eps, job.k, normed);
    quantise_row(x, job.k, job.quant_eps, codes, ready.scales + i, ready.sums + i, job.levels);
    prepare_words(codes, job.k, words, ready.words + i * ready.stride);
  }
  return ready;
}

// Rows of x as floats with zeros up to a whole block.
template <class Format>
INLINE size_t ready_floats(const Call& call, const Job& job, size_t row, size_t rows) {
  const size_t stride = job.blocks * Format::kWords * 4 + 16;
  float* to = call.scratch<float>();
  for (size_t i = 0; i < rows; i++, to += stride) {
    const float* x = normed_row(job.x + (row + i) * job.k, job.gain, job.norm_eps, job.k, to);
    if (x != to) {
      for (size_t c = 0; c < job.k; c++) to[c] = x[c];
    }
    for (size_t c = job.k; c < stride; c++) to[c] = 0;
  }
  return stride;
}

// For this thread's panels and rows [first, first + kRows): values(weights, scales, to) gives the products of one vector
// of rows of a panel; they go to their end.
template <int kRows, class Values>
INLINE void each_vector(const Job& job, Range panels, size_t row, Values values) {
  const bool gated = is_gated(job.end);
  for (size_t panel = panels.begin; panel < panels.end; panel++) {
    for (int v = 0; v < kPanelVectors; v++) {
      const size_t lane = static_cast<size_t>(v * kLanes), column = panel * kPanelRows + lane;
      if (column >= job.n) break;
      const size_t count = min(static_cast<size_t>(kLanes), job.n - column);
      VF first[kRows], second[kRows];
      const size_t at = gated ? 2 * panel : panel;
      values(job.weights + at * job.panel_bytes() + lane * 4, load(job.scales + at * kPanelRows + lane), first);
      if (gated)
        values(job.weights + (at + 1) * job.panel_bytes() + lane * 4,
               load(job.scales + (at + 1) * kPanelRows + lane), second);
      UNROLL for (int i = 0; i < kRows; i++) {
        float* y = job.y + (row + static_cast<size_t>(i)) * job.n + column;
        if (gated) store_part(y, gated_end(job.end, first[i], second[i]), count);
        else put_end(job.end, y, first[i], count);
      }
    }
  }
}

template <class Format, int kRows>
static __attribute__((noinline)) void few(const Job& job, Range panels, const ReadyRows& ready, size_t row, size_t first) {
  const int32_t* x = ready.words + first * ready.stride;
  each_vector<kRows>(job, panels, row + first, [&](const uint8_t* weights, VF scales, VF (&to)[kRows])
                                                   __attribute__((always_inline)) {
    VI sums[kRows];
    panel_sums<Format, kRows>(weights, job.blocks, x, ready.stride, sums);
    UNROLL for (int i = 0; i < kRows; i++) {
      const size_t r = first + static_cast<size_t>(i);
      to[i] = to_float(sums[i] - splat((1 + Format::kBias) * ready.sums[r])) * (splat(ready.scales[r]) * scales);
    }
  });
}

template <class Format, int kRows>
static __attribute__((noinline)) void few_floats(const Job& job, Range panels, const float* x, size_t stride, size_t row,
                                                 size_t first) {
  each_vector<kRows>(job, panels, row + first, [&](const uint8_t* weights, VF scales, VF (&to)[kRows])
                                                   __attribute__((always_inline)) {
    panel_float_sums<Format, kRows>(weights, job.blocks, x + first * stride, stride, to);
    UNROLL for (int i = 0; i < kRows; i++) to[i] = to[i] * scales;
  });
}

template <int n>
struct Number {
  static constexpr int value = n;
};

// body(count, first) for pieces of `rows` rows, as large as are taken at once.
template <int kMost, class Body>
INLINE void in_pieces(size_t rows, Body body) {
  size_t i = 0;
  auto take = [&](auto count) {
    if constexpr (decltype(count)::value <= kMost) {
      for (; i + decltype(count)::value <= rows; i += decltype(count)::value) body(count, i);
    }
  };
  take(Number<8>{});
  take(Number<4>{});
  take(Number<2>{});
  take(Number<1>{});
}

// A product of many rows: y = (sums - row sum) · (row scale · the weight's scale), and its end.
struct Scales {
  const int32_t* row_sums;
  const float *row_scales, *scales;
  INLINE VF value(const Scales& s, size_t row, size_t column, VI sums) {
    const VF times = splat(s.row_scales[row]) * load(s.scales + column);  // scales are there for whole panels
    return to_float(sums - splat(s.row_sums[row])) * times;
  }
};

// Kept or added. Between stretches of k, sums lie in `partial`, which may be y where they are not added.
template <bool kAdd>
struct StoreScaled {
  float* y;
  size_t stride;
  float* partial;
  Scales scales;

  INLINE void fetch(const StoreScaled& to, size_t row, size_t column) {
    float* y = to.y + row * to.stride + column;
    UNROLL for (int j = 0; j < kTileVectors; j++) __builtin_prefetch(y + j * kLanes, 1, 3);
  }
  template <bool kWhole>
  INLINE void put(const StoreScaled& to, size_t row, size_t column, size_t count, VI sums, float, bool first, bool last) {
    const size_t at = row * to.stride + column;
    auto old = [&](const float* p) { return kWhole ? load(p + at) : load_part(p + at, count); };
    auto keep = [&](float* p, VF v) { kWhole ? store(p + at, v) : store_part(p + at, v, count); };
    if (!first) sums += (VI)old(to.partial);
    if (!last) return keep(to.partial, (VF)sums);
    const VF v = Scales::value(to.scales, row, column, sums);
    keep(to.y, kAdd ? old(to.y) + v : v);
  }
};

// The gate's columns and up's take turns: both are put into a block that stays in cache, and become one there. Of a k of
// one stretch.
struct StoreGated {
  // Whole tiles, and whole pairs of panels.
  static constexpr size_t kPair = 2 * kPanelRows, kBlockColumns = kPair % kTileColumns == 0 ? kPair : 2 * kTileColumns;
  static constexpr size_t kMostColumns = 512, kStride = kMostColumns + 16;
  static_assert(kBlockColumns % kTileColumns == 0 && kBlockColumns % kPair == 0 && kMostColumns % kPair == 0);

  float* y;
  size_t n;
  int end;
  float* block;
  Scales scales;

  INLINE float* place(const StoreGated& to, size_t row, size_t column) {
    return to.block + row % kBlockRows * kStride + column % kMostColumns;
  }
  INLINE void fetch(const StoreGated&, size_t, size_t) {}
  template <bool kWhole>
  INLINE void put(const StoreGated& to, size_t row, size_t column, size_t, VI sums, float, bool, bool) {
    store(place(to, row, column), Scales::value(to.scales, row, column, sums));
  }
  INLINE void done(const StoreGated& to, Range rows, Range columns) {
    for (size_t row = rows.begin; row < rows.end; row++) {
      for (size_t c = columns.begin; c < columns.end; c += kPair) {
        const float* gate = place(to, row, c);
        const size_t first = c / 2, lanes = min(kPanelRows, to.n - first);
        for (size_t j = 0; j < lanes; j += kLanes)
          store_part(to.y + row * to.n + first + j, gated_end(to.end, load(gate + j), load(gate + kPanelRows + j)),
                     part(j, lanes));
      }
    }
  }
};

template <class Format>
INLINE void run(const Call& call, Job job, bool floats) {
  job.blocks = (job.k + 4 * Format::kWords - 1) / (4 * Format::kWords);
  const Range panels = call.split(job.panels());
  if (floats) {
    for (size_t row = 0; row < job.m; row += kFew) {
      const size_t rows = min(kFew, job.m - row), stride = ready_floats<Format>(call, job, row, rows);
      in_pieces<4>(rows, [&](auto count, size_t first) {
        few_floats<Format, decltype(count)::value>(job, panels, call.scratch<float>(), stride, row, first);
      });
    }
    return;
  }
  if (job.m <= kFew) {
    const ReadyRows ready = ready_rows<Format>(call, job, 0, job.m);
    in_pieces<kAtOnce>(job.m, [&](auto count, size_t first) {
      few<Format, decltype(count)::value>(job, panels, ready, 0, first);
    });
    return;
  }

  int8_t* codes = call.i8(5);
  float *row_scales = call.f32(6), *product = call.f32(8);
  int32_t* sums = call.i32(7);
  const size_t padded = (job.k + 3) / 4 * 4;
  const Range rows = call.split(job.m);
  for (size_t row = rows.begin; row < rows.end; row++) {
    const float* x = normed_row(job.x + row * job.k, job.gain, job.norm_eps, job.k, call.scratch<float>());
    quantise_row(x, job.k, job.quant_eps, codes + row * padded, row_scales + row, sums + row, job.levels);
    for (size_t k = job.k; k < padded; k++) codes[row * padded + k] = 0;
  }
  call.barrier();
  const Scales scales{sums, row_scales, job.scales};
  const PackedColumns<Format> b{job.weights, job.panel_bytes()};
  auto multiply = [&](size_t columns, auto out) {
    if (Int8Product::kGroup == 4) {
      const Term<RowsInPlace<int8_t>, PackedColumns<Format>> term{{codes, padded}, b, padded, 1};
      gemm<Int8Product>(call, job.m, columns, &term, 1, out);
    } else {
      const Term<RowsConverted<ByteWords<int8_t>>, PackedColumns<Format>> term{{{codes, padded}}, b, padded, 1};
      gemm<Int8Product>(call, job.m, columns, &term, 1, out);
    }
  };
  if (job.end == kEndStore) return multiply(job.n, StoreScaled<false>{job.y, job.n, job.y, scales});
  if (job.end == kEndAdd) return multiply(job.n, StoreScaled<true>{job.y, job.n, product, scales});
  const size_t columns = 2 * job.panels() * kPanelRows;
  if (!product) {
    float* const block = reinterpret_cast<float*>(call.scratch<int32_t>() + kBlockAt);
    return multiply(columns, StoreGated{job.y, job.n, job.end, block, scales});
  }
  multiply(columns, StoreScaled<false>{product, columns, product, scales});
  call.barrier();
  apply_end(call, job.end, product, columns, job.y, job.m, job.n);
}

}  // namespace

KERNEL(packed_linear) {
  const Job job{call.f32(0),  call.f32(1),  call.u8(2) + call.size(8), call.f32(3),    call.f32(4),     call.size(0),
                call.size(1), call.size(2), 0,                         call.real(3),   call.number(4),  call.number(9),  call.integer(5)};
  const bool floats = call.integer(7) != 0;
  if (call.integer(6) == kTrits) run<Trits>(call, job, floats);
  else run<TwoBits>(call, job, floats);
}

// Rows of weights as a file holds them (native/weight-sources.h) to rows of packed panels: row n goes to row first +
// (n / 16) · step + n % 16. Each row's scale goes to `scales` [N].
KERNEL(pack_ternary) {
  const size_t n = call.size(0), k = call.size(1), first = call.size(2), step = call.size(3);
  const bool trits = call.integer(4) == kTrits;
  const int source = call.integer(5);
  const size_t words = trits ? 5 : 4, blocks = (k + 4 * words - 1) / (4 * words), from_bytes = source_row_bytes(source, k);
  float* const scales = call.f32(2);
  uint8_t* const packed = call.u8(1) + call.size(6);
  uint8_t* const codes = call.scratch<uint8_t>();
  float* const floats = reinterpret_cast<float*>(codes + (k + 4 * words + 63) / 64 * 64);
  for (size_t i = k; i < blocks * 4 * words; i++) codes[i] = 1;
  const Range mine = call.split(n, kPanelRows);
  for (size_t row = mine.begin; row < mine.end; row++) {
    scales[row] = source_codes(source, call.u8(0) + row * from_bytes, k, codes, floats);
    const size_t at = first + row / kPanelRows * step + row % kPanelRows;
    uint8_t* to = packed + at / kPanelRows * blocks * kBlockBytes + at % kPanelRows * 4;
    const uint8_t* from = codes;
    for (size_t block = 0; block < blocks; block++, to += kBlockBytes, from += 4 * words) {
      // Four rows' bytes at once: no sum below leaves its byte.
      auto word = [&](size_t t) { return static_cast<uint32_t>(load_word(from + 4 * t)); };
      if (!trits) {
        *reinterpret_cast<IntMemory*>(to) = static_cast<int32_t>(word(0) | word(1) << 2 | word(2) << 4 | word(3) << 6);
        continue;
      }
      const uint32_t value = (((word(0) * 3 + word(1)) * 3 + word(2)) * 3 + word(3)) * 3 + word(4);
      for (unsigned b = 0; b < 4; b++) to[b] = static_cast<uint8_t>(((value >> (8 * b) & 255) * 256 + 242) / 243);
    }
  }
}

}  // namespace bitnet::ISA_NS
