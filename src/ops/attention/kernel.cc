// Attention, forward and backward, in tiles: no T x S matrix ever exists. See index.ts; the definition is in reference.ts.
//
// For one (sequence, key/value head), keys go by in tiles of kKeys; each tile is packed once and serves every query head
// of the group. Queries go by in blocks of kBlock rows, whose scores against the tile stay in the first cache. Scores
// are kept in base 2 (queries are multiplied by log2(e) / sqrt(D) as they are packed), so that a probability is one
// exp2. Within a block, products stop at the diagonal in steps of kGroup queries and one panel of keys.
//
// The result for a query does not depend on the number of threads: tiles and blocks begin at fixed positions, and sums
// go in the order of keys (forward, dq) or of heads and queries (dk, dv).
//
// NaN or Infinity in v can reach up to kGroup - 1 queries before those that see it (as 0 * NaN).
#include "../../../native/simd-math.h"
#include "tile.h"

namespace bitnet::ISA_NS {

constexpr size_t kKeys = 256;      // forward: keys in a tile, and floats in a row of scores
constexpr size_t kBlock = 24;      // forward: queries in a block
constexpr size_t kBackKeys = 96;   // backward
constexpr size_t kBackBlock = 48;
static_assert(kKeys % kPanel == 0 && kBlock % kGroup == 0 && kBackKeys % kPanel == 0 && kBackKeys % kGroup == 0 &&
              kBackBlock % kGroup == 0);
constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147182f;
// Floats of scratch. With heads as wide as kMaxHeadWidth (index.ts) a tile still holds one panel.
constexpr size_t kScratch = kScratchBytes / sizeof(float);

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

// Tokens in a piece of the queries, so that pieces are large (keys are packed once for each) but every thread has work.
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

// Sets row[end .. whole vector) and row[whole vector .. first) to `value`: what a query does not see, in vectors that
// hold something that it sees.
INLINE void mask_edges(float* row, size_t first, size_t end, float value) {
  for (size_t j = round_down(first, kVector); j < first; j++) row[j] = value;
  for (size_t j = end; j < round_up(end, kVector); j++) row[j] = value;
}

INLINE void clear(float* row, size_t from, size_t to) {
  for (size_t j = from; j < to; j += kVector) store(row + j, VF{});
}

// ---- forward

// One row of scores [first, end) to e^(score - max), with the running maximum and sum; gives the factor that what was
// summed before must be multiplied by.
INLINE float soften(float* scores, size_t first, size_t end, float& most, float& total) {
  mask_edges(scores, first, end, -__builtin_inff());
  const size_t from = round_down(first, kVector);
  VF high = splat(most);
  for (size_t j = from; j < end; j += kVector) high = max(load(scores + j), high);
  const float now = largest(high);
  const VF base = splat(now);
  VF sums = {};
  for (size_t j = from; j < end; j += kVector) {
    const VF p = exp2(load(scores + j) - base);
    store(scores + j, p);
    sums += p;
  }
  const bool fresh = total == 0;
  const float factor = fresh || now == most ? 1 : exp2(splat(most - now))[0];
  most = now;
  total = total * factor + sum(sums);
  return factor;
}

struct ForwardTile {
  const float* keys;    // transposed panels
  const float* values;  // rows
  size_t begin, end;    // of keys
};

// Adds to `out` (kBlock rows of s.padded) what queries [t, t + rows) of head h get from the tile.
static void forward_block(const Sizes& s, const Sight& sight, const ForwardTile& tile, const float* queries, size_t b,
                          size_t t, size_t rows, float* scores, float* out, float* most, float* total) {
  const size_t vectors = s.padded / kVector;
  const size_t block_first = max(sight.first_of(b, t, t + rows), tile.begin) - tile.begin;
  // For each group of queries, what of the tile any of them sees.
  auto group_end = [&](size_t i) {
    const size_t end = min(sight.end(t + min(i + kGroup, rows) - 1), tile.end);
    return end > tile.begin ? end - tile.begin : 0;
  };
  for (size_t j = round_down(block_first, kPanel); j < group_end(rows - 1); j += kPanel) {
    for (size_t i = 0; i < rows; i += kGroup) {
      if (j < group_end(i))
        multiply_block<kGroup, 2>(s.width, queries + i * s.padded, s.padded, 1, tile.keys + j * s.width, kPanel,
                                  scores + i * kKeys + j, kKeys, false);
    }
  }
  for (size_t group = 0; group < rows; group += kGroup) {
    const size_t end_of_group = group_end(group);
    if (end_of_group <= block_first) continue;
    for (size_t i = group; i < group + kGroup; i++) {
      float* row = scores + i * kKeys;
      const size_t first = i < rows ? max(sight.first(b, t + i), tile.begin) - tile.begin : 0;
      const size_t end = i < rows ? min(sight.end(t + i), tile.end) : 0;
      if (end <= tile.begin + first) {
        clear(row, round_down(block_first, kVector), end_of_group);
        continue;
      }
      const float factor = soften(row, first, end - tile.begin, most[i], total[i]);
      clear(row, round_down(block_first, kVector), round_down(first, kVector));
      clear(row, round_up(end - tile.begin, kVector), end_of_group);
      if (factor != 1) {
        const VF f = splat(factor);
        for (size_t d = 0; d < s.padded; d += kVector) store(out + i * s.padded + d, load(out + i * s.padded + d) * f);
      }
    }
    multiply<kGroup>(vectors, end_of_group - block_first, scores + group * kKeys + block_first, kKeys, 1,
                     tile.values + block_first * s.padded, s.padded, out + group * s.padded, s.padded, true);
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

KERNEL(attention_forward) {
  const float *q = call.f32(0), *k = call.f32(1), *v = call.f32(2);
  float *y = call.f32(4), *logsumexp = call.f32(5);
  const Sizes s(call);
  const Sight sight{s.start, s.tokens, call.has(3) ? call.i32(3) : nullptr};

  float* scores = call.scratch<float>();
  float* queries = scores + kBlock * kKeys;
  float* rest = queries + kBlock * s.padded;
  const size_t room = kScratch - static_cast<size_t>(rest - scores);
  // A third for the tile's keys and values, up to kKeys of them; the rest for what is summed for each query.
  const size_t tile_keys = min(kKeys, round_down(room / 3 / (2 * s.padded), kPanel));
  float* packed_keys = rest;
  float* packed_values = packed_keys + tile_keys * s.padded;
  float* sums = packed_values + tile_keys * s.padded;
  const size_t row_room = (room - tile_keys * 2 * s.padded) / (s.padded + 2);
  const size_t piece = piece_tokens(call, s, min(row_room, static_cast<size_t>(1024)) / s.group, kBlock);
  const size_t piece_rows = piece * s.group;
  float *most = sums + piece_rows * s.padded, *total = most + piece_rows;

  const size_t pieces = (s.tokens + piece - 1) / piece;
  auto tokens_of = [&](size_t i) { return min(piece, s.tokens - i * piece); };
  auto cost = [&](size_t i) {
    const double n = static_cast<double>(tokens_of(i));
    return n * (static_cast<double>(s.start + i * piece) + n / 2 + 16);
  };
  each_unit(call, s.batch * s.groups, pieces, cost, [&](size_t sequence, size_t part) {
    const size_t b = sequence / s.groups, g = sequence % s.groups;
    const size_t t0 = part * piece, t1 = t0 + tokens_of(part);
    for (size_t i = 0; i < piece_rows * s.padded; i += kVector) store(sums + i, VF{});
    for (size_t i = 0; i < piece_rows; i++) most[i] = -__builtin_inff(), total[i] = 0;
    const size_t first = sight.first_of(b, t0, t1);
    for (size_t begin = first / tile_keys * tile_keys; begin < sight.end(t1 - 1); begin += tile_keys) {
      const ForwardTile tile{packed_keys, packed_values, begin, min(begin + tile_keys, sight.end(t1 - 1))};
      const size_t count = tile.end - tile.begin, key_row = s.groups * s.width;
      transpose_rows(k + s.key(b, begin, g), key_row, count, s.width, packed_keys);
      copy_rows(v + s.key(b, begin, g), key_row, count, s.width, 1, packed_values, s.padded, count);
      for (size_t r = 0; r < s.group; r++) {
        for (size_t t = t0; t < t1; t += kBlock) {
          const size_t rows = min(kBlock, t1 - t), at = r * piece + (t - t0);
          if (sight.end(t + rows - 1) <= tile.begin || sight.first_of(b, t, t + rows) >= tile.end) continue;
          copy_rows(q + s.query(b, t, g * s.group + r), s.heads * s.width, rows, s.width, s.scale * kLog2e, queries,
                    s.padded, round_up(rows, kGroup));
          forward_block(s, sight, tile, queries, b, t, rows, scores, sums + at * s.padded, most + at, total + at);
        }
      }
    }
    for (size_t r = 0; r < s.group; r++) {
      const size_t h = g * s.group + r;
      finish_rows(s, sums + r * piece * s.padded, most + r * piece, total + r * piece, t1 - t0, y + s.query(b, t0, h),
                  logsumexp + s.row(b, h, t0));
    }
  });
}

// ---- a few queries, many keys

constexpr size_t kDecodeKeys = 256;  // as decodeKeys and decodeRows in index.ts
constexpr size_t kDecodeRows = 16;

// scores[j] = a · keys[j] for `count` keys of s.padded floats.
static void dot_rows(const float* a, const float* keys, size_t key_row, size_t count, size_t padded, float* scores) {
  constexpr size_t kParts = kLanes / 4;
  for (size_t j = 0; j < count; j += 4) {
    const size_t n = min(static_cast<size_t>(4), count - j);
    // Beyond the last key, the last again.
    const float* p[4];
    for (size_t i = 0; i < 4; i++) p[i] = keys + (j + min(i, n - 1)) * key_row;
    VF sums[4] = {};
    for (size_t d = 0; d < padded; d += kVector) {
      const VF left = load(a + d);
      UNROLL for (size_t i = 0; i < 4; i++) sums[i] = fma(left, load(p[i] + d), sums[i]);
    }
    float lanes[4 * kLanes];
    UNROLL for (size_t i = 0; i < 4; i++) store(lanes + i * kLanes, sums[i]);
    V4 four[4];
    UNROLL for (size_t i = 0; i < 4; i++) {
      four[i] = load4(lanes + i * kLanes);
      UNROLL for (size_t part = 1; part < kParts; part++) four[i] += load4(lanes + i * kLanes + part * 4);
    }
    transpose4(four[0], four[1], four[2], four[3]);
    store4(scores + j, (four[0] + four[1]) + (four[2] + four[3]));
  }
}

KERNEL(attention_decode) {
  const float *q = call.f32(0), *k = call.f32(1), *v = call.f32(2);
  float *y = call.f32(4), *logsumexp = call.f32(5), *partial = call.f32(6);
  const Sizes s(call);
  const size_t chunks = call.size(7), record = s.width + 2;
  const Sight sight{s.start, s.tokens, call.has(3) ? call.i32(3) : nullptr};
  const size_t rows = s.tokens * s.group, key_row = s.groups * s.width;

  float* scores = call.scratch<float>();
  float* queries = scores + kDecodeRows * kDecodeKeys;
  float* out = queries + kDecodeRows * s.padded;
  float* packed = out + kDecodeRows * s.padded;
  const bool whole = s.padded == s.width;  // else keys and values are copied, a few at a time, to whole vectors
  const size_t room = (kScratch - static_cast<size_t>(packed - scores)) / s.padded;
  const size_t copied = min(kDecodeKeys, room);
  auto partial_of = [&](size_t b, size_t h, size_t t, size_t c) {
    return partial + (s.row(b, h, t) * chunks + c) * record;
  };

  const Range mine = call.split(s.batch * s.groups * chunks);
  for (size_t unit = mine.begin; unit < mine.end; unit++) {
    const size_t b = unit / chunks / s.groups, g = unit / chunks % s.groups, c = unit % chunks;
    const size_t begin = c * kDecodeKeys, end = min(begin + kDecodeKeys, sight.end(s.tokens - 1));
    const size_t from = max(begin, sight.first_of(b, 0, s.tokens));
    // Rows are (head of the group, token).
    for (size_t i = 0; i < rows; i++)
      copy_rows(q + s.query(b, i % s.tokens, g * s.group + i / s.tokens), 0, 1, s.width, s.scale * kLog2e,
                queries + i * s.padded, s.padded, 1);
    for (size_t j = from; j < end; j += copied) {
      const size_t n = min(copied, end - j);
      const float* keys = k + s.key(b, j, g);
      if (!whole) copy_rows(keys, key_row, n, s.width, 1, packed, s.padded, n);
      for (size_t i = 0; i < rows; i++)
        dot_rows(queries + i * s.padded, whole ? keys : packed, whole ? key_row : s.padded, n, s.padded,
                 scores + i * kDecodeKeys + (j - begin));
    }
    float most[kDecodeRows], total[kDecodeRows];
    for (size_t i = 0; i < rows; i++) {
      const size_t t = i % s.tokens, first = max(sight.first(b, t), begin), last = min(sight.end(t), end);
      float* row = scores + i * kDecodeKeys;
      most[i] = -__builtin_inff();
      total[i] = 0;
      for (size_t d = 0; d < s.padded; d += kVector) store(out + i * s.padded + d, VF{});
      if (last <= first) {
        clear(row, 0, kDecodeKeys);
        continue;
      }
      soften(row, first - begin, last - begin, most[i], total[i]);
      clear(row, 0, round_down(first - begin, kVector));
      clear(row, round_up(last - begin, kVector), kDecodeKeys);
    }
    for (size_t j = from; j < end; j += copied) {
      const size_t n = min(copied, end - j), vectors = s.padded / kVector, step = whole ? key_row : s.padded;
      const float* values = v + s.key(b, j, g);
      if (!whole) {
        copy_rows(values, key_row, n, s.width, 1, packed, s.padded, n);
        values = packed;
      }
      const float* weights = scores + (j - begin);
      size_t i = 0;
      for (; i + 4 <= rows; i += 4)
        multiply<4>(vectors, n, weights + i * kDecodeKeys, kDecodeKeys, 1, values, step, out + i * s.padded, s.padded, true);
      for (; i < rows; i++)
        multiply<1>(vectors, n, weights + i * kDecodeKeys, kDecodeKeys, 1, values, step, out + i * s.padded, s.padded, true);
    }
    for (size_t i = 0; i < rows; i++) {
      float* p = partial_of(b, g * s.group + i / s.tokens, i % s.tokens, c);
      p[0] = most[i];
      p[1] = total[i];
      for (size_t d = 0; d < s.width; d++) p[2 + d] = out[i * s.padded + d];
    }
  }
  call.barrier();

  const Range joined = call.split(s.batch * s.heads * s.tokens);
  for (size_t row = joined.begin; row < joined.end; row++) {
    const size_t t = row % s.tokens, h = row / s.tokens % s.heads, b = row / s.tokens / s.heads;
    const float* p = partial_of(b, h, t, 0);
    float most = -__builtin_inff(), total = 0;
    // A chunk of which the query sees nothing has a sum of 0.
    for (size_t c = 0; c < chunks; c++) if (p[c * record + 1] != 0) most = max(p[c * record], most);
    for (size_t d = 0; d < s.padded; d += kVector) store(out + d, VF{});
    for (size_t c = 0; c < chunks; c++) {
      const float* one = p + c * record;
      if (one[1] == 0) continue;
      const float factor = exp2(splat(one[0] - most))[0];
      total += one[1] * factor;
      for (size_t d = 0; d < s.width; d += kVector) {
        const size_t n = min(kVector, s.width - d);
        store(out + d, fma(load_part(one + 2 + d, n), splat(factor), load(out + d)));
      }
    }
    finish_rows(s, out, &most, &total, 1, y + s.query(b, t, h), logsumexp + row);
  }
}

// ---- backward

struct Gradients {
  float *dq, *dk, *dv;
  bool add_q, add_k, add_v;
};

struct BackwardInputs {
  const float *q, *k, *v, *logsumexp, *dy, *delta;
};

// Scratch of one thread in backward.
struct BackwardTiles {
  size_t keys;                         // keys in a tile
  float *p, *ds;                       // [kBackBlock][kBackKeys]
  float *queries, *dy, *dq;            // [kBackBlock][padded]
  float *keys_across, *values_across;  // transposed panels
  float *key_rows;                     // [keys][padded]
  float *dk, *dv;                      // [keys][padded]

  BackwardTiles(float* base, size_t padded) {
    auto take = [&](size_t n) { float* p = base; base += n; return p; };
    const size_t room = kScratch - 2 * kBackBlock * kBackKeys - 3 * kBackBlock * padded;
    constexpr size_t kUnit = kPanel > kGroup ? round_up(kPanel, kPanel % kGroup ? 3 * kPanel : kPanel) : kGroup;
    keys = min(kBackKeys, round_down(room / (5 * padded), kUnit));
    p = take(kBackBlock * kBackKeys);
    ds = take(kBackBlock * kBackKeys);
    queries = take(kBackBlock * padded);
    dy = take(kBackBlock * padded);
    dq = take(kBackBlock * padded);
    keys_across = take(keys * padded);
    values_across = take(keys * padded);
    key_rows = take(keys * padded);
    dk = take(keys * padded);
    dv = take(keys * padded);
  }
};

// Gradients from queries [t, t + rows) of head h against keys [begin, end): added to tiles.dk and tiles.dv, and to dq.
static void backward_block(const Sizes& s, const Sight& sight, const BackwardInputs& in, const BackwardTiles& tiles,
                           const Gradients& out, size_t b, size_t h, size_t t, size_t rows, size_t begin, size_t end) {
  const size_t padded_rows = round_up(rows, kGroup), query_row = s.heads * s.width, vectors = s.padded / kVector;
  copy_rows(in.q + s.query(b, t, h), query_row, rows, s.width, s.scale * kLog2e, tiles.queries, s.padded, padded_rows);
  copy_rows(in.dy + s.query(b, t, h), query_row, rows, s.width, 1, tiles.dy, s.padded, padded_rows);
  const size_t block_first = max(sight.first_of(b, t, t + rows), begin) - begin;
  auto group_end = [&](size_t i) {
    const size_t e = min(sight.end(t + min(i + kGroup, rows) - 1), end);
    return e > begin ? e - begin : 0;
  };
  const size_t block_end = group_end(rows - 1);
  const size_t panels_from = round_down(block_first, kPanel), panels_to = round_up(block_end, kPanel);
  for (size_t j = panels_from; j < panels_to; j += kPanel) {
    for (size_t i = 0; i < rows; i += kGroup) {
      if (j >= group_end(i)) continue;
      multiply_block<kGroup, 2>(s.width, tiles.queries + i * s.padded, s.padded, 1, tiles.keys_across + j * s.width,
                                kPanel, tiles.p + i * kBackKeys + j, kBackKeys, false);
      multiply_block<kGroup, 2>(s.width, tiles.dy + i * s.padded, s.padded, 1, tiles.values_across + j * s.width, kPanel,
                                tiles.ds + i * kBackKeys + j, kBackKeys, false);
    }
  }
  // p = 2^(score - logsumexp), ds = p * (dp - delta); zero for keys that the query does not see, up to whole groups.
  const size_t clear_from = min(panels_from, round_down(round_down(block_first, kGroup), kVector));
  const size_t clear_to = min(round_up(round_up(block_end, kGroup), kVector), kBackKeys);
  for (size_t i = 0; i < padded_rows; i++) {
    float *p = tiles.p + i * kBackKeys, *ds = tiles.ds + i * kBackKeys;
    const size_t first = i < rows ? max(sight.first(b, t + i), begin) - begin : 0;
    const size_t last = i < rows ? min(sight.end(t + i), end) : 0;
    if (last <= begin + first) {
      clear(p, clear_from, clear_to);
      clear(ds, clear_from, clear_to);
      continue;
    }
    const size_t stop = last - begin, row = s.row(b, h, t + i);
    const VF base = splat(in.logsumexp[row] * kLog2e), delta = splat(in.delta[row]);
    mask_edges(p, first, stop, -__builtin_inff());
    mask_edges(ds, first, stop, 0);
    for (size_t j = round_down(first, kVector); j < stop; j += kVector) {
      const VF probability = exp2(load(p + j) - base);
      store(p + j, probability);
      store(ds + j, probability * (load(ds + j) - delta));
    }
    clear(p, clear_from, round_down(first, kVector));
    clear(ds, clear_from, round_down(first, kVector));
    clear(p, round_up(stop, kVector), clear_to);
    clear(ds, round_up(stop, kVector), clear_to);
  }
  if (out.dk || out.dv) {
    for (size_t j = round_down(block_first, kGroup); j < block_end; j += kGroup) {
      // The first query that sees any of these keys.
      const size_t sees = begin + j > s.start + t ? begin + j - s.start - t : 0;
      const size_t depth = rows - sees;
      if (out.dv)
        multiply<kGroup>(vectors, depth, tiles.p + sees * kBackKeys + j, 1, kBackKeys, tiles.dy + sees * s.padded,
                         s.padded, tiles.dv + j * s.padded, s.padded, true);
      if (out.dk)
        multiply<kGroup>(vectors, depth, tiles.ds + sees * kBackKeys + j, 1, kBackKeys, tiles.queries + sees * s.padded,
                         s.padded, tiles.dk + j * s.padded, s.padded, true);
    }
  }
  if (!out.dq) return;
  for (size_t i = 0; i < rows; i += kGroup) {
    const size_t stop = group_end(i);
    if (stop <= block_first) continue;
    multiply<kGroup>(vectors, stop - block_first, tiles.ds + i * kBackKeys + block_first, kBackKeys, 1,
                     tiles.key_rows + block_first * s.padded, s.padded, tiles.dq + i * s.padded, s.padded, false);
    for (size_t r = i; r < min(i + kGroup, rows); r++) {
      float* to = out.dq + s.query(b, t + r, h);
      for (size_t d = 0; d < s.width; d += kVector) {
        const size_t n = min(kVector, s.width - d);
        store_part(to + d, fma(load(tiles.dq + r * s.padded + d), splat(s.scale), load_part(to + d, n)), n);
      }
    }
  }
}

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

// Gradients from queries [t0, t1) of one (sequence, key/value head) against keys [from, to). dk and dv are complete, and
// written, when the queries are all.
static void backward_part(const Sizes& s, const Sight& sight, const BackwardInputs& in, const BackwardTiles& tiles,
                          const Gradients& out, size_t b, size_t g, size_t t0, size_t t1, size_t from, size_t to) {
  const size_t key_row = s.groups * s.width;
  if (out.dq && !out.add_q) {
    for (size_t t = t0; t < t1; t++) {
      float* row = out.dq + s.query(b, t, g * s.group);
      for (size_t d = 0; d < s.group * s.width; d += kVector) store_part(row + d, VF{}, min(kVector, s.group * s.width - d));
    }
  }
  const size_t seen_first = sight.first_of(b, t0, t1);
  for (size_t begin = from; begin < to; begin += tiles.keys) {
    const size_t end = min(begin + tiles.keys, to), seen = min(end, sight.end(t1 - 1));
    for (size_t i = 0; i < tiles.keys * s.padded; i += kVector) {
      store(tiles.dk + i, VF{});
      store(tiles.dv + i, VF{});
    }
    if (seen > begin && seen > seen_first) {
      const size_t count = seen - begin;
      transpose_rows(in.k + s.key(b, begin, g), key_row, count, s.width, tiles.keys_across);
      transpose_rows(in.v + s.key(b, begin, g), key_row, count, s.width, tiles.values_across);
      if (out.dq) copy_rows(in.k + s.key(b, begin, g), key_row, count, s.width, 1, tiles.key_rows, s.padded, count);
      for (size_t r = 0; r < s.group; r++) {
        for (size_t t = t0; t < t1; t += kBackBlock) {
          const size_t rows = min(kBackBlock, t1 - t);
          if (sight.end(t + rows - 1) <= begin || sight.first_of(b, t, t + rows) >= seen) continue;
          backward_block(s, sight, in, tiles, out, b, g * s.group + r, t, rows, begin, seen);
        }
      }
    }
    const size_t at = s.key(b, begin, g), count = end - begin;
    // Queries were multiplied by log2(e) / sqrt(D); dk is to be with 1 / sqrt(D).
    if (out.dk) write_rows(tiles.dk, s.padded, kLn2, out.dk + at, key_row, count, s.width, out.add_k);
    if (out.dv) write_rows(tiles.dv, s.padded, 1, out.dv + at, key_row, count, s.width, out.add_v);
  }
}

KERNEL(attention_backward) {
  const Sizes s(call);
  const Sight sight{s.start, s.tokens, call.has(3) ? call.i32(3) : nullptr};
  const float *y = call.f32(4), *dy = call.f32(6);
  float* delta = call.f32(7);
  const BackwardInputs in{call.f32(0), call.f32(1), call.f32(2), call.f32(5), dy, delta};
  const Gradients out{call.has(8) ? call.f32(8) : nullptr, call.has(9) ? call.f32(9) : nullptr,
                      call.has(10) ? call.f32(10) : nullptr, call.integer(8) != 0, call.integer(9) != 0,
                      call.integer(10) != 0};
  const BackwardTiles tiles(call.scratch<float>(), s.padded);

  // delta = dy · y for each query.
  const Range mine = call.split(s.batch * s.tokens);
  for (size_t m = mine.begin; m < mine.end; m++) {
    for (size_t h = 0; h < s.heads; h++) {
      const float *a = dy + (m * s.heads + h) * s.width, *c = y + (m * s.heads + h) * s.width;
      VF sums = {};
      for (size_t d = 0; d < s.width; d += kVector) {
        const size_t n = min(kVector, s.width - d);
        sums = fma(load_part(a + d, n), load_part(c + d, n), sums);
      }
      delta[s.row(m / s.tokens, h, m % s.tokens)] = sum(sums);
    }
  }
  call.barrier();

  const size_t sequences = s.batch * s.groups, threads = static_cast<size_t>(call.threads);
  const size_t seen = s.start + s.tokens;
  if (sequences % threads == 0 || sequences >= 8 * threads) {
    const Range whole = call.split(sequences);
    for (size_t u = whole.begin; u < whole.end; u++)
      backward_part(s, sight, in, tiles, out, u / s.groups, u % s.groups, 0, s.tokens, 0, s.keys);
    return;
  }
  // Too few for an even share: by tiles of keys for dk and dv, then by pieces of queries for dq, at the price of
  // computing scores in both.
  if (out.dk || out.dv) {
    const Gradients keys_only{nullptr, out.dk, out.dv, false, out.add_k, out.add_v};
    const size_t count = (s.keys + tiles.keys - 1) / tiles.keys;
    auto cost = [&](size_t i) {
      const size_t first = i * tiles.keys;  // seen by the queries from first - start on
      const size_t before = first > s.start ? first - s.start : 0;
      return 1.0 + (before < s.tokens ? static_cast<double>(s.tokens - before) : 0.0);
    };
    each_unit(call, sequences, count, cost, [&](size_t u, size_t i) {
      const size_t first = i * tiles.keys;
      backward_part(s, sight, in, tiles, keys_only, u / s.groups, u % s.groups, 0, s.tokens, first,
                    min(first + tiles.keys, s.keys));
    });
  }
  if (out.dq) {
    const Gradients queries_only{out.dq, nullptr, nullptr, out.add_q, false, false};
    const size_t piece = piece_tokens(call, s, 1024, kBackBlock), count = (s.tokens + piece - 1) / piece;
    auto cost = [&](size_t i) {
      const double n = static_cast<double>(min(piece, s.tokens - i * piece));
      return n * (static_cast<double>(s.start + i * piece) + n / 2 + 16);
    };
    each_unit(call, sequences, count, cost, [&](size_t u, size_t i) {
      backward_part(s, sight, in, tiles, queries_only, u / s.groups, u % s.groups, i * piece,
                    min((i + 1) * piece, s.tokens), 0, seen);
    });
  }
}

}  // namespace bitnet::ISA_NS
