// Products of a few rows of x by all rows of w, y = x · wᵀ, as in generating text token by token. Every weight is used
// once or a few times, so packing would cost more than the product: rows of w are read straight from memory, at its
// speed, and each thread takes a share of them.
#pragma once
#include "gemm-operands.h"

namespace bitnet::ISA_NS {

// Above this many rows of x, gemm.h is faster. Rows of float32 leave the first cache sooner than rows of int8.
constexpr size_t kFewRows = 4, kFewFloatRows = 4;
constexpr int kRowsAtOnce = 4;  // of x

// For each product: the values that a vector covers, how vectors are read, and their product, lane by lane.
struct Float32Dot {
  typedef VF Sum;
  static constexpr size_t kValues = kLanes;
  typedef FloatWords<Floats> W;
  typedef FloatWords<Floats> X;
  INLINE void add(VF& sum, VI x, VI w) { sum = fma((VF)x, (VF)w, sum); }
};

#if SIMD_BF16
struct Bfloat16Dot {
  typedef VF Sum;
  static constexpr size_t kValues = 2 * kLanes;
  typedef Bfloat16Words<Floats> W;
  typedef Bfloat16Words<Floats> X;
  INLINE void add(VF& sum, VI x, VI w) { Bfloat16Product::add(sum, x, w); }
};
#endif

struct Int8Dot {
  typedef VI Sum;
  static constexpr size_t kValues = Int8Product::kGroup * kLanes;
  typedef ByteWords<uint8_t> W;
  typedef ByteWords<int8_t> X;
  INLINE void add(VI& sum, VI x, VI w) { Int8Product::add(sum, x, w); }
};

// One row of w, so that memory is read in its own order, by kRows rows of x. Eight sums or so (several for each row of
// x, of every kDepth-th vector) hide the latency of the multiply-add.
template <class Dot, int kRows, class Finish>
INLINE void rows_by_weight(typename Dot::X x, typename Dot::W w, size_t row, size_t n, size_t k_size,
                           const Finish& finish) {
  constexpr int kDepth = kRows == 1 ? 4 : 8 / kRows;
  typename Dot::Sum sums[kRows][kDepth];
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int d = 0; d < kDepth; d++) sums[i][d] = typename Dot::Sum{};
  }
  auto step = [&](int d, size_t k, size_t count) __attribute__((always_inline)) {
    const VI ws = Dot::W::words(w, n, k, count);
    UNROLL for (int i = 0; i < kRows; i++)
      Dot::add(sums[i][d], Dot::X::words(x, row + static_cast<size_t>(i), k, count), ws);
  };
  size_t k = 0;
  for (; k + kDepth * Dot::kValues <= k_size; k += kDepth * Dot::kValues) {
    UNROLL for (int d = 0; d < kDepth; d++) step(d, k + static_cast<size_t>(d) * Dot::kValues, Dot::kValues);
  }
  for (; k + Dot::kValues <= k_size; k += Dot::kValues) step(0, k, Dot::kValues);
  if (k < k_size) step(0, k, k_size - k);
  UNROLL for (int i = 0; i < kRows; i++) {
    typename Dot::Sum total = sums[i][0];
    UNROLL for (int d = 1; d < kDepth; d++) total += sums[i][d];
    finish(row + static_cast<size_t>(i), n, sum(total));
  }
}

template <class Dot, int kRows, class Finish>
static __attribute__((noinline)) void few_rows(typename Dot::X x, typename Dot::W w, size_t row, Range weights,
                                               size_t k, const Finish& finish) {
  for (size_t n = weights.begin; n < weights.end; n++) rows_by_weight<Dot, kRows>(x, w, row, n, k, finish);
}

// For rows 0 .. m-1 of x [M, K] and this thread's rows of w [N, K]: finish(row, n, dot product).
template <class Dot, class Finish>
static void gemm_rows(const Call& call, typename Dot::X x, typename Dot::W w, size_t m, size_t n, size_t k,
                      const Finish& finish) {
  const Range weights = call.split(n);
  size_t row = 0;
  for (; row + kRowsAtOnce <= m; row += kRowsAtOnce) few_rows<Dot, kRowsAtOnce>(x, w, row, weights, k, finish);
  for (; row + 2 <= m; row += 2) few_rows<Dot, 2>(x, w, row, weights, k, finish);
  for (; row < m; row++) few_rows<Dot, 1>(x, w, row, weights, k, finish);
}

}  // namespace bitnet::ISA_NS
