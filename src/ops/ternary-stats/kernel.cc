// Counts of ternary codes, and a copy of bytes. See index.ts; the definition is in reference.ts. Bound by memory.
#include "../../../native/simd.h"

namespace bitnet::ISA_NS {

typedef uint8_t VB __attribute__((vector_size(kVectorBytes)));

INLINE int32_t total(VB counts) {
  int32_t s = 0;
  for (int i = 0; i < kVectorBytes; i++) s += counts[i];
  return s;
}

KERNEL(ternary_stats) {
  const uint8_t* codes = call.u8(0);
  const uint8_t* previous = call.has(1) ? call.u8(1) : codes;  // nothing differs from itself
  const Range mine = call.split(call.size(0), 64);
  int32_t counts[4] = {};
  size_t i = mine.begin;
  while (i + kVectorBytes <= mine.end) {
    // Counted in bytes, which hold 255; a true lane is 255 too, that is -1.
    VB lanes[4] = {};
    for (int k = 0; k < 255 && i + kVectorBytes <= mine.end; k++, i += kVectorBytes) {
      const VB code = (VB)load_bytes(codes + i), before = (VB)load_bytes(previous + i);
      lanes[0] -= (VB)(code == 0);
      lanes[1] -= (VB)(code == 1);
      lanes[2] -= (VB)(code == 2);
      lanes[3] -= (VB)(code != before);
    }
    for (int k = 0; k < 4; k++) counts[k] += total(lanes[k]);
  }
  for (; i < mine.end; i++) {
    if (codes[i] <= 2) counts[codes[i]]++;
    counts[3] += codes[i] != previous[i];
  }

  int32_t* partial = call.shared<int32_t>();
  for (int k = 0; k < 4; k++) partial[4 * call.thread + k] = counts[k];
  call.barrier();
  if (call.thread != 0) return;
  int32_t* into = call.i32(2) + 4 * call.size(1);
  for (int k = 0; k < 4; k++) {
    into[k] = 0;
    for (int t = 0; t < call.threads; t++) into[k] += partial[4 * t + k];
  }
}

KERNEL(copy_bytes) {
  uint8_t* into = call.u8(0);
  const uint8_t* from = call.u8(1);
  const Range mine = call.split(call.size(0), 64);
  size_t i = mine.begin;
  for (; i + kVectorBytes <= mine.end; i += kVectorBytes) store_bytes(into + i, load_bytes(from + i));
  for (; i < mine.end; i++) into[i] = from[i];
}

}  // namespace bitnet::ISA_NS
