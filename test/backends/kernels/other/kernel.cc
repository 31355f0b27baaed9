// A second file with a helper of the same name: see team/kernel.cc.
#include "native/kernel.h"

namespace bitnet::ISA_NS {

static float twice(float x) { return x + x; }

KERNEL(other_double) {
  float* x = call.f32(0);
  const Range mine = call.split(call.size(0));
  for (size_t i = mine.begin; i < mine.end; i++) x[i] = twice(x[i]);
}

}  // namespace bitnet::ISA_NS
