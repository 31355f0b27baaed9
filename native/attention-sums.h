// Softmax sums of attention, in chunks of keys: what training's kernel (src/ops/attention) and the one over cached pages
// (src/ops/cached-attention) share, so that a query gets the same bits from both, however many of them there are at once.
//
// The order, for one query: keys go by in chunks of kChunkKeys, counted from position 0. A score is one chain of fused
// sums over the head's values, in order. Of a chunk: the largest score, the sum of e^(score - largest) in kLanes running
// sums (lane_sum joins them), and one chain of e^(score - largest) · value over its keys. Chunks are joined in order by
// join_chunk. Last, the sums are multiplied by 1 / the sum of the exponentials.
#pragma once
#include "simd-math.h"

namespace bitnet::ISA_NS {

constexpr size_t kChunkKeys = 256;

// What a query is multiplied by: 1 / sqrt(D), and log2(e), so that an exponential is an exp2.
INLINE float query_scale(size_t width) { return 1 / sqrt(static_cast<float>(width)) * 1.44269504f; }

// The sum of the lanes: every fourth in order, then the four in pairs.
INLINE float lane_sum(VF v) {
  float four[4];
  UNROLL for (int i = 0; i < 4; i++) {
    four[i] = v[i];
    UNROLL for (int part = 4; part < kLanes; part += 4) four[i] += v[part + i];
  }
  return (four[0] + four[1]) + (four[2] + four[3]);
}

// Joins a chunk to the chunks before it, for kLanes queries: `most` and `total` go on from before it to after it. What was
// summed of values is to be multiplied by `before`, the chunk's by `now`, which add_chunk does. Nothing was summed where a
// total is 0 (then its largest score is -Infinity): its factor is 1.
INLINE void join_chunk(VF& most, VF& total, VF chunk_most, VF chunk_total, VF& before, VF& now) {
  const VF highest = max(chunk_most, most);
  before = select(total == 0.f, splat(1.f), exp2(most - highest));
  now = select(chunk_total == 0.f, splat(1.f), exp2(chunk_most - highest));
  total = fma(total, before, chunk_total * now);
  most = highest;
}
INLINE VF add_chunk(VF sums, VF before, VF chunk, VF now) { return fma(sums, before, chunk * now); }

}  // namespace bitnet::ISA_NS
