// Products by a float matrix kept in f32, bf16, f16, int8 or int4 (the output head; all layers of a full-precision model),
// with a norm in front and a residual or a gate behind; its rows as embeddings; and the making of such a matrix. The
// definition is in reference.ts.
#include "int-rows.h"
#include "native/gemm-operands.h"
#include "native/weight-sources.h"
#include "pack-row.h"

namespace bitnet::ISA_NS {

namespace {

constexpr size_t kFew = 8;       // rows of x up to which weights are used as they are read
constexpr size_t kMany = 64;     // rows of x above which products of floats are gemm.h's, whose sums come in another order
constexpr size_t kIntRows = 64;  // rows of x of int8 and int4 products that pass a panel of weights together

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

// Of int8 and int4, kColumns outputs at once: so many rows of weights stand together, up to a panel's end.
template <int format, int kRows, int kColumns, bool kGated>
INLINE void int_outputs(const Job& job, size_t column, const uint8_t* x, size_t row) {
  const size_t bytes = row_bytes(format, job.k), x_bytes = int_row_bytes(job.k), at = job.place(column);
  auto dots = [&](const uint8_t* w, float (&to)[kRows][kColumns]) __attribute__((always_inline)) {
    if constexpr (format == kInt8) int8_dots<kRows, kColumns>(w, bytes, job.k, x, x_bytes, to);
    else int4_dots<kRows, kColumns>(w, bytes, job.k, x, x_bytes, to);
  };
  float first[kRows][kColumns], second[kRows][kColumns] = {};
  dots(job.weights + at * bytes, first);
  if constexpr (kGated) dots(job.weights + (at + kPanelRows) * bytes, second);
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int c = 0; c < kColumns; c++)
      put(job, row + static_cast<size_t>(i), column + static_cast<size_t>(c), first[i][c], second[i][c]);
  }
}

// The job by value: a reference's fields would be read again behind every output.
template <int format, int kRows, bool kGated>
static __attribute__((noinline)) void few_ints(const Job job, Range columns, const uint8_t* x, size_t row) {
  constexpr int kColumns = format == kInt4 && kRows == 1 ? 2 : 1;
  size_t column = columns.begin;
  for (; column + kColumns <= columns.end; column += kColumns)
    int_outputs<format, kRows, kColumns, kGated>(job, column, x, row);
  for (; column < columns.end; column++) int_outputs<format, kRows, 1, kGated>(job, column, x, row);
}

template <int format, int kRows>
INLINE void few_ints(const Job& job, Range columns, const uint8_t* x, size_t row) {
  if (is_gated(job.end)) few_ints<format, kRows, true>(job, columns, x, row);
  else few_ints<format, kRows, false>(job, columns, x, row);
}

// Rows of x that stay in cache while weights pass by.
template <int format>
static void int_rows(const Job& job, Range columns, const uint8_t* x, size_t m) {
  const size_t bytes = int_row_bytes(job.k);
  if (m <= kFew) {
    size_t i = 0;
    for (; i + 4 <= m; i += 4) few_ints<format, 4>(job, columns, x + i * bytes, i);
    for (; i + 2 <= m; i += 2) few_ints<format, 2>(job, columns, x + i * bytes, i);
    for (; i < m; i++) few_ints<format, 1>(job, columns, x + i * bytes, i);
    return;
  }
  for (size_t first = 0; first < m; first += kIntRows) {
    const size_t end = min(first + kIntRows, m);
    for (size_t column = columns.begin; column < columns.end; column += kPanelRows) {
      const Range some{column, min(column + kPanelRows, columns.end)};
      size_t i = first;
      for (; i + 4 <= end; i += 4) few_ints<format, 4>(job, some, x + i * bytes, i);
      for (; i < end; i++) few_ints<format, 1>(job, some, x + i * bytes, i);
    }
  }
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

// bfloat16 and float16 weights as gemm.h reads them.
template <int format>
struct HalfFloats {
  static constexpr double kBytes = 2;
  const uint16_t* p;
  size_t stride;
  INLINE VF read(const HalfFloats& from, size_t row, size_t column, size_t count) {
    const uint16_t* p = from.p + row * from.stride + column;
    uint16_t part[kLanes] = {};
    if (count < kLanes) {
      for (size_t i = 0; i < count; i++) part[i] = p[i];
      p = part;
    }
    return format == kF16 ? load_half(p) : load_bf16(p);
  }
};

// x: the rows of x, ready; product: room for outputs before their end.
template <class Weights>
static void gemm_rows_of(const Call& call, const Job& job, const float* x, size_t m, Weights weights, float* product) {
  const size_t columns = is_gated(job.end) ? (job.n + kPanelRows - 1) / kPanelRows * 2 * kPanelRows : job.n;
  const bool straight = job.end == kEndStore;
  const Term<RowsInPlace<float>, AlongK<FloatWords<Weights>>> term{{x, job.stride}, {{weights}}, job.k, 1};
  gemm<Float32Product>(call, m, columns, &term, 1, StoreFloat{straight ? job.y : product, columns, false});
  if (straight) return;
  call.barrier();
  apply_end(call, job.end, product, columns, job.y, m, job.n);
}

}  // namespace

KERNEL(matrix_linear) {
  const float *x = call.f32(0), *gain = call.f32(1);
  const size_t m = call.size(0), k = call.size(2);
  const Job job{call.u8(2), call.f32(3), call.size(1), k, int4_blocks(k) * kInt4Block + 16, call.integer(4), call.integer(5)};
  const double eps = call.real(3);
  const bool ints = job.format == kInt8 || job.format == kInt4;
  const size_t ready_bytes = ints ? int_row_bytes(k) : job.stride * 4;
  float* own = call.scratch<float>();
  uint8_t* const base = m > kFew ? reinterpret_cast<uint8_t*>(call.f32(4)) : call.scratch<uint8_t>();
  float* normed = reinterpret_cast<float*>(call.scratch<uint8_t>() + (m > kFew ? 0 : m * ready_bytes));
  auto ready = [&](size_t row) {
    uint8_t* const to = base + row * ready_bytes;
    float* floats = ints ? normed : reinterpret_cast<float*>(to);
    const float* from = normed_row(x + row * k, gain, eps, k, floats);
    if (job.format == kInt8) return ready_int_row<false>(from, k, to);
    if (job.format == kInt4) return ready_int_row<true>(from, k, to);
    for (size_t c = from == floats ? k : 0; c < job.stride; c++) floats[c] = c < k ? from[c] : 0;
  };
  const Range columns = call.split(job.n, kPanelRows);
  if (m > kFew) {
    // The rows of x, ready, in a workspace of all threads.
    const Range rows = call.split(m);
    for (size_t row = rows.begin; row < rows.end; row++) ready(row);
    call.barrier();
  } else {
    for (size_t row = 0; row < m; row++) ready(row);
  }
  if (job.format == kInt8) return int_rows<kInt8>(job, columns, base, m);
  if (job.format == kInt4) return int_rows<kInt4>(job, columns, base, m);
  const float* rows = reinterpret_cast<const float*>(base);
  if (m > kMany) {
    const uint16_t* halves = reinterpret_cast<const uint16_t*>(job.weights);
    if (job.format == kF16) return gemm_rows_of(call, job, rows, m, HalfFloats<kF16>{halves, k}, call.f32(5));
    if (job.format == kBf16) return gemm_rows_of(call, job, rows, m, HalfFloats<kBf16>{halves, k}, call.f32(5));
    return gemm_rows_of(call, job, rows, m, Floats{reinterpret_cast<const float*>(job.weights), k}, call.f32(5));
  }
  if (m > kFew) return many_rows(job, columns, rows, m, own);
  switch (job.format) {
    case kF32: return few_rows<kF32>(job, columns, rows, 0, m);
    case kBf16: return few_rows<kBf16>(job, columns, rows, 0, m);
    default: return few_rows<kF16>(job, columns, rows, 0, m);
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

// Rows of weights as a file holds them (native/weight-sources.h) to rows of a matrix: row n goes to row first + (n / 16) ·
// step + n % 16.
KERNEL(pack_matrix) {
  const size_t n = call.size(0), k = call.size(1), first = call.size(2), step = call.size(3);
  const int format = call.integer(4), source = call.integer(5);
  const size_t from_bytes = source_row_bytes(source, k);
  float* const floats = call.scratch<float>();
  const Range mine = call.split(n);
  for (size_t row = mine.begin; row < mine.end; row++) {
    const uint8_t* from = call.u8(0) + row * from_bytes;
    uint8_t* to = call.u8(1) + (first + row / kPanelRows * step + row % kPanelRows) * row_bytes(format, k);
    if ((format == kF32 && source == kFromF32) || (format == kF16 && source == kFromF16) ||
        (format == kBf16 && source == kFromBf16)) {
      __builtin_memcpy(to, from, from_bytes);
      continue;
    }
    source_floats(source, from, k, floats);
    pack_row(format, floats, k, to);
  }
}

}  // namespace bitnet::ISA_NS
