// One AdamW step over moments of eight bits, fused: of each weight, 16 bytes go through the processor (AdamW's 28 in
// float32). See index.ts; the definition, and what the codes mean, is in reference.ts.
//
// A block of 256 is decoded into a buffer in the first-level cache, updated there with its weights, and encoded with its
// new scales. Blocks are independent: any number of threads gives the same bits.
#include "../../../native/adamw.h"

namespace bitnet::ISA_NS {

constexpr size_t kBlock = 256;  // as stateBlock in reference.ts

// The values of the codes. Built by the compiler: a static constructor would run on every machine.
template <bool kSigned>
struct Codebook {
  float values[256];
  constexpr Codebook() : values{} {
    double unit = 1e-6;
    const int zero = kSigned ? 127 : 0;
    int at = 1;
    for (int decade = 0; decade < 7; decade++, unit *= 10) {
      const int count = (kSigned ? 1 : 2) << decade;
      for (int j = 0; j < count; j++, at++) {
        const double value = unit * (0.1 + 0.9 * (j + 0.5) / count);
        values[zero + at] = static_cast<float>(value);
        if (kSigned) values[zero - at] = -static_cast<float>(value);
      }
    }
    values[255] = 1;
  }
};
constexpr Codebook<true> kSignedCodes;
constexpr Codebook<false> kUnsignedCodes;

template <class Codes>
INLINE void decode(float* to, const uint8_t* codes, size_t n, float scale, const Codes& book) {
  for (size_t i = 0; i < n; i++) to[i] = book.values[codes[i]] * scale;
}

// Where a in [0, 1] stands among the values: a decade's cells are numbered from 2^i to 2^(i+1), and the value of a cell is
// in its middle. Each decade has twice the cells of the one below over ten times its width: straight lines that bend down
// where they meet, so that the least of all is the right one.
INLINE VF position_of(VF a) {
  VF least = fma(a, splat(static_cast<float>(1e6 / 0.9)), splat(static_cast<float>(8 / 9.)));
  UNROLL for (int i = 1; i < 7; i++) {
    constexpr double slopes[] = {1e6 / 0.9, 2e5 / 0.9, 4e4 / 0.9, 8e3 / 0.9, 1.6e3 / 0.9, 320 / 0.9, 64 / 0.9};
    least = min(least, fma(a, splat(static_cast<float>(slopes[i])), splat(static_cast<float>((8 << i) / 9.))));
  }
  return least;
}

// The cell whose value is nearest. A cell ends half way between two values, but where a decade begins (at powers of two):
// with n cells in the decade below 10^k, the values beside 10^k are 10^k (1 - 0.45 / n) and 10^k (1 + 2.25 / n), and their
// middle, 10^k (1 + 0.9 / n), is a fifth of the upper cell in. Cell 1 begins at 1e-7 and its value is 5.5e-7: half of that,
// where the signed codes' zero ends, is 7/36 in.
INLINE VI nearest_cell(VF position) {
  const VI cell = __builtin_convertvector(position, VI);
  const VI begins = (cell & (cell - 1)) == 0;
  const VF middle = select(cell == 1, splat(7 / 36.f), splat(0.2f));
  return cell + (begins & (position - to_float(cell) < middle));  // true is -1
}

// 127 + number of the value among the positive ones, or minus that among the negative; 1 is there with a plus only.
INLINE VI encode_signed(VF x, float inverse) {
  const VF a = abs(x) * inverse, position = position_of(a);
  VI cell = min(nearest_cell(position), splat(127));
  cell = select((x > 0.f) & (position >= 127.75f), splat(128), cell);
  return 127 + select(x < 0.f, -cell, cell);
}

// Number of the value; 0 for zero alone. Twice as many cells, the first being number 2.
INLINE VI encode_unsigned(VF x, float inverse) {
  const VF a = x * inverse, position = 2.f * position_of(a);
  const VI cell = max(nearest_cell(position), select(a > 0.f, splat(2), splat(1)));
  return select(position >= 255.75f, splat(256), cell) - 1;
}

// The block's new codes and scale. `encode` takes lanes and the inverse of the scale.
template <class Encode>
INLINE void encode_block(uint8_t* codes, float* scale, const float* values, size_t n, VF largest_lanes, Encode encode) {
  const float found = largest(largest_lanes);
  // The inverse of a smaller one can be infinite, and such moments move nothing.
  *scale = found >= 0x1p-126f ? found : 0;
  const float inverse = *scale > 0 ? 1 / found : 0;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_u8(codes + i, encode(load(values + i), inverse));
  if (i == n) return;
  uint8_t last[kLanes];
  store_u8(last, encode(load(values + i), inverse));
  for (size_t k = 0; i + k < n; k++) codes[i + k] = last[k];
}

template <bool kCautious>
static void adamw_8bit_with(const Call& call) {
  float *weight = call.f32(0), *m_scale = call.f32(4), *v_scale = call.f32(5);
  const float* gradient = call.f32(1);
  uint8_t *m_codes = call.u8(2), *v_codes = call.u8(3);
  const size_t n = call.size(0);
  const AdamW s = AdamW::of(call);
  const Range mine = call.split((n + kBlock - 1) / kBlock);
  alignas(64) float m[kBlock] = {}, v[kBlock] = {};
  for (size_t block = mine.begin; block < mine.end; block++) {
    const size_t begin = block * kBlock, count = min(kBlock, n - begin);
    // Lanes beyond a short block's end hold what the block before left there.
    for (size_t i = count; i < kBlock; i++) m[i] = v[i] = 0;
    decode(m, m_codes + begin, count, m_scale[block], kSignedCodes);
    decode(v, v_codes + begin, count, v_scale[block], kUnsignedCodes);
    VF most_m = {}, most_v = {};
    for (size_t i = 0; i < count; i += kLanes) {
      const size_t left = min(count - i, static_cast<size_t>(kLanes));
      float* w_at = weight + begin + i;
      VF w = load_part(w_at, left), a = load(m + i), b = load(v + i);
      update<kCautious>(w, load_part(gradient + begin + i, left), a, b, s);
      store_part(w_at, w, left);
      store(m + i, a);
      store(v + i, b);
      most_m = max(abs(a), most_m);
      most_v = max(b, most_v);
    }
    encode_block(m_codes + begin, m_scale + block, m, count, most_m, encode_signed);
    encode_block(v_codes + begin, v_scale + block, v, count, most_v, encode_unsigned);
  }
}

KERNEL(adamw_8bit_step) { call.integer(8) ? adamw_8bit_with<true>(call) : adamw_8bit_with<false>(call); }

}  // namespace bitnet::ISA_NS
