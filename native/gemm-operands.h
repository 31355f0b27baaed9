// The operands of gemm.h: how A and B of each layout and type become words along k.
//
// Layouts, named for what lies next to each other in memory:
//   along k      A: [M, K] rows of x;  B: [N, K], a weight matrix as it is stored (its product is x · wᵀ)
//   along the other axis   A: [K, M], a transposed product (dYᵀ · X);  B: [K, N]
// Nothing is read outside [0, K) x [0, M or N); words are filled with zeros past the end of k.
#pragma once
#include "gemm.h"
#include "transpose.h"

namespace bitnet::ISA_NS {

// ---- values read along a row, as float32 lanes; `count` of them are there (the rest of the lanes is zero)

struct Floats {
  static constexpr double kBytes = 4;
  const float* p;
  size_t stride;
  INLINE VF read(const Floats& from, size_t row, size_t column, size_t count) {
    return load_part(from.p + row * from.stride + column, min(count, size_t{kLanes}));
  }
};

// Rows of `from`, each times a factor of its own.
struct ScaledFloats {
  static constexpr double kBytes = 4;
  const float* p;
  size_t stride;
  const float* row_scales;
  INLINE VF read(const ScaledFloats& from, size_t row, size_t column, size_t count) {
    return load_part(from.p + row * from.stride + column, min(count, size_t{kLanes})) * splat(from.row_scales[row]);
  }
};

// The memory of rows and columns of an array of T, or of what is read through one.
template <class T>
INLINE Block block_of(const T* p, size_t stride, size_t row, size_t rows, size_t column, size_t columns) {
  return {p + row * stride + column, stride * sizeof(T), rows, columns * sizeof(T)};
}

template <class Byte>
INLINE VI load_bytes_part(const Byte* p, size_t count) {
  VI v = {};
  int32_t* lanes = reinterpret_cast<int32_t*>(&v);
  for (size_t i = 0; i < count; i++) lanes[i] = p[i];
  return v;
}

// int8 activation codes, as float32.
struct Int8s {
  static constexpr double kBytes = 1;
  const int8_t* p;
  size_t stride;
  INLINE VF read(const Int8s& from, size_t row, size_t column, size_t count) {
    const int8_t* p = from.p + row * from.stride + column;
    return to_float(count >= kLanes ? load_i8(p) : load_bytes_part(p, count));
  }
};

// Ternary weight codes 0, 1, 2, as float32 -1, 0, 1.
struct TernaryCodes {
  static constexpr double kBytes = 1;
  const uint8_t* p;
  size_t stride;
  INLINE VF read(const TernaryCodes& from, size_t row, size_t column, size_t count) {
    const uint8_t* p = from.p + row * from.stride + column;
    if (count >= kLanes) return to_float(load_u8(p) - splat(1));
    return to_float(load_bytes_part(p, count) - splat(1));  // past the end -1, which is multiplied by A's zeros or not kept
  }
};

// ---- words along a row: kLanes of them, from `count` values of k (more is the same as a full vector's worth)

template <class Source>
struct FloatWords {
  static constexpr double kBytes = Source::kBytes;
  static constexpr size_t kGroup = 1;
  Source from;
  Block block(size_t row, size_t rows, size_t k, size_t count) const {
    return block_of(from.p, from.stride, row, rows, k, count);
  }
  INLINE VI words(const FloatWords& w, size_t row, size_t k, size_t count) {
    return (VI)Source::read(w.from, row, k, count);
  }
};

#if SIMD_BF16
template <class Source>
struct Bfloat16Words {
  static constexpr double kBytes = Source::kBytes;
  static constexpr size_t kGroup = 2;
  Source from;
  Block block(size_t row, size_t rows, size_t k, size_t count) const {
    return block_of(from.p, from.stride, row, rows, k, count);
  }
  INLINE VI words(const Bfloat16Words& w, size_t row, size_t k, size_t count) {
    VF first = Source::read(w.from, row, k, count);
    VF second = count > kLanes ? Source::read(w.from, row, k + kLanes, count - kLanes) : VF{};
    return (VI)(__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
  }
};
#endif

// Bytes as Int8Product takes them: in fours, or widened to int16 in twos.
template <class Byte>
struct ByteWords {
  static constexpr double kBytes = 1;
  static constexpr size_t kGroup = Int8Product::kGroup;
  const Byte* p;
  size_t stride;
  Block block(size_t row, size_t rows, size_t k, size_t count) const { return block_of(p, stride, row, rows, k, count); }
  INLINE VI words(const ByteWords& w, size_t row, size_t k, size_t count) {
    const Byte* p = w.p + row * w.stride + k;
    constexpr size_t kAll = kLanes * kGroup;
#if SIMD_AVX512
    if (count < kAll) return (VI)_mm512_maskz_loadu_epi8((__mmask64{1} << count) - 1, p);
#endif
    // What is left of a row, by eights: byte by byte it took as long as six whole vectors.
    uint64_t part[kAll / 8] = {};
    if (count < kAll) {
      size_t i = 0;
      for (; i + 8 <= count; i += 8) __builtin_memcpy(part + i / 8, p + i, 8);
      for (; i < count; i++) part[i / 8] |= uint64_t{static_cast<uint8_t>(p[i])} << (i % 8 * 8);
      p = reinterpret_cast<const Byte*>(part);
    }
#if SIMD_WASM
    v128_t bytes = wasm_v128_load64_zero(p);
    return (VI)(Byte(-1) < Byte(0) ? wasm_i16x8_extend_low_i8x16(bytes) : wasm_u16x8_extend_low_u8x16(bytes));
#else
    return load_bytes(p);
#endif
  }
};

// ---- B

// B(k, n) from rows along k: row n of `from`.
template <class Words>
struct AlongK {
  static constexpr double kBytes = Words::kBytes;
  static constexpr size_t kRoom = kPackedWords;
  Words from;
  Block block(size_t column, size_t columns, size_t k, size_t count) const {
    return from.block(column, columns, k, count);
  }
  void pack(int32_t* panels, size_t stride, size_t column, size_t columns, size_t k, size_t count) const {
    constexpr size_t kGroup = Words::kGroup;
    const size_t words = (count + kGroup - 1) / kGroup;
    for (size_t j0 = 0; j0 < columns; j0 += kTileColumns, panels += stride) {
      for (size_t j = 0; j < kTileColumns; j += kLanes) {
        for (size_t w = 0; w < words; w += kLanes) {
          VI block[kLanes];
          if (j0 + j + kLanes <= columns && (w + kLanes) * kGroup <= count) {
            UNROLL for (int i = 0; i < kLanes; i++)
              block[i] = Words::words(from, column + j0 + j + static_cast<size_t>(i), k + w * kGroup, kLanes * kGroup);
          } else {
            for (size_t i = 0; i < kLanes; i++)
              block[i] = j0 + j + i < columns
                             ? Words::words(from, column + j0 + j + i, k + w * kGroup, count - w * kGroup)
                             : VI{};
          }
          transpose(block);
          int32_t* to = panels + w * kTileColumns + j;
          if (w + kLanes <= words) {
            UNROLL for (int i = 0; i < kLanes; i++) store(to + static_cast<size_t>(i) * kTileColumns, block[i]);
          } else {
            for (size_t i = 0; w + i < words; i++) store(to + i * kTileColumns, block[i]);
          }
        }
      }
    }
  }
};

// One word for each column from rows k .. k + kGroup - 1 of `from`.
template <class Product, class Source>
INLINE VI word_across(const Source& from, size_t k, size_t count, size_t column, size_t columns) {
  VF first = Source::read(from, k, column, columns);
#if SIMD_BF16
  if constexpr (Product::kGroup == 2)
    return pair_bf16(first, count > 1 ? Source::read(from, k + 1, column, columns) : VF{});
#endif
  (void)count;
  return (VI)first;
}

// Ternary weight codes as the bytes that they are: those of kGroup rows, side by side in a word, the first lowest.
struct CodeBytes {
  static constexpr double kBytes = 1;
  const uint8_t* p;
  size_t stride;
};
template <class Product>
INLINE VI word_across(const CodeBytes& from, size_t k, size_t count, size_t column, size_t columns) {
  constexpr int kBits = 32 / static_cast<int>(Product::kGroup);
  VI word = {};
  UNROLL for (size_t i = 0; i < Product::kGroup; i++) {
    if (i >= count) break;
    const uint8_t* p = from.p + (k + i) * from.stride + column;
    word |= (columns >= kLanes ? load_u8(p) : load_bytes_part(p, columns)) << (static_cast<int>(i) * kBits);
  }
  return word;
}

// int8 values in words, as SignedInt8Product takes them; each with kPlus added, which then is at most a byte.
template <int kPlus>
struct SignedBytes {
  static constexpr double kBytes = 1;
  const int8_t* p;
  size_t stride;
};
template <class Product, int kPlus>
INLINE VI word_across(const SignedBytes<kPlus>& from, size_t k, size_t count, size_t column, size_t columns) {
  constexpr int kBits = 32 / static_cast<int>(Product::kGroup);
  VI word = {};
  UNROLL for (size_t i = 0; i < Product::kGroup; i++) {
    if (i >= count) break;
    const int8_t* p = from.p + (k + i) * from.stride + column;
    const VI values = (columns >= kLanes ? load_i8(p) : load_bytes_part(p, columns)) + splat(kPlus);
    word |= (values & splat((1 << kBits) - 1)) << (static_cast<int>(i) * kBits);
  }
  return word;
}

// B(k, n) from rows along n: row k of `from`. Row by row through all panels, so that memory is read in its own order.
template <class Product, class Source>
struct AlongColumns {
  static constexpr double kBytes = Source::kBytes;
  static constexpr size_t kRoom = kPackedWords;
  Source from;
  Block block(size_t column, size_t columns, size_t k, size_t count) const {
    return block_of(from.p, from.stride, k, count, column, columns);
  }
  void pack(int32_t* panels, size_t stride, size_t column, size_t columns, size_t k, size_t count) const {
    for (size_t i = 0; i < count; i += Product::kGroup, panels += kTileColumns) {
      int32_t* to = panels;
      size_t j0 = 0;
      if (i + Product::kGroup <= count) {
        for (; j0 + kTileColumns <= columns; j0 += kTileColumns, to += stride) {
          UNROLL for (size_t j = 0; j < kTileColumns; j += kLanes)
            store(to + j, word_across<Product>(from, k + i, Product::kGroup, column + j0 + j, kLanes));
        }
      }
      for (; j0 < columns; j0 += kTileColumns, to += stride) {
        for (size_t j = 0; j < kTileColumns; j += kLanes) {
          const size_t at = j0 + j;
          store(to + j, at < columns ? word_across<Product>(from, k + i, count - i, column + at, columns - at) : VI{});
        }
      }
    }
  }
};

// ---- A

// A(m, k) read where it lies: float32 rows, or int8 rows of a whole number of words.
template <class T>
struct RowsInPlace {
  static constexpr double kBytes = sizeof(T);
  static constexpr bool kPanels = false;
  const T* p;
  size_t stride;
  Block block(size_t row, size_t rows, size_t k, size_t count) const { return block_of(p, stride, row, rows, k, count); }
  RowsOfA rows(size_t row, size_t, size_t k, size_t, int32_t*, int32_t*) const {
    return {reinterpret_cast<const uint8_t*>(p + row * stride + k), stride * sizeof(T)};
  }
};

// A(m, k) from rows along k that need converting (or padding): copied row by row.
template <class Words>
struct RowsConverted {
  static constexpr double kBytes = Words::kBytes;
  static constexpr bool kPanels = false;
  Words from;
  Block block(size_t row, size_t rows, size_t k, size_t count) const { return from.block(row, rows, k, count); }
  RowsOfA rows(size_t row, size_t rows, size_t k, size_t count, int32_t* scratch, int32_t*) const {
    constexpr size_t kGroup = Words::kGroup;
    // Rows start on a vector; an odd number of vectors keeps them from falling on the same cache sets.
    const size_t stride = ((count + kGroup * kLanes - 1) / (kGroup * kLanes) | 1) * kLanes;
    for (size_t i = 0; i < rows; i++) {
      int32_t* to = scratch + i * stride;
      for (size_t done = 0; done < count; done += kLanes * kGroup)
        store(to + done / kGroup, Words::words(from, row + i, k + done, count - done));
    }
    return {reinterpret_cast<const uint8_t*>(scratch), stride * 4};
  }
};

// A(m, k) from rows along m: column m of `from`, in panels of kTileRows.
template <class Product, class Source>
struct ColumnsOfA {
  static constexpr double kBytes = Source::kBytes;
  static constexpr bool kPanels = true;
  Source from;
  Block block(size_t row, size_t rows, size_t k, size_t count) const {
    return block_of(from.p, from.stride, k, count, row, rows);
  }
  RowsOfA rows(size_t row, size_t rows, size_t k, size_t count, int32_t* scratch, int32_t* line) const {
    const size_t words = (count + Product::kGroup - 1) / Product::kGroup;
    const size_t stride = words * kTileRows + kPad;
    for (size_t w = 0; w < words; w++) {
      const size_t at = k + w * Product::kGroup, left = count - w * Product::kGroup;
      for (size_t i = 0; i < rows; i += kLanes)
        store(line + i, word_across<Product>(from, at, left, row + i, rows - i));
      int32_t* to = scratch + w * kTileRows;
      for (size_t i = 0; i < rows; i += kTileRows, to += stride)
        __builtin_memcpy(to, line + i, kTileRows * 4);
    }
    return {reinterpret_cast<const uint8_t*>(scratch), stride * 4};
  }
};

}  // namespace bitnet::ISA_NS
