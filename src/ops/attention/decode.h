// Attention forward for few queries and many keys, as when a model writes token by token. Keys and values are read where
// they lie; chunks of kDecodeKeys keys are shared out, and what each gives is joined.
#pragma once
#include "forward.h"

namespace bitnet::ISA_NS {

// scores[j] = a · keys[j] for `count` keys of s.padded floats.
static void dot_rows(const float* a, const float* keys, size_t key_row, size_t count, size_t padded, float* scores) {
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
    store4(scores + j, sums_of(sums));
  }
}

struct DecodeArrays {
  const float *q, *k, *v;
  float *y, *logsumexp;
  // For each (sequence, head, token, chunk): the largest score, the sum of e^(score - largest), and s.width sums of
  // e^(score - largest) times values.
  float* partial;
  size_t chunks;
};

// One chunk of one key/value head, for every query of the heads that read it. Rows are (head of the group, token).
static void decode_chunk(const Sizes& s, const Sight& sight, const DecodeArrays& a, float* scratch, size_t b, size_t g,
                         size_t chunk) {
  const size_t rows = s.tokens * s.group, key_row = s.groups * s.width, vectors = s.padded / kVector;
  float* scores = scratch;
  float* queries = scores + kDecodeRows * kDecodeKeys;
  float* out = queries + kDecodeRows * s.padded;
  float* packed = out + kDecodeRows * s.padded;
  // Rows that are not whole vectors are copied, some at a time, to such.
  const bool whole = s.padded == s.width;
  const size_t step = whole ? key_row : s.padded;
  const size_t some = min(kDecodeKeys, (kScratch - static_cast<size_t>(packed - scratch)) / s.padded);
  auto rows_at = [&](const float* from, size_t count) {
    if (!whole) copy_rows(from, key_row, count, s.width, 1, packed, s.padded, count);
    return whole ? from : packed;
  };

  const size_t begin = chunk * kDecodeKeys, end = min(begin + kDecodeKeys, sight.end(s.tokens - 1));
  const size_t from = max(begin, sight.first_of(b, 0, s.tokens));
  size_t first[kRowsRoom], stop[kRowsRoom], rows_first[kRowsRoom], rows_stop[kRowsRoom];
  sight.rows(b, 0, s.tokens, begin, end, first, stop);
  for (size_t i = 0; i < kRowsRoom; i++) {
    rows_first[i] = i < rows ? first[i % s.tokens] : 0;
    rows_stop[i] = i < rows ? stop[i % s.tokens] : 0;
  }
  for (size_t i = 0; i < rows; i++)
    copy_rows(a.q + s.query(b, i % s.tokens, g * s.group + i / s.tokens), 0, 1, s.width, s.scale * kLog2e,
              queries + i * s.padded, s.padded, 1);
  for (size_t j = from; j < end; j += some) {
    const size_t n = min(some, end - j);
    const float* keys = rows_at(a.k + s.key(b, j, g), n);
    for (size_t i = 0; i < rows; i++)
      dot_rows(queries + i * s.padded, keys, step, n, s.padded, scores + i * kDecodeKeys + (j - begin));
  }
  float most[kDecodeRows], total[kDecodeRows], factor[kRowsRoom];
  for (size_t i = 0; i < rows; i++) most[i] = -__builtin_inff(), total[i] = 0;
  soften(scores, rows, rows_first, rows_stop, most, total, factor);
  for (size_t i = 0; i < rows; i++) {
    float* row = scores + i * kDecodeKeys;
    clear(row, 0, rows_stop[i] ? round_down(rows_first[i], kVector) : kDecodeKeys);
    if (rows_stop[i]) clear(row, round_up(rows_stop[i], kVector), kDecodeKeys);
  }
  clear(out, 0, rows * s.padded);
  for (size_t j = from; j < end; j += some) {
    const size_t n = min(some, end - j);
    const float* values = rows_at(a.v + s.key(b, j, g), n);
    const float* weights = scores + (j - begin);
    size_t i = 0;
    for (; i + 4 <= rows; i += 4)
      multiply<4>(vectors, n, weights + i * kDecodeKeys, kDecodeKeys, 1, values, step, out + i * s.padded, s.padded, true);
    for (; i < rows; i++)
      multiply<1>(vectors, n, weights + i * kDecodeKeys, kDecodeKeys, 1, values, step, out + i * s.padded, s.padded, true);
  }
  for (size_t i = 0; i < rows; i++) {
    float* p = a.partial +
               (s.row(b, g * s.group + i / s.tokens, i % s.tokens) * a.chunks + chunk) * (s.width + 2);
    p[0] = most[i];
    p[1] = total[i];
    for (size_t d = 0; d < s.width; d += kVector)
      store_part(p + 2 + d, load(out + i * s.padded + d), min(kVector, s.width - d));
  }
}

// What the chunks of one query row gave, joined.
static void join_chunks(const Sizes& s, const DecodeArrays& a, float* out, size_t row) {
  const size_t t = row % s.tokens, h = row / s.tokens % s.heads, b = row / s.tokens / s.heads;
  const size_t record = s.width + 2;
  const float* p = a.partial + row * a.chunks * record;
  float most = -__builtin_inff(), total = 0;
  // A chunk of which the query sees nothing has a sum of 0.
  for (size_t c = 0; c < a.chunks; c++) {
    if (p[c * record + 1] != 0) most = max(p[c * record], most);
  }
  clear(out, 0, s.padded);
  for (size_t c = 0; c < a.chunks; c++, p += record) {
    if (p[1] == 0) continue;
    const VF factor = exp2(splat(p[0] - most));
    total += p[1] * factor[0];
    for (size_t d = 0; d < s.width; d += kVector)
      store(out + d, fma(load_part(p + 2 + d, min(kVector, s.width - d)), factor, load(out + d)));
  }
  finish_rows(s, out, &most, &total, 1, a.y + s.query(b, t, h), a.logsumexp + row);
}

static void decode(const Call& call, const Sizes& s, const Sight& sight, const DecodeArrays& a) {
  float* scratch = call.scratch<float>();
  const Range mine = call.split(s.batch * s.groups * a.chunks);
  for (size_t unit = mine.begin; unit < mine.end; unit++) {
    const size_t sequence = unit / a.chunks;
    decode_chunk(s, sight, a, scratch, sequence / s.groups, sequence % s.groups, unit % a.chunks);
  }
  call.barrier();
  const Range joined = call.split(s.batch * s.heads * s.tokens);
  for (size_t row = joined.begin; row < joined.end; row++) join_chunks(s, a, scratch, row);
}

}  // namespace bitnet::ISA_NS
