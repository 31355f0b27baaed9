// Attention forward: many queries, in blocks of rows against tiles of keys.
#pragma once
#include "../../../native/attention-sums.h"
#include "shape.h"

namespace bitnet::ISA_NS {

// Scores of `rows` queries, [first[i], end[i]) of row i, to e^(score - most[i]), with the largest score and the sum of each
// query. Rows that see nothing (end 0) get -Infinity and 0. `first` and `end` go on to kRowsRoom; what is beyond `rows` sees
// nothing. `most` and `total` have room for kRowsRoom.
static void soften(float* scores, size_t rows, const size_t* first, const size_t* end, float* most, float* total) {
  constexpr float kLowest = -__builtin_inff();
  for (size_t i = 0; i < kRowsRoom; i += kVector) store(most + i, splat(kLowest)), store(total + i, VF{});
  for (size_t i = 0; i < rows; i += 4) {
    VF high[4];
    UNROLL for (size_t r = 0; r < 4; r++) {
      const float* row = scores + (i + r) * kKeys;
      VF h = splat(kLowest);
      each_seen(first[i + r], end[i + r], [&](size_t j) { h = max(load(row + j), h); },
                [&](size_t j, VI seen) { h = max(select(seen, load(row + j), splat(kLowest)), h); });
      high[r] = h;
    }
    store4(most + i, largest_of(high));
  }
  for (size_t i = 0; i < rows; i += 4) {
    VF sums[4];
    UNROLL for (size_t r = 0; r < 4; r++) {
      float* row = scores + (i + r) * kKeys;
      const VF base = splat(most[i + r]);
      VF s = {};
      each_seen(first[i + r], end[i + r],
                [&](size_t j) {
                  const VF p = exp2(load(row + j) - base);
                  store(row + j, p);
                  s += p;
                },
                [&](size_t j, VI seen) {
                  const VF p = select(seen, exp2(load(row + j) - base), VF{});
                  store(row + j, p);
                  s += p;
                });
      sums[r] = s;
    }
    store4(total + i, sums_of(sums));
  }
}

struct ForwardTile {
  const float* keys;    // transposed panels
  const float* values;  // rows
  size_t begin, end;    // of keys
};

// Adds to `out` (kBlock rows of s.padded) what queries [t, t + rows) of head h get from the tile. `part` has room for kGroup
// rows.
static void forward_block(const Sizes& s, const Sight& sight, const ForwardTile& tile, const float* queries, size_t b,
                          size_t t, size_t rows, float* scores, float* part, float* out, float* most, float* total) {
  const size_t vectors = s.padded / kVector;
  const size_t block_first = max(sight.first_of(b, t, t + rows), tile.begin) - tile.begin;
  // For each group of queries, what of the tile any of them sees.
  auto group_end = [&](size_t i) {
    const size_t end = min(sight.end(t + min(i + kGroup, rows) - 1), tile.end);
    return end > tile.begin ? end - tile.begin : 0;
  };
  for (size_t j = round_down(block_first, kPanel); j < group_end(rows - 1); j += kPanel) {
    for (size_t i = 0; i < rows; i += kGroup) {
      const size_t stop = group_end(i);
      if (j < stop)
        multiply_panel(stop - j, s.width, queries + i * s.padded, s.padded, tile.keys + j * s.width,
                       scores + i * kKeys + j, kKeys);
    }
  }
  size_t first[kRowsRoom], end[kRowsRoom];
  float tile_most[kRowsRoom], tile_total[kRowsRoom], before[kRowsRoom], now[kRowsRoom];
  bool summed[kRowsRoom] = {};
  sight.rows(b, t, rows, tile.begin, tile.end, first, end);
  soften(scores, rows, first, end, tile_most, tile_total);
  for (size_t i = 0; i < rows; i++) summed[i] = total[i] != 0;
  for (size_t i = 0; i < rows; i += kVector) {
    const size_t n = min(kVector, rows - i);
    VF tops = load_part(most + i, n), sums = load_part(total + i, n), old, added;
    join_chunk(tops, sums, load(tile_most + i), load(tile_total + i), old, added);
    store_part(most + i, tops, n);
    store_part(total + i, sums, n);
    store(before + i, old);
    store(now + i, added);
  }
  for (size_t group = 0; group < rows; group += kGroup) {
    const size_t end_of_group = group_end(group);
    if (end_of_group <= block_first) continue;
    bool later = false;
    for (size_t i = group; i < group + kGroup; i++) {
      float* row = scores + i * kKeys;
      const size_t from = round_down(block_first, kVector);
      clear(row, from, end[i] ? round_down(first[i], kVector) : end_of_group);
      if (end[i]) clear(row, round_up(end[i], kVector), end_of_group);
      later = later || summed[i];
    }
    // Of the first tile that any of them sees, nothing is there to be joined to: its sums go where they belong.
    float* rows_out = out + group * s.padded;
    multiply<kGroup>(vectors, end_of_group - block_first, scores + group * kKeys + block_first, kKeys, 1,
                     tile.values + block_first * s.padded, s.padded, later ? part : rows_out, s.padded, !later);
    if (!later) continue;
    for (size_t i = 0; i < min(kGroup, rows - group); i++) {
      const VF old = splat(before[group + i]), added = splat(now[group + i]);
      for (size_t d = i * s.padded; d < (i + 1) * s.padded; d += kVector)
        store(rows_out + d, add_chunk(load(rows_out + d), old, load(part + d), added));
    }
  }
}

// y = out / total for `rows` queries of one head, and their logsumexp.
static void finish_rows(const Sizes& s, const float* out, const float* most, const float* total, size_t rows, float* y,
                        float* logsumexp) {
  for (size_t i = 0; i < rows; i++, y += s.heads * s.width, out += s.padded) {
    const VF factor = splat(1 / total[i]);
    for (size_t d = 0; d < s.width; d += kVector)
      store_part(y + d, load(out + d) * factor, min(kVector, s.width - d));
  }
  for (size_t i = 0; i < rows; i += kVector) {
    const size_t n = min(kVector, rows - i);
    const VF sums = load_part(total + i, n), tops = load_part(most + i, n);
    store_part(logsumexp + i, fma(tops, splat(kLn2), log(sums)), n);
  }
}

struct ForwardArrays {
  const float *q, *k, *v;
  float *y, *logsumexp;
};

// Scratch of one thread.
struct ForwardTiles {
  float *scores, *queries;       // [kBlock][kKeys], [kBlock][padded]
  float* part;                   // [kGroup][padded]
  size_t keys;                   // keys in a tile
  float *keys_across, *values;   // transposed panels; [keys][padded]
  size_t rows;                   // query rows that there is room for
  float *sums, *most, *total;    // [rows][padded], [rows], [rows]

  explicit ForwardTiles(float* base, size_t padded) {
    scores = base;
    queries = scores + kBlock * kKeys;
    part = queries + kBlock * padded;
    keys_across = part + kGroup * padded;
    const size_t room = kScratch - static_cast<size_t>(keys_across - base);
    // A third for the tile's keys and values; the rest for what is summed for each query.
    keys = min(kKeys, round_down(room / 3 / (2 * padded), kPanel));
    values = keys_across + keys * padded;
    sums = values + keys * padded;
    rows = round_down((room - 2 * keys * padded) / (padded + 2), kBlock);
    most = sums + rows * padded;
    total = most + rows;
  }
};

// y and logsumexp of queries [t0, t1) of heads [h0, h1), all of key/value head g. tiles.rows has room for them.
static void forward_piece(const Sizes& s, const Sight& sight, const ForwardArrays& a, const ForwardTiles& tiles, size_t b,
                          size_t g, size_t h0, size_t h1, size_t t0, size_t t1) {
  const size_t query_row = s.heads * s.width, key_row = s.groups * s.width;
  const size_t head_rows = round_up(t1 - t0, kBlock), rows = (h1 - h0) * head_rows;
  clear(tiles.sums, 0, rows * s.padded);
  for (size_t i = 0; i < rows; i++) tiles.most[i] = -__builtin_inff(), tiles.total[i] = 0;
  const size_t stop = sight.end(t1 - 1);
  for (size_t begin = round_down(sight.first_of(b, t0, t1), tiles.keys); begin < stop; begin += tiles.keys) {
    const ForwardTile tile{tiles.keys_across, tiles.values, begin, min(begin + tiles.keys, stop)};
    const size_t count = tile.end - tile.begin;
    prefetch_rows(a.k + s.key(b, begin, g), key_row, min(count, kPanel), s.width);
    prefetch_rows(a.v + s.key(b, begin, g), key_row, count, s.width);
    transpose_rows(a.k + s.key(b, begin, g), key_row, count, s.width, tiles.keys_across);
    copy_rows(a.v + s.key(b, begin, g), key_row, count, s.width, 1, tiles.values, s.padded, count);
    for (size_t h = h0; h < h1; h++) {
      for (size_t t = t0; t < t1; t += kBlock) {
        const size_t n = min(kBlock, t1 - t), at = (h - h0) * head_rows + (t - t0);
        if (sight.end(t + n - 1) <= tile.begin || sight.first_of(b, t, t + n) >= tile.end) continue;
        const float* here = a.q + s.query(b, t, h);
        if (t + n < t1) prefetch_rows(here + n * query_row, query_row, min(kBlock, t1 - t - n), s.width);
        if (tile.end == stop) prefetch_rows<1>(a.y + s.query(b, t, h), query_row, n, s.width);
        copy_rows(here, query_row, n, s.width, query_scale(s.width), tiles.queries, s.padded, round_up(n, kGroup));
        forward_block(s, sight, tile, tiles.queries, b, t, n, tiles.scores, tiles.part, tiles.sums + at * s.padded,
                      tiles.most + at, tiles.total + at);
      }
    }
  }
  for (size_t h = h0; h < h1; h++) {
    const size_t at = (h - h0) * head_rows;
    finish_rows(s, tiles.sums + at * s.padded, tiles.most + at, tiles.total + at, t1 - t0, a.y + s.query(b, t0, h),
                a.logsumexp + s.row(b, h, t0));
  }
}

static void forward(const Call& call, const Sizes& s, const Sight& sight, const ForwardArrays& a) {
  const ForwardTiles tiles(call.scratch<float>(), s.padded);
  // Heads of a group share packed keys, as many as there is room for; 1024 rows are enough to make packing cheap.
  const size_t heads = min(s.group, tiles.rows / kBlock);
  const size_t piece = piece_tokens(call, s, min(tiles.rows, static_cast<size_t>(1024)) / heads, kBlock);
  each_piece(call, s, piece, [&](size_t b, size_t g, size_t t0, size_t t1) {
    for (size_t r = 0; r < s.group; r += heads) {
      const size_t h = g * s.group + r;
      forward_piece(s, sight, a, tiles, b, g, h, h + min(heads, s.group - r), t0, t1);
    }
  });
}

}  // namespace bitnet::ISA_NS
