// Packed ternary weights, and the products of a few rows of activations by them.
//
// A panel is 16 rows of the matrix. Along k it is a list of 64-byte blocks: 4 bytes of each row, so that one 512-bit
// vector (or two, or four smaller ones) holds a word of each row, and each lane sums a row of its own: nothing is added
// across lanes. A thread's panels are one stretch of memory, read once from end to end.
//
//   two bits   a block is 16 weights of each row; bits 2j, 2j+1 of byte b hold weight 4j + b           (code q + 1)
//   trits      a block is 20 weights of each row; digit t (of 3^(4-t)) of byte b holds weight 4t + b;  byte =
//              ceil(value · 256 / 243), so that a digit is the integer part of 3 · byte / 256 (as in ggml's TQ1_0). Two
//              averages with rounding give one more than it, exactly: (byte + (byte + 253 + 1) / 2 + 1) / 2 / 64
//
// Instructions for 64 bytes, one row of activations, AVX-512: two bits, 4 ANDs and 4 VPDPBUSD (which reads its broadcast
// word from memory): 8, or 4 cycles of Zen 4: 58 GB/s at 3.65 GHz where memory gives 28 to 32, or two threads 36. Trits, one
// digit by arithmetic and four by looking the byte up, as two-bit fields: 2 VPAVGB, VPMOVB2M, 2 VPERMI2B, VPBLENDMB, 5 ANDs
// and 5 VPDPBUSD: 16, or 8 cycles: 29 GB/s, so two threads read as fast as memory gives, and one nearly. All digits by
// arithmetic, as other machines do it, are 28: 14 to 17 GB/s.
// What makes two bits cheap: a field is not shifted down. Left where it is, its codes count 4^j times, and so does their
// sum, which is shifted down once at the end; four sums, one for each place, also hide the latency.
#pragma once
#include "native/gemm-products.h"
#include "native/linear-ends.h"

namespace bitnet::ISA_NS {

constexpr size_t kBlockBytes = 64;
constexpr int kPanelVectors = static_cast<int>(kPanelRows) / kLanes;

// Fields of bytes stay where they are, multiplied by a power of 4. Where bytes are multiplied as signed ones, or sums are
// of 16 bits, they are shifted down first.
#if SIMD_AVX512 || SIMD_WASM
constexpr bool kInPlace = true;
#else
constexpr bool kInPlace = false;
#endif

INLINE VI bytes_of(uint32_t word) { return splat(static_cast<int32_t>(word)); }
INLINE VI average_bytes(VI a, VI b) {
#if SIMD_AVX512
  return (VI)_mm512_avg_epu8((__m512i)a, (__m512i)b);
#elif SIMD_AVX2
  return (VI)_mm256_avg_epu8((__m256i)a, (__m256i)b);
#elif SIMD_SSE4
  return (VI)_mm_avg_epu8((__m128i)a, (__m128i)b);
#elif SIMD_WASM
  return (VI)wasm_u8x16_avgr((v128_t)a, (v128_t)b);
#else
  return (VI)vrhaddq_u8((uint8x16_t)a, (uint8x16_t)b);
#endif
}
typedef uint8_t VB __attribute__((vector_size(kVectorBytes)));
INLINE VI triple_bytes(VI a) { return (VI)((VB)a + (VB)a + (VB)a); }

// A format splits a vector of packed bytes into kWords fields: calls body(t, bytes), t in order, where each byte is
// (code + kBias) times 2^shift_of(t).
struct TwoBits {
  static constexpr size_t kWords = 4;
  static constexpr int kBias = 0;
  static constexpr int shift_of(int t) { return kInPlace ? 2 * t : 0; }
  template <class Body>
  INLINE void fields(VI v, Body body) {
    UNROLL for (int t = 0; t < 4; t++) {
      if (kInPlace) body(t, v & bytes_of(0x03030303u << (2 * t)));
      else body(t, (VI)((VU)v >> (2 * t)) & bytes_of(0x03030303u));
    }
  }
};

#if SIMD_AVX512 && defined(__AVX512VBMI__)
#define TRITS_BY_TABLE 1
// Digits 1 to 4 of every byte, each plus one, in bits 2(t - 1) and 2(t - 1) + 1.
struct TritTable {
  uint8_t of[256];
  constexpr TritTable() : of() {
    for (unsigned byte = 0; byte < 256; byte++) {
      unsigned rest = byte * 3 & 255, fields = 0;
      for (unsigned t = 1; t < 5; t++, rest = rest * 3 & 255) fields |= (rest * 3 / 256 + 1) << (2 * (t - 1));
      of[byte] = static_cast<uint8_t>(fields);
    }
  }
};
alignas(64) constexpr TritTable kTritTable;
#endif

struct Trits {
  static constexpr size_t kWords = 5;
  static constexpr int kBias = 1;
#if TRITS_BY_TABLE
  static constexpr int shift_of(int t) { return t == 0 ? 6 : 2 * (t - 1); }
  template <class Body>
  INLINE void fields(VI v, Body body) {
    body(0, average_bytes(v, average_bytes(v, bytes_of(0xfdfdfdfdu))) & bytes_of(0xc0c0c0c0u));
    const __m512i index = (__m512i)v;  // of which VPERMI2B takes 7 bits
    auto half = [&](int i) __attribute__((always_inline)) {
      return _mm512_permutex2var_epi8((__m512i)load_bytes(kTritTable.of + 128 * i), index,
                                      (__m512i)load_bytes(kTritTable.of + 128 * i + 64));
    };
    const VI rest = (VI)_mm512_mask_blend_epi8(_mm512_movepi8_mask(index), half(0), half(1));
    UNROLL for (int t = 1; t < 5; t++) body(t, rest & bytes_of(0x03030303u << shift_of(t)));
  }
#else
  static constexpr int shift_of(int) { return kInPlace ? 6 : 0; }
  template <class Body>
  INLINE void fields(VI v, Body body) {
    UNROLL for (int t = 0; t < 5; t++) {
      const VI top = average_bytes(v, average_bytes(v, bytes_of(0xfdfdfdfdu)));
      body(t, kInPlace ? top & bytes_of(0xc0c0c0c0u) : (VI)((VU)top >> 6) & bytes_of(0x03030303u));
      if (t < 4) v = triple_bytes(v);
    }
  }
#endif
};

// Activations as the product reads them, for each word of 4: the 4 bytes; for WASM, two pairs of int16, (x0, x2) and
// (x1, x3), since bytes at even and at odd places become int16 with one instruction each.
constexpr size_t kWordBytes = kInPlace && kLanes == 4 ? 8 : 4;

// codes [width] to `words` words, zero beyond.
INLINE void prepare_words(const int8_t* codes, size_t width, size_t words, int32_t* to) {
  auto at = [&](size_t k) { return k < width ? codes[k] : 0; };
  if (kWordBytes == 4) {
    int8_t* bytes = reinterpret_cast<int8_t*>(to);
    for (size_t k = 0; k < 4 * words; k++) bytes[k] = static_cast<int8_t>(at(k));
    return;
  }
  auto pair = [](int low, int high) { return static_cast<int32_t>((low & 0xffff) | static_cast<uint32_t>(high) << 16); };
  for (size_t w = 0; w < words; w++) {
    to[2 * w] = pair(at(4 * w), at(4 * w + 2));
    to[2 * w + 1] = pair(at(4 * w + 1), at(4 * w + 3));
  }
}

// sum += unsigned bytes · the word at x, lane by lane.
INLINE void add_word(VI& sum, VI bytes, const int32_t* x) {
#if SIMD_WASM
  const VI even = bytes & bytes_of(0x00ff00ffu);
  const VI odd = (VI)wasm_u16x8_shr((v128_t)bytes, 8);
  sum += (VI)wasm_i32x4_dot_i16x8((v128_t)even, wasm_v128_load32_splat(x));
  sum += (VI)wasm_i32x4_dot_i16x8((v128_t)odd, wasm_v128_load32_splat(x + 1));
#else
  Int8Product::add(sum, splat(load_word(x)), bytes);
#endif
}

// sums[i] = row i's activations · (codes + kBias), for the lanes of vector `part` of a panel; x rows are `stride` words (of 32 bits)
// apart.
template <class Format, int kRows>
INLINE void panel_sums(const uint8_t* panel, size_t blocks, const int32_t* x, size_t stride, VI (&out)[kRows]) {
  constexpr size_t kStep = Format::kWords * kWordBytes / 4;
#if SIMD_SHORT_SUMS
  // Sums of 16 bits, widened before they can overflow: a field adds 2 · (2 + kBias) · 127 at most.
  constexpr size_t kMost = 32767 / (2 * (2 + Format::kBias) * 127) / Format::kWords;
  UNROLL for (int i = 0; i < kRows; i++) out[i] = VI{};
  for (size_t block = 0; block < blocks;) {
    VI shorts[kRows];
    UNROLL for (int i = 0; i < kRows; i++) shorts[i] = VI{};
    for (const size_t end = min(block + kMost, blocks); block < end; block++, panel += kBlockBytes, x += kStep) {
      Format::fields(load_bytes(panel), [&](int t, VI bytes) __attribute__((always_inline)) {
        UNROLL for (int i = 0; i < kRows; i++)
          Int8Product::add_short(shorts[i], splat(load_word(x + static_cast<size_t>(i) * stride + t)), bytes);
      });
    }
    UNROLL for (int i = 0; i < kRows; i++) out[i] += Int8Product::widen(shorts[i]);
  }
#else
  // One sum for each place of a field while there are registers (words 4 apart have one place); then fields are shifted
  // down after all.
  constexpr bool kApart = kInPlace && kRows <= 2;
  constexpr int kEach = kRows <= 2 ? 4 : 1;
  VI sums[kRows][kEach];
  UNROLL for (int i = 0; i < kRows; i++) {
    UNROLL for (int j = 0; j < kEach; j++) sums[i][j] = VI{};
  }
  for (size_t block = 0; block < blocks; block++, panel += kBlockBytes, x += kStep) {
    Format::fields(load_bytes(panel), [&](int t, VI bytes) __attribute__((always_inline)) {
      if (!kApart) bytes = (VI)((VU)bytes >> Format::shift_of(t));
      UNROLL for (int i = 0; i < kRows; i++)
        add_word(sums[i][t % kEach], bytes,
                 x + static_cast<size_t>(i) * stride + static_cast<size_t>(t) * (kWordBytes / 4));
    });
  }
  UNROLL for (int i = 0; i < kRows; i++) {
    out[i] = VI{};
    UNROLL for (int j = 0; j < kEach; j++) out[i] += sums[i][j] >> (kApart ? Format::shift_of(j) : 0);
  }
#endif
}

// The same with float activations: sums[i] = x_i · q, q = code - 1. For comparison with programs that do not quantise
// activations; not made to be fast. x rows hold zeros past k.
template <class Format, int kRows>
INLINE void panel_float_sums(const uint8_t* panel, size_t blocks, const float* x, size_t stride, VF (&out)[kRows]) {
  UNROLL for (int i = 0; i < kRows; i++) out[i] = VF{};
  for (size_t block = 0; block < blocks; block++, panel += kBlockBytes, x += 4 * Format::kWords) {
    Format::fields(load_bytes(panel), [&](int t, VI bytes) __attribute__((always_inline)) {
      for (int b = 0; b < 4; b++) {
        const VF q = to_float(((VI)((VU)bytes >> (Format::shift_of(t) + 8 * b)) & splat(3)) - splat(1 + Format::kBias));
        UNROLL for (int i = 0; i < kRows; i++)
          out[i] = fma(splat(x[static_cast<size_t>(i) * stride + static_cast<size_t>(4 * t + b)]), q, out[i]);
      }
    });
  }
}

// ---- for products of many rows: the words of gemm.h

// B(k, n) of packed weights: gemm.h's panels are these, unpacked. K is a multiple of 4.
template <class Format>
struct PackedColumns {
  static constexpr double kBytes = 2;  // unpacking a weight takes about as long as reading so many
  static constexpr size_t kRoom = kSetWords;
  const uint8_t* p;
  size_t panel_bytes;

  static constexpr size_t kWeights = 4 * Format::kWords;
  Block block(size_t column, size_t columns, size_t k, size_t count) const {
    const size_t first = k / kWeights * kBlockBytes, end = min((k + count + kWeights - 1) / kWeights * kBlockBytes, panel_bytes);
    return {p + column / kPanelRows * panel_bytes + first, panel_bytes, (columns + kPanelRows - 1) / kPanelRows, end - first};
  }
  void pack(int32_t* panels, size_t stride, size_t column, size_t columns, size_t k, size_t count) const {
    constexpr size_t kGroup = Int8Product::kGroup;
    const size_t begin = k / kGroup, words = (count + kGroup - 1) / kGroup;
    for (size_t j0 = 0; j0 < columns; j0 += kTileColumns, panels += stride) {
      for (size_t j = 0; j < kTileColumns; j += kLanes) {
        int32_t* to = panels + j;
        auto put = [&](size_t word, VI v) __attribute__((always_inline)) {
          if (word - begin < words) store(to + (word - begin) * kTileColumns, v);  // below `begin` wraps to a large number
        };
        if (j0 + j >= columns) {
          for (size_t w = 0; w < words; w++) store(to + w * kTileColumns, VI{});
          continue;
        }
        const size_t at = column + j0 + j;
        const uint8_t* from = p + at / kPanelRows * panel_bytes + at % kPanelRows * 4;
        for (size_t block = k / kWeights; block * kWeights < k + count; block++) {
          Format::fields(load_bytes(from + block * kBlockBytes), [&](int t, VI bytes) __attribute__((always_inline)) {
            const VI codes = (VI)((VU)bytes >> Format::shift_of(t)) - bytes_of(0x01010101u * Format::kBias);
            const size_t word = block * Format::kWords + static_cast<size_t>(t);
            if (kGroup == 4) return put(word, codes);
            put(2 * word, (codes & splat(0xff)) | ((codes & splat(0xff00)) << 8));
            put(2 * word + 1, ((codes >> 16) & splat(0xff)) | ((codes >> 24) << 16));
          });
        }
      }
    }
  }
};

}  // namespace bitnet::ISA_NS
