// Matrix products with float32 weights: y = x · wᵀ and its two gradients. The definition is in reference.ts, the loop in
// native/gemm.h. Where `bf16` is 1, operands are rounded to bfloat16 as they are packed; sums are float32.
#include "native/gemm-operands.h"
#include "native/gemm-rows.h"
#include "native/gemm.h"

namespace bitnet::ISA_NS {

// y [M, N] = x [M, K] · w [N, K]ᵀ
KERNEL(matmul_forward) {
  const float *x = call.f32(0), *w = call.f32(1);
  float* y = call.f32(2);
  const size_t m = call.size(0), n = call.size(1), k = call.size(2);
  const bool bf16 = call.integer(3) != 0;
  (void)bf16;
  const Floats xs{x, k}, ws{w, k};
  if (m <= kFewFloatRows) {
    auto finish = [=](size_t row, size_t column, float sum) { y[row * n + column] = sum; };
#if SIMD_BF16
    if (bf16) return gemm_rows<Bfloat16Dot>(call, {xs}, {ws}, m, n, k, finish);
#endif
    return gemm_rows<Float32Dot>(call, {xs}, {ws}, m, n, k, finish);
  }
  const StoreFloat out{y, n, false};
#if SIMD_BF16
  if (bf16) {
    const Term<RowsConverted<Bfloat16Words<Floats>>, AlongK<Bfloat16Words<Floats>>> term{{{xs}}, {{ws}}, k, 1};
    return gemm<Bfloat16Product>(call, m, n, &term, 1, out);
  }
#endif
  const Term<RowsInPlace<float>, AlongK<FloatWords<Floats>>> term{{x, k}, {{ws}}, k, 1};
  gemm<Float32Product>(call, m, n, &term, 1, out);
}

// dx [M, K] (+)= dy [M, N] · w [N, K]
KERNEL(matmul_backward_input) {
  const float *dy = call.f32(0), *w = call.f32(1);
  const size_t m = call.size(0), n = call.size(1), k = call.size(2);
  const StoreFloat out{call.f32(2), k, call.integer(3) != 0};
  const Floats ws{w, k};
#if SIMD_BF16
  if (call.integer(4)) {
    const Term<RowsConverted<Bfloat16Words<Floats>>, AlongColumns<Bfloat16Product, Floats>> term{{{{dy, n}}}, {ws}, n, 1};
    return gemm<Bfloat16Product>(call, m, k, &term, 1, out);
  }
#endif
  const Term<RowsInPlace<float>, AlongColumns<Float32Product, Floats>> term{{dy, n}, {ws}, n, 1};
  gemm<Float32Product>(call, m, k, &term, 1, out);
}

// dw [N, K] (+)= dy [M, N]ᵀ · x [M, K]
KERNEL(matmul_backward_weight) {
  const float *dy = call.f32(0), *x = call.f32(1);
  const size_t m = call.size(0), n = call.size(1), k = call.size(2);
  const StoreFloat out{call.f32(2), k, call.integer(3) != 0};
  const Floats dys{dy, n}, xs{x, k};
#if SIMD_BF16
  if (call.integer(4)) {
    const Term<ColumnsOfA<Bfloat16Product, Floats>, AlongColumns<Bfloat16Product, Floats>> term{{dys}, {xs}, m, 1};
    return gemm<Bfloat16Product>(call, n, k, &term, 1, out);
  }
#endif
  const Term<ColumnsOfA<Float32Product, Floats>, AlongColumns<Float32Product, Floats>> term{{dys}, {xs}, m, 1};
  gemm<Float32Product>(call, n, k, &term, 1, out);
}

}  // namespace bitnet::ISA_NS
