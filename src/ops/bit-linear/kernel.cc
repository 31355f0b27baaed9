// The products of BitLinear: an exact int8-by-ternary forward, and the two straight-through gradients, whose operands
// are converted from codes while they are packed; and both gradients as products of int8. The definition is in reference.ts, the loop in native/gemm.h.
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

// What int8 codes of values up to `absmax` are multiplied by, and their scale. Nothing that is not finite has a code, and its
// scale is not finite: products are NaN, never plausible numbers.
struct CodeScale {
  VF factor, scale;
  VI whole;
};
INLINE CodeScale code_scale(VF absmax) {
  constexpr float kLeast = 1e-30f;  // 127 over it is finite
  const VI zero = absmax < splat(kLeast), whole = absmax <= splat(3.4028234663852886e38f);
  return {select(zero | ~whole, VF{}, splat(127.0f) / absmax), select(zero, VF{}, absmax / splat(127.0f)), whole};
}
INLINE void store_codes(int8_t* to, VI codes, size_t count) {
  if (count == kLanes) return store_i8(to, codes);
  for (size_t j = 0; j < count; j++) to[j] = static_cast<int8_t>(codes[j]);
}

// The output gradients of up to three weights, twice as int8 codes [M, N], N = N_0 + N_1 + N_2, side by side:
//   rows     of scale_i · dy_i, with a scale and the sum of the codes for each row [M]
//   columns  of x_scale · dy_i, with both for each column of each block of `block` rows [blocks, N]
// A thread has whole blocks, whose second reading finds them in the third cache.
KERNEL(gradient_quant) {
  constexpr size_t kMost = 3;
  const float* x_scale = call.f32(6);
  const size_t m = call.size(0), block = call.size(4);
  size_t widths[kMost] = {}, width = 0;
  for (size_t i = 0; i < kMost && call.has(2 * static_cast<int>(i)); i++) width += widths[i] = call.size(1 + static_cast<int>(i));
  const VI magnitude = splat(0x7fffffff);
  // Of a block: each column's largest magnitude, then its factor; whether that is finite; the sum of its codes.
  const size_t room = (width + kLanes - 1) / kLanes * kLanes;
  int32_t *most = call.scratch<int32_t>(), *whole = most + room, *sums = whole + room;
  float* factors = reinterpret_cast<float*>(most);

  // body(values, count, scale of the weight, column) for each vector of row `row`.
  auto each = [&](size_t row, auto body) __attribute__((always_inline)) {
    size_t at = 0;
    for (size_t i = 0; i < kMost && widths[i] > 0; i++) {
      const size_t n = widths[i];
      const float* dy = call.f32(2 * static_cast<int>(i)) + row * n;
      const VF scale = splat(*call.f32(2 * static_cast<int>(i) + 1));
      size_t c = 0;
      for (; c + kLanes <= n; c += kLanes) body(load(dy + c), size_t{kLanes}, scale, at + c);
      if (c < n) body(load_part(dy + c, n - c), n - c, scale, at + c);
      at += n;
    }
  };

  const Range mine = call.split(m, block);
  for (size_t begin = mine.begin; begin < mine.end; begin += block) {
    const size_t end = min(begin + block, mine.end), b = begin / block;
    for (size_t c = 0; c < room; c += kLanes) store(most + c, VI{}), store(sums + c, VI{});
    for (size_t row = begin; row < end; row++) {
      const VF times = splat(x_scale[row]);
      // Magnitudes are ordered as their bits are, with NaN above infinity: an integer max keeps a NaN.
      VI row_most = {};
      each(row, [&](VF v, size_t count, VF scale, size_t c) __attribute__((always_inline)) {
        row_most = max(row_most, (VI)(v * scale) & magnitude);
        store_part(most + c, max(load_part(most + c, count), (VI)(v * times) & magnitude), count);
      });
      const CodeScale of_row = code_scale((VF)splat(largest(row_most)));
      int8_t* codes = call.i8(7) + row * width;
      VI total = {};
      each(row, [&](VF v, size_t count, VF scale, size_t c) __attribute__((always_inline)) {
        const VI q = to_int((v * scale) * of_row.factor) & of_row.whole;
        total += q;
        store_codes(codes + c, q, count);
      });
      call.f32(8)[row] = of_row.scale[0];
      call.i32(9)[row] = sum(total);
    }
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t count = min(width - c, size_t{kLanes});
      const CodeScale of_column = code_scale((VF)load(most + c));
      store_part(call.f32(11) + b * width + c, of_column.scale, count);
      store(factors + c, of_column.factor);
      store(whole + c, of_column.whole);
    }
    for (size_t row = begin; row < end; row++) {
      const VF times = splat(x_scale[row]);
      int8_t* codes = call.i8(10) + row * width;
      each(row, [&](VF v, size_t count, VF, size_t c) __attribute__((always_inline)) {
        const VI q = to_int((v * times) * load_part(factors + c, count)) & load_part(whole + c, count);
        store_part(sums + c, load_part(sums + c, count) + q, count);
        store_codes(codes + c, q, count);
      });
    }
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t count = min(width - c, size_t{kLanes});
      store_part(call.i32(12) + b * width + c, load_part(sums + c, count), count);
    }
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

// dw [N, K] (+)= sum over blocks of rows of scale · (codesᵀ [N, rows] · x [rows, K]), each an exact integer product. The
// weight's codes, scales and sums begin `at` columns into rows of `width`.
KERNEL(bit_linear_backward_weight_int8) {
  const size_t m = call.size(0), n = call.size(1), k = call.size(2), block = call.size(3), at = call.size(4);
  const size_t width = call.size(5);
  typedef ColumnsOfA<SignedInt8Product, SignedBytes<0>> A;
  typedef AlongColumns<SignedInt8Product, SignedBytes<kOffset>> B;
  constexpr size_t kMost = 32;
  Term<A, B, BlockScale> terms[kMost] = {};
  const size_t blocks = (m + block - 1) / block;
  for (size_t from = 0; from < blocks; from += kMost) {
    const size_t count = min(blocks - from, kMost);
    for (size_t i = 0; i < count; i++) {
      const size_t b = from + i, row = b * block;
      terms[i] = {{{call.i8(0) + row * width + at, width}},
                  {{call.i8(3) + row * k, k}},
                  min(block, m - row),
                  {call.f32(1) + b * width + at, call.i32(2) + b * width + at}};
    }
    const StoreBlockScaled out{call.f32(4), k, from > 0 || call.integer(6) != 0};
    gemm<SignedInt8Product>(call, n, k, terms, static_cast<int>(count), out);
  }
}

}  // namespace bitnet::ISA_NS
