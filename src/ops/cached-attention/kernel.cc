// Attention of a few new tokens of many sequences over their cached keys and values; and the cache's pages. The
// definition, and the layout of pages, are in reference.ts.
//
// A page holds 16 tokens. Its keys lie [G, D, 16]: each lane sums the score of a key of its own, and nothing is added
// across lanes; its values lie [G, 16, D]. So each number is read once, in order, for all query heads of a group.
#include "pages.h"

namespace bitnet::ISA_NS {

namespace {

// scores[h][page · 16 + lane of vector v] = q_h · key for the keys of kPages pages; q in base 2 and already divided by
// sqrt(D). Each score is one chain of sums, as in training: what keeps the processor busy is other heads' and pages' chains.
template <int format, int kHeads, int kPages>
INLINE void page_scores(const Shape& s, const uint8_t* const* head, const float* q, float* scores) {
  for (int v = 0; v < kPageVectors; v++) {
    VF sums[kHeads][kPages];
    UNROLL for (int h = 0; h < kHeads; h++) {
      UNROLL for (int i = 0; i < kPages; i++) sums[h][i] = VF{};
    }
    const size_t lane = static_cast<size_t>(v * kLanes);
    auto add = [&](int page, size_t d, VF key) __attribute__((always_inline)) {
      UNROLL for (int h = 0; h < kHeads; h++)
        sums[h][page] = fma(key, splat(q[static_cast<size_t>(h) * s.width + d]), sums[h][page]);
    };
    if (format == kCacheInt4) {
      for (size_t d = 0; d < s.width; d += 2) {
        UNROLL for (int i = 0; i < kPages; i++) {
          const VI bytes = load_u8(head[i] + d / 2 * kPage + lane);
          add(i, d, to_float((bytes & splat(15)) - splat(8)));
          add(i, d + 1, to_float((bytes >> 4) - splat(8)));
        }
      }
    } else {
      for (size_t d = 0; d < s.width; d++) {
        UNROLL for (int i = 0; i < kPages; i++) add(i, d, codes_at<format>(head[i], d * kPage + lane));
      }
    }
    UNROLL for (int h = 0; h < kHeads; h++) {
      UNROLL for (int i = 0; i < kPages; i++) {
        VF total = sums[h][i];
        if (format >= kCacheInt8) total *= load(reinterpret_cast<const float*>(head[i] + s.code_bytes()) + lane);
        store(scores + static_cast<size_t>(h) * kChunk + static_cast<size_t>(i) * kPage + lane, total);
      }
    }
  }
}

// out_h += sum over a page's tokens of p_h · value, for kVectors vectors of the head's columns from d on (of the last, n
// lanes): each is a chain of sums in the order of the tokens, and several keep the processor busy. Where not all tokens of the
// page are seen, those that are not may hold anything, and have weights of 0.
template <int format, int kHeads, int kVectors, bool kAll>
INLINE void add_columns(const Shape& s, const uint8_t* head, const float (&weights)[kHeads][kPage], float* out, size_t stride,
                        size_t d, size_t n) {
  const size_t half = s.width / 2;
  constexpr bool kHalves = format == kCacheInt4;
  VF low[kHeads][kVectors], high[kHeads][kVectors];
  UNROLL for (int h = 0; h < kHeads; h++) {
    UNROLL for (int v = 0; v < kVectors; v++) {
      const float* at = out + static_cast<size_t>(h) * stride + d + static_cast<size_t>(v * kLanes);
      low[h][v] = load(at);
      high[h][v] = kHalves ? load(at + half) : VF{};
    }
  }
  for (size_t j = 0; j < kPage; j++) {
    if (!kAll) {
      bool seen = false;
      UNROLL for (int h = 0; h < kHeads; h++) seen = seen || weights[h][j] != 0;
      if (!seen) continue;
    }
    UNROLL for (int v = 0; v < kVectors; v++) {
      const size_t column = d + static_cast<size_t>(v * kLanes);
      VF first, second = {};
      if (kHalves) {
        const VI bytes = load_u8(head + j * half + column);
        first = to_float((bytes & splat(15)) - splat(8));
        second = to_float((bytes >> 4) - splat(8));
      } else {
        first = codes_at<format>(head, j * s.width + column);
      }
      UNROLL for (int h = 0; h < kHeads; h++) {
        low[h][v] = fma(first, splat(weights[h][j]), low[h][v]);
        if (kHalves) high[h][v] = fma(second, splat(weights[h][j]), high[h][v]);
      }
    }
  }
  UNROLL for (int h = 0; h < kHeads; h++) {
    UNROLL for (int v = 0; v < kVectors; v++) {
      float* at = out + static_cast<size_t>(h) * stride + d + static_cast<size_t>(v * kLanes);
      const size_t lanes = v + 1 < kVectors ? static_cast<size_t>(kLanes) : n;
      store_part(at, low[h][v], lanes);
      if (kHalves) store_part(at + half, high[h][v], lanes);
    }
  }
}

template <int format, int kHeads>
INLINE void add_values(const Shape& s, const uint8_t* head, const float* p, float* out, size_t stride, bool all) {
  float weights[kHeads][kPage];
  const float* scales = reinterpret_cast<const float*>(head + s.code_bytes());
  for (size_t j = 0; j < kPage; j++) {
    UNROLL for (int h = 0; h < kHeads; h++) {
      const float w = p[static_cast<size_t>(h) * kChunk + j];
      // A token that is not seen may hold anything.
      weights[h][j] = format >= kCacheInt8 && w != 0 ? w * scales[j] : w;
    }
  }
  constexpr int kTogether = 4 / kHeads;
  const size_t columns = format == kCacheInt4 ? s.width / 2 : s.width;
  size_t d = 0;
  if (all) {
    for (; d + kTogether * kLanes <= columns; d += kTogether * kLanes)
      add_columns<format, kHeads, kTogether, true>(s, head, weights, out, stride, d, kLanes);
  }
  for (; d < columns; d += kLanes) {
    if (all) add_columns<format, kHeads, 1, true>(s, head, weights, out, stride, d, part(d, columns));
    else add_columns<format, kHeads, 1, false>(s, head, weights, out, stride, d, part(d, columns));
  }
}

template <size_t n>
struct BytesOf {
  char bytes[n];
};
constexpr size_t round_up_page(size_t position) { return (position + kPage - 1) / kPage * kPage; }

template <int near>
INLINE void fetch_page([[maybe_unused]] const uint8_t* p, [[maybe_unused]] size_t bytes) {
#if !SIMD_WASM
  for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(p + at, 0, near);
#endif
}

// One chunk of keys for kHeads query heads of one row: their largest score, sum and weighted values go to `records`,
// D + 2 numbers each, `record_stride` apart.
template <int format, int kHeads>
static __attribute__((noinline)) void chunk_of(const Shape& s, const Plan& plan, size_t row, size_t g, size_t chunk,
                                               const uint8_t* keys, const uint8_t* values, const float* q, float* scratch,
                                               float* records, size_t record_stride) {
  const size_t padded = (s.width + kLanes - 1) / kLanes * kLanes + kLanes;
  float* scores = scratch;
  float* out = scores + kHeads * kChunk;
  const size_t first = plan.first(row), end = plan.position(row) + 1;
  const size_t begin = max(chunk * kChunk, first / kPage * kPage), stop = min((chunk + 1) * kChunk, end);
  // Pages lie apart: what the next one holds is fetched while this one is read.
  auto address = [&](const uint8_t* pages, size_t position) { return pages + s.at(plan.page(row, position), g); };
  VF highest[kHeads];
  float most[kHeads];
  VF sums[kHeads];
  UNROLL for (int h = 0; h < kHeads; h++) highest[h] = splat(-__builtin_inff()), sums[h] = VF{};
  for (size_t i = 0; i < kHeads * padded; i += kLanes) store(out + i, VF{});
  auto score_pages = [&](size_t from, auto count) __attribute__((always_inline)) {
    constexpr int kPages = sizeof(count);
    const uint8_t* heads[kPages];
    for (size_t i = 0; i < kPages; i++) {
      const size_t next = from + (kPages + i) * kPage;
      heads[i] = address(keys, from + i * kPage);
      if (next < stop) fetch_page<3>(address(keys, next), s.head_bytes());
      fetch_page<2>(address(values, from + i * kPage), s.head_bytes());
    }
    page_scores<format, kHeads, kPages>(s, heads, q, scores + (from - chunk * kChunk));
  };
  constexpr size_t kTogether = 4 / kHeads;
  for (size_t i = 0; i < kTogether && begin + i * kPage < stop; i++)
    fetch_page<3>(address(keys, begin + i * kPage), s.head_bytes());
  size_t scored = begin;
  for (; scored + kTogether * kPage <= round_up_page(stop); scored += kTogether * kPage)
    score_pages(scored, BytesOf<kTogether>{});
  for (; scored < stop; scored += kPage) score_pages(scored, BytesOf<1>{});
  for (size_t j = begin; j < stop; j += kPage) {
    float* to = scores + (j - chunk * kChunk);
    const bool whole = j >= first && j + kPage <= end;
    UNROLL for (int h = 0; h < kHeads; h++) {
      for (size_t i = 0; i < kPage; i += kLanes) {
        float* at = to + static_cast<size_t>(h) * kChunk + i;
        VF score = load(at);
        if (!whole) {
          for (size_t lane = 0; lane < kLanes; lane++)
            if (j + i + lane < first || j + i + lane >= end) score[lane] = -__builtin_inff();
          store(at, score);
        }
        // So that a NaN stays: it is never above, and is not below either.
        highest[h] = select(score <= highest[h], highest[h], score);
      }
    }
  }
  UNROLL for (int h = 0; h < kHeads; h++) {
    most[h] = highest[h][0];
    for (int lane = 1; lane < kLanes; lane++) most[h] = highest[h][lane] <= most[h] ? most[h] : highest[h][lane];
  }
  for (size_t j = begin; j < stop; j += kPage) {
    float* p = scores + (j - chunk * kChunk);
    UNROLL for (int h = 0; h < kHeads; h++) {
      for (size_t i = 0; i < kPage; i += kLanes) {
        float* at = p + static_cast<size_t>(h) * kChunk + i;
        const VF e = exp2(load(at) - splat(most[h]));
        // exp2 is limited to 2^-160, which is 0; what is not seen must be 0 exactly.
        store(at, e);
        sums[h] += e;
      }
    }
    add_values<format, kHeads>(s, address(values, j), p, out, padded, j >= first && j + kPage <= end);
  }
  UNROLL for (int h = 0; h < kHeads; h++) {
    float* record = records + static_cast<size_t>(h) * record_stride;
    record[0] = most[h];
    record[1] = lane_sum(sums[h]);
    for (size_t d = 0; d < s.width; d++) record[2 + d] = out[static_cast<size_t>(h) * padded + d];
  }
}

template <int format>
static void attend(const Call& call, const Shape& s, const Plan& plan, const float* qkv, const float* angles,
                   uint8_t* keys, uint8_t* values, float* partial, size_t most_chunks, float* y) {
  const size_t stride = (s.heads + 2 * s.groups) * s.width, record = s.width + 2, group = s.group();
  float* q = call.scratch<float>();
  float* scratch = q + kMostHeads * s.width + 64;
  auto chunks_of = [&](size_t row) { return plan.position(row) / kChunk + 1; };
  auto first_chunk = [&](size_t row) { return plan.first(row) / kChunk; };
  auto keep = [&](size_t row, size_t g) { put_row(s, plan, row, g, qkv, angles, keys, values, q); };
  auto take_chunk = [&](size_t row, size_t chunk, size_t g) {
    auto take = [&](size_t head, auto heads) {
      constexpr int kHeads = sizeof(heads);
      for (size_t h = 0; h < kHeads; h++)
        turn(qkv + row * stride + (g * group + head + h) * s.width, angles + row * s.width, s.width,
             query_scale(s.width), q + h * s.width);
      chunk_of<format, kHeads>(s, plan, row, g, chunk, keys, values, q, scratch,
                               partial + ((row * s.heads + g * group + head) * most_chunks + chunk - first_chunk(row)) * record,
                               most_chunks * record);
    };
    size_t head = 0;
    for (; head + 4 <= group; head += 4) take(head, int32_t{});
    for (; head + 2 <= group; head += 2) take(head, int16_t{});
    for (; head < group; head++) take(head, int8_t{});
  };
  auto join = [&](size_t row, size_t head) {
    const size_t i = row * s.heads + head, count = chunks_of(row) - first_chunk(row);
    const float* p = partial + i * most_chunks * record;
    VF most = splat(-__builtin_inff()), total = {};
    float* to = y + i * s.width;
    for (size_t d = 0; d < s.width; d++) to[d] = 0;
    for (size_t c = 0; c < count; c++, p += record) {
      VF before, now;
      join_chunk(most, total, splat(p[0]), splat(p[1]), before, now);
      for (size_t d = 0; d < s.width; d += kLanes) {
        const size_t n = part(d, s.width);
        store_part(to + d, add_chunk(load_part(to + d, n), before, load_part(p + 2 + d, n), now), n);
      }
    }
    const float factor = 1 / total[0];
    for (size_t d = 0; d < s.width; d++) to[d] *= factor;
  };

  size_t units = 0;
  for (size_t row = 0; row < s.rows; row++) units += (chunks_of(row) - first_chunk(row)) * s.groups;
  if (s.groups % static_cast<size_t>(call.threads) == 0 || units == s.groups) {
    // Each thread keeps to groups of its own, and none waits for another.
    const Range own = call.split(s.groups);
    for (size_t row = 0; row < s.rows; row++) {
      for (size_t g = own.begin; g < own.end; g++) keep(row, g);
    }
    for (size_t row = 0; row < s.rows; row++) {
      for (size_t chunk = first_chunk(row); chunk < chunks_of(row); chunk++) {
        for (size_t g = own.begin; g < own.end; g++) take_chunk(row, chunk, g);
      }
      for (size_t head = own.begin * group; head < own.end * group; head++) join(row, head);
    }
    return;
  }
  const Range kept = call.split(s.rows * s.groups), taken = call.split(units), joined = call.split(s.rows * s.heads);
  for (size_t i = kept.begin; i < kept.end; i++) keep(i / s.groups, i % s.groups);
  call.barrier();
  size_t unit = 0;
  for (size_t row = 0; row < s.rows; row++) {
    for (size_t chunk = first_chunk(row); chunk < chunks_of(row); chunk++) {
      for (size_t g = 0; g < s.groups; g++, unit++) {
        if (unit >= taken.begin && unit < taken.end) take_chunk(row, chunk, g);
      }
    }
  }
  call.barrier();
  for (size_t i = joined.begin; i < joined.end; i++) join(i / s.heads, i % s.heads);
}

}  // namespace

KERNEL(cached_attention) {
  const Shape s = shape_of(call);
  const float *qkv = call.f32(0), *angles = call.f32(1);
  const Plan plan{call.i32(2), call.i32(2)};
  uint8_t *keys = call.u8(3) + call.size(6), *values = call.u8(4) + call.size(7);
  float *partial = call.f32(5), *y = call.f32(6);
  const size_t chunks = call.size(5);
  switch (s.format) {
    case kCacheF32: return attend<kCacheF32>(call, s, plan, qkv, angles, keys, values, partial, chunks, y);
    case kCacheF16: return attend<kCacheF16>(call, s, plan, qkv, angles, keys, values, partial, chunks, y);
    case kCacheInt8: return attend<kCacheInt8>(call, s, plan, qkv, angles, keys, values, partial, chunks, y);
    default: return attend<kCacheInt4>(call, s, plan, qkv, angles, keys, values, partial, chunks, y);
  }
}

// For many new tokens of one sequence, rows `first` on, whose attention is that of training: keeps them, turns the queries, and gives all
// keys and values from position `from` on as floats [S, G·D], in order. A page's head is kept and read while it is in cache.
KERNEL(cache_gather) {
  const Shape s = shape_of(call);
  const size_t from = call.size(5), count = call.size(6), first = call.size(7);
  const size_t stride = (s.heads + 2 * s.groups) * s.width, width = s.groups * s.width;
  const float *qkv = call.f32(0) + first * stride, *angles = call.f32(1) + first * s.width;
  const Plan plan{call.i32(2), call.i32(2) + kRowNumbers * first};
  uint8_t *keys = call.u8(3) + call.size(8), *values = call.u8(4) + call.size(9);
  float *q = call.f32(5), *k = call.f32(6), *v = call.f32(7);
  const Range rows = call.split(s.rows);
  for (size_t row = rows.begin; row < rows.end; row++) {
    for (size_t h = 0; h < s.heads; h++)
      turn(qkv + row * stride + h * s.width, angles + row * s.width, s.width, 1, q + (row * s.heads + h) * s.width);
  }
  // Positions of the new tokens; pages that hold any position of interest.
  const size_t begin = plan.position(0), end = begin + s.rows, last = s.rows - 1;
  const size_t first_page = min(begin, from) / kPage, pages = (from + count + kPage - 1) / kPage - first_page;
  const Range mine = call.split(pages * s.groups);
  for (size_t i = mine.begin; i < mine.end; i++) {
    const size_t start = (first_page + i / s.groups) * kPage, g = i % s.groups;
    for (size_t position = max(start, begin); position < min(start + kPage, end); position++)
      put_row(s, plan, position - begin, g, qkv, angles, keys, values, call.scratch<float>());
    const size_t low = max(start, from), high = min(start + kPage, from + count);
    if (low >= high) continue;
    const size_t at = s.at(plan.page(last, low), g);
    // Of token 0 of the page, which may be before `from`; nothing before it is touched.
    float* const to_k = k + g * s.width - (from - min(from, start)) * width + (start - min(from, start)) * width;
    float* const to_v = v + (to_k - k);
    auto read = [&](auto number) {
      read_page<sizeof(number) - 1>(s, keys + at, values + at, low - start, high - start, to_k, to_v, width);
    };
    switch (s.format) {
      case kCacheF32: read(BytesOf<1 + kCacheF32>{}); break;
      case kCacheF16: read(BytesOf<1 + kCacheF16>{}); break;
      case kCacheInt8: read(BytesOf<1 + kCacheInt8>{}); break;
      default: read(BytesOf<1 + kCacheInt4>{});
    }
  }
}

// Copies pages (of keys or of values) of `bytes` bytes: page ids[2i] to page ids[2i + 1], perhaps of another buffer.
KERNEL(cache_copy) {
  const int32_t* ids = call.i32(0);
  const uint8_t* from = call.u8(1) + call.size(2);
  uint8_t* to = call.u8(2) + call.size(3);
  const size_t bytes = call.size(1);
  const Range mine = call.split(call.size(0));
  for (size_t i = mine.begin; i < mine.end; i++)
    __builtin_memcpy(to + static_cast<size_t>(ids[2 * i + 1]) * bytes, from + static_cast<size_t>(ids[2 * i]) * bytes, bytes);
}

}  // namespace bitnet::ISA_NS
