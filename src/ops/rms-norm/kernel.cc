// RMSNorm, forward and backward. See index.ts; the definition is in reference.ts. Bound by memory, so sums over a row
// and over the rows are float64: they cost nothing, and hold for any width and any number of tokens.
#include "../../../native/simd64.h"

namespace bitnet::ISA_NS {

INLINE size_t part(size_t at, size_t end) { return min(static_cast<size_t>(kLanes), end - at); }

// The sum of term(offset, lanes) over a row, in float64; the last call asks for fewer lanes and gives zeros beyond.
template <class Term>
INLINE double sum_row(size_t width, Term term) {
  VD low = {}, high = {};
  for (size_t c = 0; c < width; c += kLanes) {
    const size_t n = part(c, width);
    term(c, n, low, high);
  }
  return sum(low + high);
}

KERNEL(rms_norm_forward) {
  const float *x = call.f32(0), *gain = call.f32(1);
  float *y = call.f32(2), *inverse = call.f32(3);
  const size_t width = call.size(1);
  const double eps = call.real(2);
  const Range mine = call.split(call.size(0));
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float* row = x + m * width;
    float* out = y + m * width;
    const double squares = sum_row(width, [&](size_t c, size_t n, VD& low, VD& high) {
      const VF v = load_part(row + c, n);
      const VD a = widen_low(v), b = widen_high(v);
      low += a * a;
      high += b * b;
    });
    const float r = static_cast<float>(1 / sqrt(squares / static_cast<double>(width) + eps));
    inverse[m] = r;
    const VF vr = splat(r);
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t n = part(c, width);
      store_part(out + c, load_part(gain + c, n) * (load_part(row + c, n) * vr), n);
    }
  }
}

KERNEL(rms_norm_backward_input) {
  const float *x = call.f32(0), *gain = call.f32(1), *inverse = call.f32(2), *dy = call.f32(3);
  float* dx = call.f32(4);
  const size_t width = call.size(1);
  const bool accumulate = call.integer(2) != 0;
  const Range mine = call.split(call.size(0));
  for (size_t m = mine.begin; m < mine.end; m++) {
    const float *row = x + m * width, *up = dy + m * width;
    float* out = dx + m * width;
    const double dot = sum_row(width, [&](size_t c, size_t n, VD& low, VD& high) {
      const VF v = load_part(gain + c, n) * load_part(up + c, n) * load_part(row + c, n);
      low += widen_low(v);
      high += widen_high(v);
    });
    const VF r = splat(inverse[m]);
    const VF mean = splat(static_cast<float>(dot * inverse[m] / static_cast<double>(width)));
    for (size_t c = 0; c < width; c += kLanes) {
      const size_t n = part(c, width);
      const VF g = load_part(gain + c, n) * load_part(up + c, n);
      VF d = r * (g - load_part(row + c, n) * r * mean);
      if (accumulate) d += load_part(out + c, n);
      store_part(out + c, d, n);
    }
  }
}

// Each thread sums its share of the rows in its scratch; then each adds up, for a share of the columns, what all have, in
// the order of the threads. (Columns alone shared out would need no second step, but rows read in strips are five times
// slower.)
KERNEL(rms_norm_backward_gain) {
  const float *x = call.f32(0), *inverse = call.f32(1), *dy = call.f32(2);
  float* dgain = call.f32(3);
  const size_t width = call.size(1);
  const bool accumulate = call.integer(2) != 0;
  constexpr size_t kBlock = 2048;  // columns at a time: their float64 sums (16 KB) stay in the first cache
  VD* sums = call.scratch<VD>();   // two for each kLanes columns
  VD** everyones = call.shared<VD*>();
  everyones[call.thread] = sums;
  const Range mine = call.split(call.size(0));
  for (size_t begin = 0; begin < width; begin += kBlock) {
    const size_t columns = min(kBlock, width - begin);
    for (size_t c = 0; c < columns; c += kLanes) sums[c / kDoubles] = sums[c / kDoubles + 1] = VD{};
    for (size_t m = mine.begin; m < mine.end; m++) {
      const float *row = x + m * width + begin, *up = dy + m * width + begin;
      const VF r = splat(inverse[m]);
      for (size_t c = 0; c < columns; c += kLanes) {
        const size_t n = part(c, columns);
        const VF v = load_part(up + c, n) * load_part(row + c, n) * r;
        sums[c / kDoubles] += widen_low(v);
        sums[c / kDoubles + 1] += widen_high(v);
      }
    }
    call.barrier();
    const Range own = call.split(columns, 16);
    for (size_t c = own.begin; c < own.end; c++) {
      double s = accumulate ? dgain[begin + c] : 0;
      for (int t = 0; t < call.threads; t++) s += everyones[t][c / kDoubles][c % kDoubles];
      dgain[begin + c] = static_cast<float>(s);
    }
    call.barrier();  // before the sums are overwritten
  }
}

}  // namespace bitnet::ISA_NS
