// Products by a float matrix kept in f32, bf16, f16, int8 or int4 (the output head; all layers of a full-precision model),
// with a norm in front and a residual or a gate behind; its rows as embeddings; and the making of such a matrix. The
// definition is in reference.ts.
#include "rows.h"

namespace bitnet::ISA_NS {

namespace {

constexpr size_t kFew = 8;       // rows of x up to which weights are used as they are read

struct Job {
  const uint8_t* weights;
  float* y;
  size_t n, k, stride;
  int format, end;

  const uint8_t* row(size_t i) const { return weights + i * row_bytes(format, k); }
  // Where output n's weights lie; of a gated end, the gate's (up's is kPanelRows further).
  size_t place(size_t column) const {
    return is_gated(end) ? column / kPanelRows * 2 * kPanelRows + column % kPanelRows : column;
  }
};

INLINE void put(const Job& job, size_t row, size_t column, float first, float second) {
  float& y = job.y[row * job.n + column];
  if (is_gated(job.end)) y = gated_end(job.end, splat(first), splat(second))[0];
  else y = job.end == kEndAdd ? y + first : first;
}

template <int format, int kRows>
static __attribute__((noinline)) void few(const Job& job, Range columns, const float* x, size_t row) {
  for (size_t column = columns.begin; column < columns.end; column++) {
    const size_t at = job.place(column);
    float first[kRows], second[kRows] = {};
    row_dots<format, kRows>(job.row(at), job.k, x, job.stride, first);
    if (is_gated(job.end)) row_dots<format, kRows>(job.row(at + kPanelRows), job.k, x, job.stride, second);
    UNROLL for (int i = 0; i < kRows; i++) put(job, row + static_cast<size_t>(i), column, first[i], second[i]);
  }
}

template <int format>
INLINE void few_rows(const Job& job, Range columns, const float* x, size_t row, size_t rows) {
  size_t i = 0;
  for (; i + 4 <= rows; i += 4) few<format, 4>(job, columns, x + i * job.stride, row + i);
  for (; i + 2 <= rows; i += 2) few<format, 2>(job, columns, x + i * job.stride, row + i);
  for (; i < rows; i++) few<format, 1>(job, columns, x + i * job.stride, row + i);
}

// A few rows of weights are widened once, and go by all rows of x while they are in cache.
static __attribute__((noinline)) void many_rows(const Job& job, Range columns, const float* x, size_t m, float* wide) {
  for (size_t column = columns.begin; column < columns.end; column++) {
    const size_t at = job.place(column);
    const bool gated = is_gated(job.end);
    widen_row(job.format, job.row(at), job.k, wide);
    if (gated) widen_row(job.format, job.row(at + kPanelRows), job.k, wide + job.stride);
    const uint8_t *w = reinterpret_cast<uint8_t*>(wide), *w2 = reinterpret_cast<uint8_t*>(wide + job.stride);
    size_t i = 0;
    auto take = [&](auto rows) __attribute__((always_inline)) {
      constexpr int kRows = sizeof(rows);
      for (; i + kRows <= m; i += kRows) {
        float first[kRows], second[kRows] = {};
        row_dots<kF32, kRows>(w, job.k, x + i * job.stride, job.stride, first);
        if (gated) row_dots<kF32, kRows>(w2, job.k, x + i * job.stride, job.stride, second);
        for (size_t r = 0; r < kRows; r++) put(job, i + r, column, first[r], second[r]);
      }
    };
    take(int32_t{});
    take(int8_t{});
  }
}

}  // namespace

KERNEL(matrix_linear) {
  const float *x = call.f32(0), *gain = call.f32(1);
  const size_t m = call.size(0), k = call.size(2);
  const Job job{call.u8(2), call.f32(3), call.size(1), k, int4_blocks(k) * kInt4Block + 16, call.integer(4), call.integer(5)};
  const double eps = call.real(3);
  auto ready = [&](size_t row, float* to) {
    const float* from = normed_row(x + row * k, gain, eps, k, to);
    for (size_t c = from == to ? k : 0; c < job.stride; c++) to[c] = c < k ? from[c] : 0;
  };
  const Range columns = call.split(job.n, kPanelRows);
  float* own = call.scratch<float>();
  if (m > kFew) {
    // The rows of x, ready, in a workspace of all threads.
    const Range rows = call.split(m);
    for (size_t row = rows.begin; row < rows.end; row++) ready(row, call.f32(4) + row * job.stride);
    call.barrier();
    return many_rows(job, columns, call.f32(4), m, own);
  }
  for (size_t row = 0; row < m; row++) ready(row, own + row * job.stride);
  switch (job.format) {
    case kF32: return few_rows<kF32>(job, columns, own, 0, m);
    case kBf16: return few_rows<kBf16>(job, columns, own, 0, m);
    case kF16: return few_rows<kF16>(job, columns, own, 0, m);
    case kInt8: return few_rows<kInt8>(job, columns, own, 0, m);
    default: return few_rows<kInt4>(job, columns, own, 0, m);
  }
}

// y [M, K] = rows ids [M] of a matrix.
KERNEL(matrix_rows) {
  const int32_t* ids = call.i32(0);
  const uint8_t* weights = call.u8(1);
  float* y = call.f32(2);
  const size_t m = call.size(0), k = call.size(1);
  const int format = call.integer(2);
  const Range mine = call.split(m);
  float* wide = call.scratch<float>();
  for (size_t i = mine.begin; i < mine.end; i++) {
    widen_row(format, weights + static_cast<size_t>(ids[i]) * row_bytes(format, k), k, wide);
    for (size_t c = 0; c < k; c++) y[i * k + c] = wide[c];
  }
}

// w f32 [N, K] to rows of a matrix: row n goes to row first + (n / 16) · step + n % 16.
KERNEL(pack_matrix) {
  const float* w = call.f32(0);
  const size_t n = call.size(0), k = call.size(1), first = call.size(2), step = call.size(3);
  const int format = call.integer(4);
  const Range mine = call.split(n);
  for (size_t row = mine.begin; row < mine.end; row++) {
    const float* from = w + row * k;
    uint8_t* to = call.u8(1) + (first + row / kPanelRows * step + row % kPanelRows) * row_bytes(format, k);
    if (format == kF32) {
      __builtin_memcpy(to, from, 4 * k);
    } else if (format == kBf16 || format == kF16) {
      for (size_t i = 0; i < k; i++)
        reinterpret_cast<HalfMemory*>(to)[i] = format == kBf16 ? float_to_bf16(from[i]) : float_to_half(from[i]);
    } else if (format == kInt8) {
      float most = 0;
      for (size_t i = 0; i < k; i++) most = max(most, abs(from[i]));
      const float scale = most / 127.0f, inverse = most > 0 ? 127.0f / most : 0;
      for (size_t i = 0; i < k; i++) to[i] = static_cast<uint8_t>(to_int(from[i] * inverse) + 128);
      *reinterpret_cast<FloatMemory*>(to + k) = scale;
    } else {
      const size_t blocks = int4_blocks(k);
      for (size_t b = 0; b < blocks; b++) {
        // The number of the largest magnitude becomes -8.
        float most = 0;
        const size_t end = min((b + 1) * kInt4Block, k);
        for (size_t i = b * kInt4Block; i < end; i++) most = abs(from[i]) > abs(most) ? from[i] : most;
        const uint16_t bits = float_to_bf16(most / -8.0f);
        const float scale = bf16_to_float(bits), inverse = scale != 0 ? 1 / scale : 0;
        reinterpret_cast<HalfMemory*>(to + blocks * kInt4Block / 2)[b] = bits;
        auto code = [&](size_t i) {
          const int q = i < end ? to_int(from[i] * inverse) + 8 : 8;
          return q < 0 ? 0 : q > 15 ? 15 : q;
        };
        for (size_t i = 0; i < kInt4Block / 2; i++) {
          const size_t at = b * kInt4Block + i;
          to[b * kInt4Block / 2 + i] = static_cast<uint8_t>(code(at) | code(at + kInt4Block / 2) << 4);
        }
      }
    }
  }
}

}  // namespace bitnet::ISA_NS
