// Cautious weight decay (Chen et al., arXiv:2510.12402; as nanochat has it): a weight shrinks only where its update does not
// grow it. Shared by the steps of the optimizers. The definition is in ops/adamw/reference.ts.
#pragma once
#include "simd.h"

namespace bitnet::ISA_NS {

// The factor of a weight that is about to become factor * weight - rate * update: 1 where update and weight have opposite
// signs, so that the update moves the weight away from zero. By signs, not by their product, which can underflow.
INLINE VF cautious_decay(VF decay, VF update, VF weight) {
  return select(((update > 0.f) & (weight < 0.f)) | ((update < 0.f) & (weight > 0.f)), splat(1.f), decay);
}

}  // namespace bitnet::ISA_NS
