// Oscillating codes, tracked and fixed. See index.ts; the definition, and what the flags mean, is in reference.ts. Bound by
// memory (27 bytes a weight).
#include "../../../native/simd.h"
#include "../../../native/ternary-codes.h"

namespace bitnet::ISA_NS {

KERNEL(oscillation_start) {
  const uint8_t* codes = call.u8(0);
  uint8_t* flags = call.u8(1);
  float* mean = call.f32(2);
  const Range mine = call.split(call.size(0), 64);
  for (size_t i = mine.begin; i < mine.end; i++) {
    flags[i] = static_cast<uint8_t>(codes[i] | 1 << 2);
    mean[i] = static_cast<float>(codes[i]) - 1;
  }
}

struct OscillationCounts {
  VI changed, oscillated, fixed;
};

// Of lanes beyond the end all is zero: nothing changes there, and nothing is counted.
INLINE void track_codes(VF& weight, VI code, VI& flags, VF& frequency, VF& mean, const VF (&s)[4], OscillationCounts& counts) {
  const VF keep = s[0], take = s[1], threshold = s[2], scale = s[3];
  const VI previous = flags & 3, before = (flags >> 2) & 3, was_fixed = -((flags >> 4) & 1);
  const VI changed = (code != previous) & ~was_fixed;
  const VI now = select(code > previous, splat(2), splat(0));
  const VI oscillated = changed & (before == 2 - now);
  frequency = select(was_fixed, frequency, fma(keep, frequency, select(oscillated, take, splat(0.f))));
  mean = select(was_fixed, mean, fma(keep, mean, take * to_float(code - 1)));
  const VI fixes = (frequency > threshold) & ~was_fixed;
  const VI fixed = was_fixed | fixes;
  const VI rounded = ternary_code(mean);
  const VI fixed_code = select(was_fixed, (flags >> 5) & 3, rounded);
  const VI tracked = code | select(changed, now, before) << 2 | (fixes & (16 | rounded << 5));
  flags = select(was_fixed, flags, tracked);
  weight = select(fixed, to_float(fixed_code - 1) * scale, weight);
  counts.changed -= changed, counts.oscillated -= oscillated, counts.fixed -= fixed;
}

KERNEL(oscillation_track) {
  float *weight = call.f32(0), *frequency = call.f32(4), *mean = call.f32(5);
  const uint8_t* codes = call.u8(1);
  uint8_t* flags = call.u8(3);
  const VF s[4] = {splat(static_cast<float>(1 - call.real(1))), splat(call.number(1)), splat(call.number(2)),
                   splat(call.f32(2)[0])};
  const Range mine = call.split(call.size(0), 64);
  OscillationCounts counts = {};
  size_t i = mine.begin;
  for (; i + kLanes <= mine.end; i += kLanes) {
    VF w = load(weight + i), f = load(frequency + i), e = load(mean + i);
    VI bits = load_u8(flags + i);
    track_codes(w, load_u8(codes + i), bits, f, e, s, counts);
    store(weight + i, w);
    store(frequency + i, f);
    store(mean + i, e);
    store_u8(flags + i, bits);
  }
  if (const size_t rest = mine.end - i) {
    uint8_t last_codes[kLanes] = {}, last_flags[kLanes] = {};
    for (size_t k = 0; k < rest; k++) last_codes[k] = codes[i + k], last_flags[k] = flags[i + k];
    VF w = load_part(weight + i, rest), f = load_part(frequency + i, rest), e = load_part(mean + i, rest);
    VI bits = load_u8(last_flags);
    track_codes(w, load_u8(last_codes), bits, f, e, s, counts);
    store_part(weight + i, w, rest);
    store_part(frequency + i, f, rest);
    store_part(mean + i, e, rest);
    store_u8(last_flags, bits);
    for (size_t k = 0; k < rest; k++) flags[i + k] = last_flags[k];
  }

  int32_t* partial = call.shared<int32_t>() + 3 * call.thread;
  partial[0] = sum(counts.changed), partial[1] = sum(counts.oscillated), partial[2] = sum(counts.fixed);
  call.barrier();
  if (call.thread != 0) return;
  int32_t* into = call.i32(6) + 3 * call.size(3);
  for (int k = 0; k < 3; k++) {
    into[k] = 0;
    for (int t = 0; t < call.threads; t++) into[k] += call.shared<int32_t>()[3 * t + k];
  }
}

}  // namespace bitnet::ISA_NS
