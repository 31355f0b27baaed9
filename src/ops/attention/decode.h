// Attention forward for few queries and many keys, as when a model writes token by token. Keys and values are read where
// they lie; chunks of kDecodeKeys keys are shared out, and what each gives is joined.
#pragma once
#include "forward.h"

namespace bitnet::ISA_NS {

struct DecodeArrays {
  const float *q, *k, *v;
  float *y, *logsumexp;
  // For each (sequence, head, token, chunk): the largest score, the sum of e^(score - largest), and s.width sums of
  // e^(score - largest) times values.
  float* partial;
  size_t chunks;
};

constexpr size_t kFew = 8;  // values that go by together

template <size_t n>
struct Count {
  static constexpr size_t value = n;
};

// Calls body(i, count) for rows [i, end), up to 4 at a time.
template <class Body>
INLINE void each_rows(size_t i, size_t end, Body body) {
  for (; i + 4 <= end; i += 4) body(i, Count<4>{});
  for (; i + 2 <= end; i += 2) body(i, Count<2>{});
  for (; i < end; i++) body(i, Count<1>{});
}

// Calls body(g, j, rows, count, step) for a few values at a time, of each of the key/value heads [g0, g1) in
// turn: memory is read nearly in order, which the hardware foresees (asking ahead by hand was slower). Rows that are not
// whole vectors are copied to such.
template <class Body>
INLINE void each_few(const Sizes& s, const float* from, size_t b, size_t g0, size_t g1, size_t begin, size_t end,
                     float* packed, Body body) {
  const bool whole = s.padded == s.width;
  const size_t key_row = s.groups * s.width;
  for (size_t j = begin; j < end; j += kFew) {
    const size_t n = min(kFew, end - j);
    for (size_t g = g0; g < g1; g++) {
      const float* rows = from + s.key(b, j, g);
      if (!whole) copy_rows(rows, key_row, n, s.width, 1, packed, s.padded, n);
      body(g, j, whole ? rows : packed, n, whole ? key_row : s.padded);
    }
  }
}

// One chunk of keys of key/value heads [g0, g1), for every query of the heads that read them. Rows are (head, token).
static void decode_chunk(const Sizes& s, const Sight& sight, const DecodeArrays& a, float* scratch, size_t b, size_t g0,
                         size_t g1, size_t chunk) {
  const size_t rows = s.tokens * s.group, all = (g1 - g0) * rows, vectors = s.padded / kVector;
  const size_t h0 = g0 * s.group, record_size = s.width + 2;
  float* scores = scratch;
  float* queries = scores + all * kDecodeKeys;
  float* out = queries + all * s.padded;
  float* packed = out + all * s.padded;  // kFew rows of values, or a panel of keys
  auto record = [&](size_t row) {
    return a.partial + (s.row(b, h0 + row / s.tokens, row % s.tokens) * a.chunks + chunk) * record_size;
  };

  const size_t begin = chunk * kDecodeKeys, end = min(begin + kDecodeKeys, sight.end(s.tokens - 1));
  const size_t from = max(begin, sight.first_of(b, 0, s.tokens));
  for (size_t i = 0; i < all; i++)
    copy_rows(a.q + s.query(b, i % s.tokens, h0 + i / s.tokens), 0, 1, s.width, query_scale(s.width), queries + i * s.padded,
              s.padded, 1);
  // Keys across panels, as in forward.h: each score is one chain of sums.
  for (size_t j = round_down(from, kPanel); j < end; j += kPanel) {
    const size_t n = min(kPanel, end - j);
    for (size_t g = g0; g < g1; g++) {
      transpose_rows(a.k + s.key(b, j, g), s.groups * s.width, n, s.width, packed);
      const size_t row = (g - g0) * rows;
      each_rows(row, row + rows, [&](size_t i, auto count) {
        const float* left = queries + i * s.padded;
        float* to = scores + i * kDecodeKeys + (j - begin);
        if (n > kVector) multiply_block<count.value, 2, Singles>(s.width, left, s.padded, 1, packed, kPanel, to, kDecodeKeys, false);
        else multiply_block<count.value, 1, Singles>(s.width, left, s.padded, 1, packed, kPanel, to, kDecodeKeys, false);
      });
    }
  }

  size_t first_of_token[kRowsRoom], end_of_token[kRowsRoom], first[kRowsRoom], last[kRowsRoom];
  sight.rows(b, 0, s.tokens, begin, end, first_of_token, end_of_token);
  for (size_t i = 0; i < kRowsRoom; i++) {
    first[i] = i < rows ? first_of_token[i % s.tokens] : 0;
    last[i] = i < rows ? end_of_token[i % s.tokens] : 0;
  }
  for (size_t row = 0; row < all; row += rows) {
    float most[kRowsRoom], total[kRowsRoom];
    soften(scores + row * kDecodeKeys, rows, first, last, most, total);
    for (size_t i = 0; i < rows; i++) {
      float* p = scores + (row + i) * kDecodeKeys;
      clear(p, 0, last[i] ? round_down(first[i], kVector) : kDecodeKeys);
      if (last[i]) clear(p, round_up(last[i], kVector), kDecodeKeys);
      record(row + i)[0] = most[i];
      record(row + i)[1] = total[i];
    }
  }

  clear(out, 0, all * s.padded);
  each_few(s, a.v, b, g0, g1, from, end, packed, [&](size_t g, size_t j, const float* values, size_t n, size_t step) {
    const size_t row = (g - g0) * rows;
    each_rows(row, row + rows, [&](size_t i, auto count) {
      multiply<count.value>(vectors, n, scores + i * kDecodeKeys + (j - begin), kDecodeKeys, 1, values, step,
                            out + i * s.padded, s.padded, true);
    });
  });
  for (size_t i = 0; i < all; i++) {
    for (size_t d = 0; d < s.width; d += kVector)
      store_part(record(i) + 2 + d, load(out + i * s.padded + d), min(kVector, s.width - d));
  }
}

// What the chunks of one query row gave, joined.
static void join_chunks(const Sizes& s, const DecodeArrays& a, float* out, size_t row) {
  const size_t t = row % s.tokens, h = row / s.tokens % s.heads, b = row / s.tokens / s.heads;
  const size_t record = s.width + 2;
  const float* p = a.partial + row * a.chunks * record;
  VF most = splat(-__builtin_inff()), total = {};
  clear(out, 0, s.padded);
  for (size_t c = 0; c < a.chunks; c++, p += record) {
    VF before, now;
    join_chunk(most, total, splat(p[0]), splat(p[1]), before, now);
    for (size_t d = 0; d < s.width; d += kVector)
      store(out + d, add_chunk(load(out + d), before, load_part(p + 2 + d, min(kVector, s.width - d)), now));
  }
  const float tops = most[0], sums = total[0];
  finish_rows(s, out, &tops, &sums, 1, a.y + s.query(b, t, h), a.logsumexp + row);
}

static void decode(const Call& call, const Sizes& s, const Sight& sight, const DecodeArrays& a) {
  float* scratch = call.scratch<float>();
  // Heads of a unit: all, so that memory is read in order, but fewer where there would be too few units.
  const size_t rows = s.tokens * s.group, threads = static_cast<size_t>(call.threads);
  const size_t room = (kScratch - kPanel * s.padded) / (rows * (kDecodeKeys + 2 * s.padded));
  size_t spans = (s.groups + room - 1) / room;
  while (spans < s.groups && s.batch * a.chunks * spans < 8 * threads) spans++;
  const size_t units = s.batch * a.chunks * spans;
  const Range mine = call.split(units);
  for (size_t unit = mine.begin; unit < mine.end; unit++) {
    const size_t part = unit % spans, chunk = unit / spans;
    decode_chunk(s, sight, a, scratch, chunk / a.chunks, s.groups * part / spans, s.groups * (part + 1) / spans,
                 chunk % a.chunks);
  }
  call.barrier();
  const Range joined = call.split(s.batch * s.heads * s.tokens);
  for (size_t row = joined.begin; row < joined.end; row++) join_chunks(s, a, scratch, row);
}

}  // namespace bitnet::ISA_NS
