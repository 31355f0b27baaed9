// Attention backward: scores are computed again, tile by tile. With `Pairs`, four of the five products (all but the scores,
// whose error would be multiplied by their size) take bfloat16 operands and sum in float32.
#pragma once
#include "../../../native/simd-math.h"
#include "shape.h"

namespace bitnet::ISA_NS {

struct BackwardArrays {
  const float *q, *k, *v, *y, *logsumexp, *dy;
  float* delta;
  float *dq, *dk, *dv;  // null where not wanted
  bool add_q, add_k, add_v;
};

// Scratch of one thread. A tile of words has one word for each float32, or for each pair of bfloat16.
struct BackwardTiles {
  size_t keys;                   // keys in a tile
  float *scores, *slopes;        // float32, [kBackBlock][kBackKeys]: score, and dy · v
  float *p, *ds;                 // words for dv and dk, depth by depth: [kBackBlock / kGroup][kBackKeys]
  float* ds_rows;                // words for dq, row by row: [kBackBlock][kBackKeys / kGroup]
  float *queries, *dy, *dq;      // [kBackBlock][padded]
  float *query_words, *dy_words; // for dk and dv: [kBackBlock / kGroup][padded]
  float *keys_across;            // float32, transposed panels
  float *values_across;          // words, transposed panels
  float* key_words;              // for dq: [keys / kGroup][padded]
  float *dk, *dv;                // [keys][padded]

  explicit BackwardTiles(float* base, size_t padded) {
    auto take = [&](size_t n) { float* p = base; base += n; return p; };
    const size_t room = kScratch - 5 * kBackBlock * kBackKeys - 5 * kBackBlock * padded;
    // Whole panels, and whole groups.
    keys = min(kBackKeys, round_down(room / (5 * padded), kPanel % kGroup ? 3 * kPanel : kPanel));
    scores = take(kBackBlock * kBackKeys);
    slopes = take(kBackBlock * kBackKeys);
    p = take(kBackBlock * kBackKeys);
    ds = take(kBackBlock * kBackKeys);
    ds_rows = take(kBackBlock * kBackKeys);
    queries = take(kBackBlock * padded);
    dy = take(kBackBlock * padded);
    dq = take(kBackBlock * padded);
    query_words = take(kBackBlock * padded);
    dy_words = take(kBackBlock * padded);
    keys_across = take(keys * padded);
    values_across = take(keys * padded);
    key_words = take(keys * padded);
    dk = take(keys * padded);
    dv = take(keys * padded);
  }
};

// One block: queries [t, t + rows) of head h against keys [begin, end) of the tile.
struct BackwardBlock {
  size_t b, h, t, rows, begin, end;
  size_t padded_rows;  // in whole groups
  size_t first;        // the first key that any of the queries sees, counted from begin

  // One past the last key that any query of the group of row i sees, counted from begin.
  size_t group_end(const Sight& sight, size_t i) const {
    const size_t last = min(sight.end(t + min(i + kGroup, rows) - 1), end);
    return last > begin ? last - begin : 0;
  }
};

// A tile of summed gradients to where it belongs.
static void write_rows(const float* from, size_t padded, float scale, float* to, size_t to_row, size_t rows, size_t width,
                       bool add) {
  for (size_t j = 0; j < rows; j++, from += padded, to += to_row) {
    for (size_t d = 0; d < width; d += kVector) {
      const size_t n = min(kVector, width - d);
      VF x = load(from + d) * splat(scale);
      if (add) x += load_part(to + d, n);
      store_part(to + d, x, n);
    }
  }
}

// The block's queries and dy, as the products want them.
template <class Word>
static void pack_block(const Sizes& s, const BackwardArrays& a, const BackwardTiles& tiles, const BackwardBlock& k) {
  const float *q = a.q + s.query(k.b, k.t, k.h), *dy = a.dy + s.query(k.b, k.t, k.h);
  const size_t query_row = s.heads * s.width;
  if (a.dq) prefetch_rows<1>(a.dq + s.query(k.b, k.t, k.h), query_row, k.rows, s.width);
  copy_rows(q, query_row, k.rows, s.width, query_scale(s.width), tiles.queries, s.padded, k.padded_rows);
  if constexpr (Word::kGroup == 1) {
    copy_rows(dy, query_row, k.rows, s.width, 1, tiles.dy, s.padded, k.padded_rows);
  } else {
#if ATTENTION_PAIRS
    copy_rows_paired(dy, query_row, k.rows, s.width, tiles.dy, s.padded, k.padded_rows);
    interleave_rows(tiles.queries, s.padded, k.rows, s.padded, 1, tiles.query_words, s.padded);
    interleave_rows(dy, query_row, k.rows, s.width, 1, tiles.dy_words, s.padded);
#endif
  }
}

// p = 2^(score - logsumexp) and ds = p * (slope - delta), zero for keys that a query does not see, for columns
// [from, to) and whole groups of rows.
template <class Word>
static void weigh_block(const Sizes& s, const Sight& sight, const BackwardArrays& a, const BackwardTiles& tiles,
                        const BackwardBlock& k, size_t from, size_t to) {
  struct Row {
    size_t first, end;
    VF base, delta;
  };
  auto row_of = [&](size_t i) {
    Row r{0, 0, VF{}, VF{}};
    if (i >= k.rows) return r;
    const size_t first = max(sight.first(k.b, k.t + i), k.begin), end = min(sight.end(k.t + i), k.end);
    if (first < end) r.first = first - k.begin, r.end = end - k.begin;
    const size_t row = s.row(k.b, k.h, k.t + i);
    r.base = splat(a.logsumexp[row] * kLog2e);
    r.delta = splat(a.delta[row]);
    return r;
  };
  auto weigh = [&](const Row& r, size_t i, size_t j, VF& p, VF& ds) {
    if (j >= r.end || j + kVector <= r.first) {
      p = ds = VF{};
      return;
    }
    p = exp2(load(tiles.scores + i * kBackKeys + j) - r.base);
    ds = p * (load(tiles.slopes + i * kBackKeys + j) - r.delta);
    if (j >= r.first && j + kVector <= r.end) return;
    const VI seen = seen_lanes(j, r.first, r.end);
    p = select(seen, p, VF{});
    ds = select(seen, ds, VF{});
  };
  for (size_t i = 0; i < k.padded_rows; i += Word::kGroup) {
    const Row row = row_of(i);
    float *p_to = tiles.p + i / Word::kGroup * kBackKeys, *ds_to = tiles.ds + i / Word::kGroup * kBackKeys;
    if constexpr (Word::kGroup == 1) {
      for (size_t j = from; j < to; j += kVector) {
        VF p, ds;
        weigh(row, i, j, p, ds);
        store(p_to + j, p);
        store(ds_to + j, ds);
      }
    } else {
#if ATTENTION_PAIRS
      const Row next = row_of(i + 1);
      float* ds_row = tiles.ds_rows + i * kBackKeys / 2;
      for (size_t j = from; j < to; j += kVector) {
        VF p, ds, next_p, next_ds;
        weigh(row, i, j, p, ds);
        weigh(next, i + 1, j, next_p, next_ds);
        store(p_to + j, (VF)pair_bf16(p, next_p));
        store(ds_to + j, (VF)pair_bf16(ds, next_ds));
        store_bf16(ds_row + j / 2, ds);
        store_bf16(ds_row + kBackKeys / 2 + j / 2, next_ds);
      }
#endif
    }
  }
}

// Adds to tiles.dk and tiles.dv what the block gives, and to dq.
template <class Word>
static void backward_block(const Sizes& s, const Sight& sight, const BackwardArrays& a, const BackwardTiles& tiles,
                           const BackwardBlock& k) {
  pack_block<Word>(s, a, tiles, k);
  const size_t vectors = s.padded / kVector, block_end = k.group_end(sight, k.rows - 1);
  const size_t value_depth = (s.width + Word::kGroup - 1) / Word::kGroup, dy_row = s.padded / Word::kGroup;
  for (size_t j = round_down(k.first, kPanel); j < block_end; j += kPanel) {
    for (size_t i = 0; i < k.rows; i += kGroup) {
      const size_t stop = k.group_end(sight, i);
      if (j >= stop) continue;
      multiply_panel(stop - j, s.width, tiles.queries + i * s.padded, s.padded, tiles.keys_across + j * s.width,
                     tiles.scores + i * kBackKeys + j, kBackKeys);
      multiply_panel<Word>(stop - j, value_depth, tiles.dy + i * dy_row, dy_row, tiles.values_across + j * value_depth,
                           tiles.slopes + i * kBackKeys + j, kBackKeys);
    }
  }
  // As far as whole groups of keys, and whole pairs, reach.
  weigh_block<Word>(s, sight, a, tiles, k, round_down(round_down(k.first, kGroup), kVector),
                    min(round_up(round_up(block_end, kGroup), kVector), kBackKeys));
  if (a.dk || a.dv) {
    for (size_t j = round_down(k.first, kGroup); j < block_end; j += kGroup) {
      // The first query that sees any of these keys.
      const size_t sees = k.begin + j > s.start + k.t ? k.begin + j - s.start - k.t : 0;
      const size_t from = sees / Word::kGroup, depth = (k.rows + Word::kGroup - 1) / Word::kGroup - from;
      if (a.dv)
        multiply<kGroup, Word>(vectors, depth, tiles.p + from * kBackKeys + j, 1, kBackKeys,
                               tiles.dy_words + from * s.padded, s.padded, tiles.dv + j * s.padded, s.padded, true);
      if (a.dk)
        multiply<kGroup, Word>(vectors, depth, tiles.ds + from * kBackKeys + j, 1, kBackKeys,
                               tiles.query_words + from * s.padded, s.padded, tiles.dk + j * s.padded, s.padded, true);
    }
  }
  if (!a.dq) return;
  const float* ds_rows = Word::kGroup == 1 ? tiles.ds : tiles.ds_rows;
  const size_t ds_row = kBackKeys / Word::kGroup, from = k.first / Word::kGroup;
  for (size_t i = 0; i < k.rows; i += kGroup) {
    const size_t stop = (max(k.group_end(sight, i), k.first) + Word::kGroup - 1) / Word::kGroup;
    multiply<kGroup, Word>(vectors, stop - from, ds_rows + i * ds_row + from, ds_row, 1,
                           tiles.key_words + from * s.padded, s.padded, tiles.dq + i * s.padded, s.padded, false);
  }
  // The first tile that any query of the block sees overwrites, the others add.
  const bool add = a.add_q || sight.first_of(k.b, k.t, k.t + k.rows) < k.begin;
  write_rows(tiles.dq, s.padded, s.scale, a.dq + s.query(k.b, k.t, k.h), s.heads * s.width, k.rows, s.width, add);
}

// `count` keys and values from `key` on, as the products want them.
template <class Word>
static void pack_keys(const Sizes& s, const BackwardArrays& a, const BackwardTiles& tiles, size_t key, size_t count) {
  const size_t key_row = s.groups * s.width;
  prefetch_rows(a.k + key, key_row, min(count, kPanel), s.width);
  prefetch_rows(a.v + key, key_row, count, s.width);
  if (a.dk) prefetch_rows<1>(a.dk + key, key_row, count, s.width);
  if (a.dv) prefetch_rows<1>(a.dv + key, key_row, count, s.width);
  transpose_rows(a.k + key, key_row, count, s.width, tiles.keys_across);
  if constexpr (Word::kGroup == 1) {
    transpose_rows(a.v + key, key_row, count, s.width, tiles.values_across);
    if (a.dq) copy_rows(a.k + key, key_row, count, s.width, 1, tiles.key_words, s.padded, count);
  } else {
#if ATTENTION_PAIRS
    copy_rows_paired(a.v + key, key_row, count, s.width, tiles.key_words, s.padded, count);
    transpose_rows(tiles.key_words, s.padded / 2, count, (s.width + 1) / 2, tiles.values_across);
    if (a.dq) interleave_rows(a.k + key, key_row, count, s.width, 1, tiles.key_words, s.padded);
#endif
  }
}

// Gradients from queries [t0, t1) of one (sequence, key/value head) against keys [from, to). dk and dv are complete, and
// written, when the queries are all.
template <class Word>
static void backward_part(const Sizes& s, const Sight& sight, const BackwardArrays& a, const BackwardTiles& tiles, size_t b,
                          size_t g, size_t t0, size_t t1, size_t from, size_t to) {
  const size_t key_row = s.groups * s.width, query_row = s.heads * s.width;
  const size_t seen_first = sight.first_of(b, t0, t1);
  for (size_t begin = from; begin < to; begin += tiles.keys) {
    const size_t end = min(begin + tiles.keys, to), seen = min(end, sight.end(t1 - 1));
    clear(tiles.dk, 0, tiles.keys * s.padded);
    clear(tiles.dv, 0, tiles.keys * s.padded);
    if (seen > begin && seen > seen_first) {
      pack_keys<Word>(s, a, tiles, s.key(b, begin, g), seen - begin);
      for (size_t h = g * s.group; h < (g + 1) * s.group; h++) {
        for (size_t t = t0; t < t1; t += kBackBlock) {
          const size_t rows = min(kBackBlock, t1 - t), first = sight.first_of(b, t, t + rows);
          if (sight.end(t + rows - 1) <= begin || first >= seen) continue;
          if (t + rows < t1) {
            const size_t next = s.query(b, t + rows, h), count = min(kBackBlock, t1 - t - rows);
            prefetch_rows(a.q + next, query_row, count, s.width);
            prefetch_rows(a.dy + next, query_row, count, s.width);
          }
          backward_block<Word>(s, sight, a, tiles,
                               {b, h, t, rows, begin, seen, round_up(rows, kGroup), max(first, begin) - begin});
        }
      }
    }
    const size_t at = s.key(b, begin, g), count = end - begin;
    // Queries were multiplied by log2(e) / sqrt(D); dk is to be with 1 / sqrt(D).
    if (a.dk) write_rows(tiles.dk, s.padded, kLn2, a.dk + at, key_row, count, s.width, a.add_k);
    if (a.dv) write_rows(tiles.dv, s.padded, 1, a.dv + at, key_row, count, s.width, a.add_v);
  }
}

// delta = dy · y of one token's heads [h, h + count).
INLINE void delta_of(const Sizes& s, const BackwardArrays& a, size_t b, size_t t, size_t h, size_t count) {
  constexpr size_t kAhead = 8;
  if (t + kAhead < s.tokens) {
    prefetch_rows(a.dy + s.query(b, t + kAhead, h), 0, 1, count * s.width);
    prefetch_rows(a.y + s.query(b, t + kAhead, h), 0, 1, count * s.width);
  }
  for (const size_t stop = h + count; h < stop; h++) {
    const float *dy = a.dy + s.query(b, t, h), *y = a.y + s.query(b, t, h);
    VF sums = {};
    for (size_t d = 0; d < s.width; d += kVector) {
      const size_t n = min(kVector, s.width - d);
      sums = fma(load_part(dy + d, n), load_part(y + d, n), sums);
    }
    a.delta[s.row(b, h, t)] = sum(sums);
  }
}

template <class Word>
static void backward(const Call& call, const Sizes& s, const Sight& sight, const BackwardArrays& a) {
  BackwardTiles tiles(call.scratch<float>(), s.padded);
  if (Word::kGroup == 1) tiles.query_words = tiles.queries, tiles.dy_words = tiles.dy;
  const size_t sequences = s.batch * s.groups, threads = static_cast<size_t>(call.threads);
  if (sequences % threads == 0 || sequences >= 8 * threads) {
    const Range mine = call.split(sequences);
    for (size_t u = mine.begin; u < mine.end; u++) {
      const size_t b = u / s.groups, g = u % s.groups;
      for (size_t t = 0; t < s.tokens; t++) delta_of(s, a, b, t, g * s.group, s.group);
      backward_part<Word>(s, sight, a, tiles, b, g, 0, s.tokens, 0, s.keys);
    }
    return;
  }
  // Too few for an even share: by tiles of keys for dk and dv, then by pieces of queries for dq, at the price of
  // computing scores in both.
  const Range mine = call.split(s.batch * s.tokens);
  for (size_t m = mine.begin; m < mine.end; m++) delta_of(s, a, m / s.tokens, m % s.tokens, 0, s.heads);
  call.barrier();
  if (a.dk || a.dv) {
    BackwardArrays part = a;
    part.dq = nullptr;
    auto cost = [&](size_t i) {
      const size_t first = i * tiles.keys;  // seen by the queries from first - start on
      const size_t before = first > s.start ? first - s.start : 0;
      return 1.0 + (before < s.tokens ? static_cast<double>(s.tokens - before) : 0.0);
    };
    each_unit(call, sequences, (s.keys + tiles.keys - 1) / tiles.keys, cost, [&](size_t u, size_t i) {
      const size_t first = i * tiles.keys;
      backward_part<Word>(s, sight, part, tiles, u / s.groups, u % s.groups, 0, s.tokens, first,
                          min(first + tiles.keys, s.keys));
    });
  }
  if (a.dq) {
    BackwardArrays part = a;
    part.dk = part.dv = nullptr;
    each_piece(call, s, piece_tokens(call, s, 1024, kBackBlock), [&](size_t b, size_t g, size_t t0, size_t t1) {
      backward_part<Word>(s, sight, part, tiles, b, g, t0, t1, 0, s.start + s.tokens);
    });
  }
}

}  // namespace bitnet::ISA_NS
