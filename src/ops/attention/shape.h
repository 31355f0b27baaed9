// What the kernels of attention share: sizes, which keys a query sees, and how work is shared out among threads.
#pragma once
#include "../../../native/attention-sums.h"
#include "tile.h"

namespace bitnet::ISA_NS {

constexpr size_t kKeys = 256;        // forward: keys in a tile, and floats in a row of scores
constexpr size_t kBlock = 24;        // forward: queries in a block
constexpr size_t kBackKeys = 96;     // backward
constexpr size_t kBackBlock = 48;
constexpr size_t kDecodeKeys = 256;  // few queries, many keys: as decodeKeys and decodeRows in index.ts
constexpr size_t kDecodeRows = 16;
constexpr size_t kRowsRoom = 32;     // rows of which bounds and maxima are kept together
static_assert(kKeys % kPanel == 0 && kBlock % kGroup == 0 && kBackKeys % kPanel == 0 && kBackKeys % kGroup == 0 &&
              kBackBlock % kGroup == 0 && kBackBlock % 2 == 0 && kDecodeKeys == kKeys && kKeys == kChunkKeys &&
              kChunkKeys % kPanel == 0);
static_assert(kBlock + kGroup <= kRowsRoom && kDecodeRows <= kRowsRoom && kRowsRoom % kVector == 0);
constexpr size_t kScratch = kScratchBytes / sizeof(float);
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147182f;

struct Sizes {
  size_t batch, tokens, keys, heads, groups, width, start;
  size_t group;     // query heads of one key/value head
  size_t padded;    // width in whole vectors
  float scale;      // 1 / sqrt(D)

  explicit Sizes(const Call& call)
      : batch(call.size(0)), tokens(call.size(1)), keys(call.size(2)), heads(call.size(3)), groups(call.size(4)),
        width(call.size(5)), start(call.size(6)), group(heads / groups), padded(round_up(width, kVector)),
        scale(1 / sqrt(static_cast<float>(width))) {}

  size_t query(size_t b, size_t t, size_t h) const { return ((b * tokens + t) * heads + h) * width; }
  size_t key(size_t b, size_t j, size_t g) const { return ((b * keys + j) * groups + g) * width; }
  size_t row(size_t b, size_t h, size_t t) const { return (b * heads + h) * tokens + t; }
};

// The keys [first, end) that query t of sequence b sees.
struct Sight {
  size_t start, tokens;
  const int32_t* document_start;

  size_t end(size_t t) const { return start + t + 1; }
  size_t first(size_t b, size_t t) const {
    if (!document_start) return 0;
    const int32_t at = document_start[b * tokens + t];
    return at <= 0 ? 0 : min(static_cast<size_t>(at), start + t);
  }
  // The first key that any of the queries [from, to) sees.
  size_t first_of(size_t b, size_t from, size_t to) const {
    if (!document_start) return 0;
    size_t least = first(b, from);
    for (size_t t = from + 1; t < to; t++) least = min(least, first(b, t));
    return least;
  }
  // What each of the queries [t, t + rows) sees of keys [begin, stop), counted from `begin`: [from[i], to[i]), or [0, 0)
  // for nothing; and nothing beyond, up to kRowsRoom rows.
  void rows(size_t b, size_t t, size_t count, size_t begin, size_t stop, size_t* from, size_t* to) const {
    for (size_t i = 0; i < kRowsRoom; i++) {
      from[i] = to[i] = 0;
      if (i >= count) continue;
      const size_t low = max(first(b, t + i), begin), high = min(end(t + i), stop);
      if (low < high) from[i] = low - begin, to[i] = high - begin;
    }
  }
};

// A share of a list of units for each thread, equal in cost and the same every time. A unit is one of `repeats` equal
// rows of `count` pieces; piece i costs cost(i). Calls body(repeat, piece) for this thread's.
template <class Cost, class Body>
INLINE void each_unit(const Call& call, size_t repeats, size_t count, Cost cost, Body body) {
  double whole = 0;
  for (size_t i = 0; i < count; i++) whole += cost(i);
  const double total = whole * static_cast<double>(repeats), threads = call.threads;
  double before = 0;
  for (size_t r = 0; r < repeats; r++) {
    for (size_t i = 0; i < count; i++) {
      const double middle = before + cost(i) / 2;
      before += cost(i);
      if (static_cast<int>(middle * threads / total) == call.thread) body(r, i);
    }
  }
}

// Tokens in a piece of the queries: many (keys are packed once for each piece), but such that every thread has work.
INLINE size_t piece_tokens(const Call& call, const Sizes& s, size_t limit, size_t unit) {
  size_t tokens = min(round_up(s.tokens, unit), max(unit, round_down(limit, unit)));
  const size_t sequences = s.batch * s.groups, threads = static_cast<size_t>(call.threads);
  while (tokens > 2 * unit) {
    const size_t pieces = (s.tokens + tokens - 1) / tokens;
    if ((pieces == 1 && sequences % threads == 0) || sequences * pieces >= 8 * threads) break;
    tokens = round_up(tokens / 2, unit);
  }
  return tokens;
}

// Calls body(b, g, t0, t1) for this thread's share of the pieces of every sequence and key/value head.
template <class Body>
INLINE void each_piece(const Call& call, const Sizes& s, size_t piece, Body body) {
  auto stop = [&](size_t i) { return min((i + 1) * piece, s.tokens); };
  auto cost = [&](size_t i) {
    const double n = static_cast<double>(stop(i) - i * piece);
    return n * (static_cast<double>(s.start + i * piece) + n / 2 + 16);
  };
  each_unit(call, s.batch * s.groups, (s.tokens + piece - 1) / piece, cost,
            [&](size_t u, size_t i) { body(u / s.groups, u % s.groups, i * piece, stop(i)); });
}

// The lanes of [j, j + kVector) within [first, end).
INLINE VI seen_lanes(size_t j, size_t first, size_t end) {
  VI at;
  UNROLL for (int i = 0; i < kLanes; i++) at[i] = i;
  at += splat(static_cast<int32_t>(j));
  return (at >= splat(static_cast<int32_t>(first))) & (at < splat(static_cast<int32_t>(end)));
}

// Calls whole(j) for each vector [j, j + kVector) of [first, end), or part(j, lanes) where only some lanes are within.
template <class Whole, class Part>
INLINE void each_seen(size_t first, size_t end, Whole whole, Part part) {
  size_t j = round_down(first, kVector);
  if (j < first) {
    part(j, seen_lanes(j, first, end));
    j += kVector;
  }
  for (; j + kVector <= end; j += kVector) whole(j);
  if (j < end) part(j, seen_lanes(j, first, end));
}

INLINE void clear(float* row, size_t from, size_t to) {
  for (size_t j = from; j < to; j += kVector) store(row + j, VF{});
}

}  // namespace bitnet::ISA_NS
