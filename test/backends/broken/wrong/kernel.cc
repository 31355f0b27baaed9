// Does not compile, on purpose: see build-native.test.ts.
#include "native/kernel.h"

namespace bitnet::ISA_NS {

KERNEL(wrong) { no_such_function(call); }

}  // namespace bitnet::ISA_NS
