// Pages of the cache, as kernels read and write them: their layout, a token put into one, a page read back as floats. The
// layout is defined in reference.ts.
#pragma once
#include "native/attention-sums.h"
#include "native/half.h"
#include "native/rows.h"
#include "native/transpose.h"

namespace bitnet::ISA_NS {

namespace {

// As `cacheFormats` in reference.ts.
enum CacheFormat { kCacheF32 = 0, kCacheF16 = 1, kCacheInt8 = 2, kCacheInt4 = 3 };

constexpr size_t kPage = 16;          // tokens of a page
constexpr size_t kChunk = kChunkKeys;  // keys of a unit of work
constexpr size_t kChunkPages = kChunk / kPage;
constexpr int kPageVectors = static_cast<int>(kPage) / kLanes;
constexpr size_t kRowNumbers = 4;     // of a row's plan: position, first position seen, first page's index, place in the table
constexpr size_t kMostHeads = 4;      // query heads that share a pass over the keys

struct Plan {
  const int32_t *numbers, *rows;  // all, and from the first row on
  size_t position(size_t row) const { return static_cast<size_t>(rows[kRowNumbers * row]); }
  size_t first(size_t row) const { return static_cast<size_t>(rows[kRowNumbers * row + 1]); }
  // The page that holds a position.
  size_t page(size_t row, size_t position) const {
    const int32_t* own = rows + kRowNumbers * row;
    return static_cast<size_t>(numbers[static_cast<size_t>(own[3]) + position / kPage - static_cast<size_t>(own[2])]);
  }
};

struct Shape {
  size_t rows, heads, groups, width;
  int format;

  size_t group() const { return heads / groups; }
  // Of one head's 16 keys or values in a page; the scales of int8 and int4 follow their codes.
  size_t head_bytes() const {
    return format == kCacheF32 ? 64 * width : format == kCacheF16 ? 32 * width : format == kCacheInt8 ? 16 * width + 64 : 8 * width + 64;
  }
  size_t code_bytes() const { return head_bytes() - (format >= kCacheInt8 ? 64 : 0); }
  size_t at(size_t page, size_t g) const { return (page * groups + g) * head_bytes(); }
};

// y = x turned by the row's angles, [cos of D/2, sin of D/2], as ops/rotary turns, to the bit; times `scale`.
INLINE void turn(const float* x, const float* angles, size_t width, float scale, float* y) {
  const size_t half = width / 2;
  const VF s = splat(scale);
  for (size_t i = 0; i < half; i += kLanes) {
    const size_t n = part(i, half);
    const VF cos = load_part(angles + i, n), sin = load_part(angles + half + i, n);
    const VF a = load_part(x + i, n), b = load_part(x + half + i, n);
    store_part(y + i, (a * cos - b * sin) * s, n);
    store_part(y + half + i, (b * cos + a * sin) * s, n);
  }
}

// One head's key (kTransposed) or value of one token into a page.
template <bool kTransposed>
INLINE void put_token(const Shape& s, const float* x, uint8_t* head, size_t token) {
  auto place = [&](size_t d) { return kTransposed ? d * kPage + token : token * s.width + d; };
  if (s.format == kCacheF32) {
    for (size_t d = 0; d < s.width; d++) reinterpret_cast<float*>(head)[place(d)] = x[d];
    return;
  }
  if (s.format == kCacheF16) {
    uint16_t* to = reinterpret_cast<uint16_t*>(head);
    uint16_t halves[kLanes];
    for (size_t d = 0; d < s.width; d += kLanes) {
      const size_t n = part(d, s.width);
      if (!kTransposed && n == kLanes) {
        store_half(to + place(d), load(x + d));
        continue;
      }
      store_half(halves, load_part(x + d, n));
      for (size_t i = 0; i < n; i++) to[place(d + i)] = halves[i];
    }
    return;
  }
  const int limit = s.format == kCacheInt8 ? 127 : 7;
  float most = 0;
  bool sound = true;
  for (size_t d = 0; d < s.width; d++) most = max(most, abs(x[d])), sound = sound && x[d] - x[d] == 0;
  const float inverse = most > 0 && sound ? static_cast<float>(limit) / most : 0;
  reinterpret_cast<float*>(head + s.code_bytes())[token] = sound ? most / static_cast<float>(limit) : __builtin_nanf("");
  if (s.format == kCacheInt8) {
    for (size_t d = 0; d < s.width; d++)
      reinterpret_cast<int8_t*>(head)[place(d)] = static_cast<int8_t>(to_int(sound ? x[d] * inverse : 0.0f));
    return;
  }
  // Two codes of 8 + q in a byte: dimensions 2i and 2i + 1 (keys), or d and D/2 + d (values).
  const size_t half = s.width / 2;
  for (size_t i = 0; i < half; i++) {
    const int low = to_int((sound ? x[kTransposed ? 2 * i : i] : 0.0f) * inverse) + 8;
    const int high = to_int((sound ? x[kTransposed ? 2 * i + 1 : half + i] : 0.0f) * inverse) + 8;
    head[kTransposed ? i * kPage + token : token * half + i] = static_cast<uint8_t>(low | high << 4);
  }
}

// Turns and keeps one new token's key of a group, and keeps its value.
INLINE void put_row(const Shape& s, const Plan& plan, size_t row, size_t g, const float* qkv, const float* angles,
                    uint8_t* keys, uint8_t* values, float* turned) {
  const size_t position = plan.position(row), at = s.at(plan.page(row, position), g);
  const float* key = qkv + (row * (s.heads + 2 * s.groups) + s.heads + g) * s.width;
  turn(key, angles + row * s.width, s.width, 1, turned);
  put_token<true>(s, turned, keys + at, position % kPage);
  put_token<false>(s, key + s.groups * s.width, values + at, position % kPage);
}

// kLanes codes as floats, without their scale.
template <int format>
INLINE VF codes_at(const uint8_t* p, size_t i) {
  if (format == kCacheF32) return load(reinterpret_cast<const float*>(p) + i);
  if (format == kCacheF16) return load_half(reinterpret_cast<const uint16_t*>(p) + i);
  return to_float(load_i8(reinterpret_cast<const int8_t*>(p) + i));
}

INLINE Shape shape_of(const Call& call) {
  return {call.size(0), call.size(1), call.size(2), call.size(3), call.integer(4)};
}

// Tokens [begin, end) of one head's keys and values in a page, as floats: to rows of `stride` from k and v on, which are
// token 0's.
template <int format>
INLINE void read_page(const Shape& s, const uint8_t* key, const uint8_t* value, size_t begin, size_t end, float* k, float* v,
                      size_t stride) {
  const float* key_scales = reinterpret_cast<const float*>(key + s.code_bytes());
  const float* value_scales = reinterpret_cast<const float*>(value + s.code_bytes());
  // Of kLanes tokens, dimension d.
  auto key_at = [&](size_t d, size_t token) __attribute__((always_inline)) {
    VF x;
    if (format == kCacheInt4) {
      const VI bytes = load_u8(key + d / 2 * kPage + token);
      x = to_float((d % 2 ? bytes >> 4 : bytes & splat(15)) - splat(8));
    } else {
      x = codes_at<format>(key, d * kPage + token);
    }
    return format >= kCacheInt8 ? x * load(key_scales + token) : x;
  };
  for (size_t token = 0; token < kPage; token += kLanes) {
    size_t d = 0;
    for (; d + kLanes <= s.width; d += kLanes) {
      VI block[kLanes];
      UNROLL for (int i = 0; i < kLanes; i++) block[i] = (VI)key_at(d + static_cast<size_t>(i), token);
      transpose(block);
      UNROLL for (int i = 0; i < kLanes; i++) {
        const size_t t = token + static_cast<size_t>(i);
        if (t >= begin && t < end) store(k + t * stride + d, (VF)block[i]);
      }
    }
    for (; d < s.width; d++) {
      const VF x = key_at(d, token);
      for (size_t i = 0; i < kLanes; i++)
        if (token + i >= begin && token + i < end) k[(token + i) * stride + d] = x[i];
    }
  }
  const size_t half = s.width / 2;
  for (size_t token = begin; token < end; token++) {
    float* to = v + token * stride;
    const float scale = format >= kCacheInt8 ? value_scales[token] : 1;
    if (format == kCacheInt4) {
      for (size_t d = 0; d < s.width; d++) {
        const int byte = value[token * half + d % half];
        to[d] = static_cast<float>((d < half ? byte & 15 : byte >> 4) - 8) * scale;
      }
      continue;
    }
    for (size_t d = 0; d < s.width; d += kLanes) {
      const VF x = codes_at<format>(value, token * s.width + d);
      store_part(to + d, format == kCacheInt8 ? x * splat(scale) : x, part(d, s.width));
    }
  }
}

}  // namespace

}  // namespace bitnet::ISA_NS
