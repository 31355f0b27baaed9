// Kernels that test the machinery and compute nothing of use: see native-and-wasm.test.ts.
#include "native/kernel.h"

namespace bitnet::ISA_NS {

// The same name as a helper of other files may have: each op's helpers are its own.
static float twice(float x) { return 2 * x; }

// y = 2 x + addend, each thread its share; and by[i] says which thread did it.
KERNEL(team_double) {
  const float* x = call.f32(0);
  float* y = call.f32(1);
  int32_t* by = call.i32(2);
  const Range mine = call.split(call.size(0));
  for (size_t i = mine.begin; i < mine.end; i++) {
    y[i] = twice(x[i]) + call.number(1);
    if (call.has(2)) by[i] = call.thread;
  }
}

// `rounds` times: each thread writes its slot, and after a barrier reads those of all. wrong[thread] counts slots that
// held anything but this round's number: a barrier that lets one through too soon.
KERNEL(team_barriers) {
  const int32_t rounds = call.integer(0);
  int32_t* wrong = call.i32(0);
  volatile int32_t* slots = call.shared<volatile int32_t>();
  int32_t count = 0;
  for (int32_t round = 1; round <= rounds; round++) {
    slots[call.thread] = round;
    call.barrier();
    for (int t = 0; t < call.threads; t++) count += slots[t] != round;
    call.barrier();
  }
  wrong[call.thread] = count;
}

// Every thread fills all of its scratch with its number, and checks it after a barrier; misaligned counts as wrong.
KERNEL(team_scratch) {
  uint8_t* scratch = call.scratch<uint8_t>();
  for (size_t i = 0; i < kScratchBytes; i++) scratch[i] = static_cast<uint8_t>(call.thread + 1);
  call.barrier();
  int32_t count = 0;
  for (size_t i = 0; i < kScratchBytes; i++) count += scratch[i] != call.thread + 1;
  if (reinterpret_cast<uintptr_t>(scratch) % 64 || reinterpret_cast<uintptr_t>(call.shared<uint8_t>()) % 64) count++;
  call.i32(0)[call.thread] = count;
}

// One thread stops as a wild pointer would stop it, while the others wait for it at a barrier. Only for WASM.
KERNEL(team_trap) {
  if (call.thread == call.integer(0)) __builtin_trap();
  call.barrier();
}

}  // namespace bitnet::ISA_NS
