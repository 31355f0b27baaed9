// Ternary weight codes and their scale, the median magnitude. The definition is in reference.ts.
#include "native/simd.h"
#include "native/ternary-codes.h"

namespace bitnet::ISA_NS {

// The numbers from 0 up are ordered as their bits, so the median is found by its bits, eight at a time from the top: each
// pass counts, of the magnitudes whose higher bits are those found so far, how many have each value of the next eight.
constexpr size_t kBins = 256;
// More threads than their counts have room for in shared memory only wait.
constexpr int kCounting = kSharedBytes / (kBins * sizeof(uint32_t));

// w [size] float32 -> codes [size] 0, 1 or 2, scale [1]. rule 0: s = median|w| + eps and t = w / s; rule 1: s =
// max(median|w|, eps) and t = w · (1 / s).
KERNEL(median_quant) {
  const float* w = call.f32(0);
  uint8_t* codes = call.u8(1);
  float* scale = call.f32(2);
  const size_t size = call.size(0);
  const bool clamp = call.integer(1) != 0;
  const float eps = call.number(2);

  const int counting = call.threads < kCounting ? call.threads : kCounting;
  const size_t t = static_cast<size_t>(call.thread < counting ? call.thread : counting);
  const size_t share = size / static_cast<size_t>(counting), rest = size % static_cast<size_t>(counting);
  const size_t begin = t * share + (t < rest ? t : rest), end = begin + (call.thread < counting ? share + (t < rest) : 0);

  uint32_t found = 0;
  size_t before = (size - 1) / 2;  // of the magnitudes that are left, how many come before the median
  bool finite = true;
  for (int shift = 23; shift >= -1; shift -= 8) {
    // The last pass has seven bits: 31 in all, without the sign.
    const int low = shift < 0 ? 0 : shift;
    const uint32_t bins = shift < 0 ? 128 : 256;
    const int high = low + (shift < 0 ? 7 : 8);
    // Four counts of each, in turns: neighbors often fall together, and would wait for each other.
    uint32_t* mine = call.scratch<uint32_t>();
    for (size_t i = 0; i < 4 * kBins; i++) mine[i] = 0;
    for (size_t i = begin; i < end; i++) {
      uint32_t bits;
      __builtin_memcpy(&bits, w + i, 4);
      bits &= 0x7fffffffu;
      if (high < 31 && bits >> high != found >> high) continue;
      mine[(i & 3) * kBins + ((bits >> low) & (bins - 1))]++;
    }
    uint32_t* all = call.shared<uint32_t>();
    if (call.thread < counting)
      for (size_t i = 0; i < kBins; i++)
        all[t * kBins + i] = mine[i] + mine[kBins + i] + mine[2 * kBins + i] + mine[3 * kBins + i];
    call.barrier();
    const auto total = [&](size_t bin) {
      size_t sum = 0;
      for (int one = 0; one < counting; one++) sum += all[static_cast<size_t>(one) * kBins + bin];
      return sum;
    };
    if (shift == 23 && total(255) > 0) finite = false;
    uint32_t bin = 0;
    for (; bin + 1 < bins; bin++) {
      const size_t here = total(bin);
      if (before < here) break;
      before -= here;
    }
    found |= bin << low;
    // Before the counts are written again.
    call.barrier();
  }
  float median;
  __builtin_memcpy(&median, &found, 4);
  if (!finite) median = __builtin_nanf("");
  const float s = ternary_codes(w, codes, call.split(size, 16), median, clamp, eps);
  if (call.thread == 0) scale[0] = s;
}

}  // namespace bitnet::ISA_NS
