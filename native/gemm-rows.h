// Products of a few rows of x by all rows of w, y = x · wᵀ, as in generating text token by token. Every weight is used
// once or a few times, so packing would cost more than the product: rows of w are read straight from memory, at its
// speed, and each thread takes a share of them.
#pragma once
#include "gemm-operands.h"

namespace bitnet::ISA_NS {

constexpr size_t kFewRows = 8;     // above this many rows of x, gemm.h is faster
constexpr int kRowsAtOnce = 4;     // of x
constexpr int kWeightsAtOnce = 4;  // rows of w: independent sums hide the latency of the multiply-add

// Bytes of words that a full vector of each kind covers, and the product of two such vectors lane by lane.
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

template <class Dot, int kRows, int kWeights, class Finish>
INLINE void rows_by_weights(typename Dot::X x, typename Dot::W w, size_t row, size_t n, size_t k_size,
                            const Finish& finish) {
  typename Dot::Sum sums[kRows][kWeights];
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int j = 0; j < kWeights; j++) sums[i][j] = typename Dot::Sum{};
  }
  size_t k = 0;
  for (; k + Dot::kValues <= k_size; k += Dot::kValues) {
    VI xs[kRows];
    UNROLL for (int i = 0; i < kRows; i++)
      xs[i] = Dot::X::words(x, row + static_cast<size_t>(i), k, Dot::kValues);
    UNROLL for (int j = 0; j < kWeights; j++) {
      const VI ws = Dot::W::words(w, n + static_cast<size_t>(j), k, Dot::kValues);
      UNROLL for (int i = 0; i < kRows; i++) Dot::add(sums[i][j], xs[i], ws);
    }
  }
  if (k < k_size) {
    VI xs[kRows];
    UNROLL for (int i = 0; i < kRows; i++)
      xs[i] = Dot::X::words(x, row + static_cast<size_t>(i), k, k_size - k);
    UNROLL for (int j = 0; j < kWeights; j++) {
      const VI ws = Dot::W::words(w, n + static_cast<size_t>(j), k, k_size - k);
      UNROLL for (int i = 0; i < kRows; i++) Dot::add(sums[i][j], xs[i], ws);
    }
  }
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int j = 0; j < kWeights; j++)
      finish(row + static_cast<size_t>(i), n + static_cast<size_t>(j), sum(sums[i][j]));
  }
}

template <class Dot, int kRows, class Finish>
static __attribute__((noinline)) void few_rows(typename Dot::X x, typename Dot::W w, size_t row, Range weights,
                                               size_t k, const Finish& finish) {
  constexpr int kWeights = kRows == 1 ? kWeightsAtOnce : kRows == 2 ? 2 : 1;
  size_t n = weights.begin;
  for (; n + kWeights <= weights.end; n += kWeights) rows_by_weights<Dot, kRows, kWeights>(x, w, row, n, k, finish);
  if constexpr (kWeights > 1) {
    for (; n < weights.end; n++) rows_by_weights<Dot, kRows, 1>(x, w, row, n, k, finish);
  }
}

// For rows 0 .. m-1 of x [M, K] and this thread's rows of w [N, K]: finish(row, n, dot product).
template <class Dot, class Finish>
static void gemm_rows(const Call& call, typename Dot::X x, typename Dot::W w, size_t m, size_t n, size_t k,
                      const Finish& finish) {
  const Range weights = call.split(n, kWeightsAtOnce);
  size_t row = 0;
  for (; row + kRowsAtOnce <= m; row += kRowsAtOnce) few_rows<Dot, kRowsAtOnce>(x, w, row, weights, k, finish);
  for (; row + 2 <= m; row += 2) few_rows<Dot, 2>(x, w, row, weights, k, finish);
  for (; row < m; row++) few_rows<Dot, 1>(x, w, row, weights, k, finish);
}

}  // namespace bitnet::ISA_NS
