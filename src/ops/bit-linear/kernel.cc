// The products of BitLinear: an exact int8-by-ternary forward, and the two straight-through gradients, whose operands
// are converted from codes while they are packed; the input's gradient also as an int8-by-ternary product. The definition is in reference.ts, the loop in native/gemm.h.
#include "native/gemm-operands.h"
#include "native/gemm-rows.h"
#include "native/gemm.h"

namespace bitnet::ISA_NS {

// y [M, N] = (x · qᵀ) · x_scale[m] · scale, with x int8 [M, K] and q = codes - 1 in {-1, 0, 1}: the product of x by the
// codes, less the row's sum. A residual [M, N], if there is one, is added.
KERNEL(bit_linear_forward) {
  const int8_t* x = call.i8(0);
  const float* x_scale = call.f32(1);
  const int32_t* sums = call.i32(2);
  const uint8_t* codes = call.u8(3);
  const float scale = call.f32(4)[0];
  float* y = call.f32(5);
  const float* residual = call.f32(6);
  const size_t m = call.size(0), n = call.size(1), k = call.size(2);
  const ByteWords<int8_t> xs{x, k};
  const ByteWords<uint8_t> ws{codes, k};
  if (m <= kFewRows) {
    return gemm_rows<Int8Dot>(call, xs, ws, m, n, k, [=](size_t row, size_t column, int32_t sum) {
      const float product = static_cast<float>(sum - sums[row]) * (x_scale[row] * scale);
      y[row * n + column] = residual ? residual[row * n + column] + product : product;
    });
  }
  const StoreDequantised out{y, n, sums, x_scale, residual};
  if (Int8Product::kGroup == 4 && k % 4 == 0) {
    const Term<RowsInPlace<int8_t>, AlongK<ByteWords<uint8_t>>> term{{x, k}, {ws}, k, scale};
    return gemm<Int8Product>(call, m, n, &term, 1, out);
  }
  const Term<RowsConverted<ByteWords<int8_t>>, AlongK<ByteWords<uint8_t>>> term{{xs}, {ws}, k, scale};
  gemm<Int8Product>(call, m, n, &term, 1, out);
}

// dx [M, K] (+)= sum over weights i of scale_i · dy_i [M, N_i] · q_i [N_i, K]; up to three weights, those after the last
// null. All are added while dx is in cache.
KERNEL(bit_linear_backward_input) {
  constexpr int kMost = 3;
  const size_t m = call.size(0), k = call.size(1);
  const StoreFloat out{call.f32(3 * kMost), k, call.integer(2 + kMost) != 0};
  auto run = [&](auto product, auto a_of) {
    typedef decltype(product) Product;
    typedef Term<decltype(a_of(nullptr, 0)), AlongColumns<Product, TernaryCodes>> OneTerm;
    OneTerm terms[kMost] = {};
    int count = 0;
    for (; count < kMost && call.has(3 * count); count++) {
      const size_t n = call.size(2 + count);
      terms[count] = OneTerm{a_of(call.f32(3 * count), n), {{call.u8(3 * count + 1), k}}, n, *call.f32(3 * count + 2)};
    }
    gemm<Product>(call, m, k, terms, count, out);
  };
#if SIMD_BF16
  if (call.integer(3 + kMost))
    return run(Bfloat16Product{},
               [](const float* dy, size_t n) { return RowsConverted<Bfloat16Words<Floats>>{{{dy, n}}}; });
#endif
  run(Float32Product{}, [](const float* dy, size_t n) { return RowsInPlace<float>{dy, n}; });
}

// Codes [M, N_0 + N_1 + N_2] int8 of the rows (scale_0 · dy_0, scale_1 · dy_1, scale_2 · dy_2), each with a scale of its
// own (absmax), and the sums of the codes.
KERNEL(gradient_quant) {
  constexpr int kMost = 3;
  constexpr float kLeast = 1e-30f;  // 127 over it is finite
  const VI magnitude = splat(0x7fffffff);
  size_t widths[kMost] = {}, width = 0;
  for (int i = 0; i < kMost && call.has(2 * i); i++) width += widths[i] = call.size(1 + i);
  const Range mine = call.split(call.size(0));
  for (size_t m = mine.begin; m < mine.end; m++) {
    auto pieces = [&](auto body) __attribute__((always_inline)) {
      for (int i = 0; i < kMost && widths[i] > 0; i++) body(call.f32(2 * i) + m * widths[i], widths[i], *call.f32(2 * i + 1));
    };
    // Magnitudes are ordered as their bits are, with NaN above infinity: an integer max keeps a NaN.
    VI most = {};
    pieces([&](const float* dy, size_t n, float scale) __attribute__((always_inline)) {
      for (size_t c = 0; c < n; c += kLanes)
        most = max(most, (VI)(load_part(dy + c, min(n - c, size_t{kLanes})) * splat(scale)) & magnitude);
    });
    const float absmax = ((VF)splat(largest(most)))[0];
    const bool zero = absmax < kLeast, whole = absmax <= 3.4028234663852886e38f;
    // Zero codes times a NaN or an infinity are NaN all along the row.
    call.f32(7)[m] = zero ? 0.0f : absmax / 127.0f;
    const VF factor = splat(zero || !whole ? 0.0f : 127.0f / absmax);
    int8_t* codes = call.i8(6) + m * width;
    VI total = {};
    pieces([&](const float* dy, size_t n, float scale) __attribute__((always_inline)) {
      for (size_t c = 0; c < n; c += kLanes) {
        const size_t count = min(n - c, size_t{kLanes});
        const VI q = whole ? to_int((load_part(dy + c, count) * splat(scale)) * factor) : VI{};
        total += q;
        if (count == kLanes) {
          store_i8(codes + c, q);
        } else {
          for (size_t j = 0; j < count; j++) codes[c + j] = static_cast<int8_t>(q[j]);
        }
      }
      codes += n;
    });
    call.i32(8)[m] = sum(total);
  }
}

// dx [M, K] (+)= row scale · sum over weights i of codes of dy_i [M, N_i] · q_i [N_i, K]: an exact integer product, save
// that it is rounded to float32 at each stretch of k.
KERNEL(bit_linear_backward_input_int8) {
  constexpr int kMost = 3;
  const int8_t* codes = call.i8(0);
  const size_t m = call.size(0), k = call.size(1);
  const StoreRowScaled out{call.f32(3 + kMost), k, call.i32(2), call.f32(1), call.integer(2 + kMost) != 0};
  size_t widths[kMost] = {}, width = 0;
  bool in_words = Int8Product::kGroup == 4;
  for (int i = 0; i < kMost && call.has(3 + i); i++) {
    width += widths[i] = call.size(2 + i);
    in_words = in_words && widths[i] % 4 == 0;
  }
  auto run = [&](auto a_of) {
    typedef Term<decltype(a_of(nullptr)), AlongColumns<Int8Product, CodeBytes>> OneTerm;
    OneTerm terms[kMost] = {};
    int count = 0;
    for (size_t at = 0; count < kMost && widths[count] > 0; at += widths[count++])
      terms[count] = OneTerm{a_of(codes + at), {{call.u8(3 + count), k}}, widths[count], 1};
    gemm<Int8Product>(call, m, k, terms, count, out);
  };
  if (in_words) return run([=](const int8_t* p) { return RowsInPlace<int8_t>{p, width}; });
  run([=](const int8_t* p) { return RowsConverted<ByteWords<int8_t>>{{p, width}}; });
}

// dw [N, K] (+)= (dy · x_scale)ᵀ [N, M] · x [M, K]. The scale goes with dy, so that x is exact in bfloat16 too.
KERNEL(bit_linear_backward_weight) {
  const size_t m = call.size(0), n = call.size(1), k = call.size(2);
  const ScaledFloats dys{call.f32(0), n, call.f32(2)};
  const Int8s xs{call.i8(1), k};
  const StoreFloat out{call.f32(3), k, call.integer(3) != 0};
#if SIMD_BF16
  if (call.integer(4)) {
    const Term<ColumnsOfA<Bfloat16Product, ScaledFloats>, AlongColumns<Bfloat16Product, Int8s>> term{{dys}, {xs}, m, 1};
    return gemm<Bfloat16Product>(call, n, k, &term, 1, out);
  }
#endif
  const Term<ColumnsOfA<Float32Product, ScaledFloats>, AlongColumns<Float32Product, Int8s>> term{{dys}, {xs}, m, 1};
  gemm<Float32Product>(call, n, k, &term, 1, out);
}

}  // namespace bitnet::ISA_NS
