// Rows of activations to int8, each with a scale of its own (absmax), and the sums of the codes. The definition is in
// reference.ts, the row in native/rows.h.
#include "native/rows.h"

namespace bitnet::ISA_NS {

// x [M, K] -> codes [M, K] int8, scale [M], sums [M].
KERNEL(activation_quant) {
  const size_t rows = call.size(0), width = call.size(1);
  const Range mine = call.split(rows);
  for (size_t m = mine.begin; m < mine.end; m++)
    quantise_row(call.f32(0) + m * width, width, call.number(2), call.i8(1) + m * width, call.f32(2) + m,
                 call.i32(3) + m, call.number(3));
}

}  // namespace bitnet::ISA_NS
