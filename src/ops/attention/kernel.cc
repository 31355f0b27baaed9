// Attention, forward and backward, in tiles: no T x S matrix ever exists. See index.ts; the definition is in reference.ts.
//
// For one (sequence, key/value head), keys go by in tiles of kKeys; each tile is packed once and serves every query head
// of the group. Queries go by in blocks of kBlock rows, whose scores against the tile stay in the first cache. Scores
// are kept in base 2 (queries are multiplied by log2(e) / sqrt(D) as they are packed), so that a probability is one
// exp2. Within a block, products stop at the diagonal in steps of kGroup queries and one vector of keys.
//
// The result does not depend on the number of threads: tiles and blocks begin at fixed positions, and sums go in the
// order of keys (forward, dq) or of heads and queries (dk, dv).
//
// NaN or Infinity in v can reach up to kGroup - 1 queries before those that see it (as 0 * NaN).
#include "backward.h"
#include "decode.h"
#include "forward.h"

namespace bitnet::ISA_NS {

INLINE Sight sight_of(const Call& call, const Sizes& s) {
  return {s.start, s.tokens, call.has(3) ? call.i32(3) : nullptr};
}

KERNEL(attention_forward) {
  const Sizes s(call);
  forward(call, s, sight_of(call, s), {call.f32(0), call.f32(1), call.f32(2), call.f32(4), call.f32(5)});
}

KERNEL(attention_decode) {
  const Sizes s(call);
  decode(call, s, sight_of(call, s),
         {call.f32(0), call.f32(1), call.f32(2), call.f32(4), call.f32(5), call.f32(6), call.size(7)});
}

KERNEL(attention_backward) {
  const Sizes s(call);
  const BackwardArrays a{call.f32(0), call.f32(1), call.f32(2), call.f32(4), call.f32(5), call.f32(6), call.f32(7),
                         call.f32(8), call.f32(9), call.f32(10), call.integer(8) != 0, call.integer(9) != 0,
                         call.integer(10) != 0};
#if ATTENTION_PAIRS
  if (call.integer(7) != 0) return backward<Pairs>(call, s, sight_of(call, s), a);
#endif
  backward<Singles>(call, s, sight_of(call, s), a);
}

}  // namespace bitnet::ISA_NS
