// The WASM side of src/backends/wasm.ts: the same kernels, on a team of JavaScript threads that share one memory. There
// is no operating system here: JavaScript lays out the memory (stacks, scratch, the Control below), starts the threads,
// and each of them has an instance of this module with a stack of its own.
//
// Waiting is by spinning and then sleeping, as in the addon (native/addon/pool.h), with the instructions of the threads
// proposal. A kernel that traps (a bug) must not leave the others waiting for ever: `fail` wakes them, and they trap too.
#include "native/kernel.h"

#define EXPORT(name) extern "C" __attribute__((export_name(#name)))

// With bulk memory these are single instructions; the compiler calls them by name where it makes copies of its own.
extern "C" void* memset(void* p, int c, size_t n) { return __builtin_memset(p, c, n); }
extern "C" void* memcpy(void* to, const void* from, size_t n) { return __builtin_memcpy(to, from, n); }
extern "C" void* memmove(void* to, const void* from, size_t n) { return __builtin_memmove(to, from, n); }

namespace bitnet {
namespace simd128 {
extern const KernelFunction kernels[];
}

namespace {

constexpr int kMaxArguments = 32;  // buffers, and numbers, of one kernel

struct alignas(64) Gate {
  int32_t value;

  int32_t now() const { return __atomic_load_n(&value, __ATOMIC_SEQ_CST); }
  void advance() {
    __atomic_fetch_add(&value, 1, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_notify(&value, 0xffffffffu);
  }
};

struct Control : Team {
  // Written by JavaScript before a launch.
  double addresses[kMaxArguments];
  double numbers[kMaxArguments];
  // Written once, by setup.
  int32_t threads, spins;
  uint8_t *scratch, *shared;
  // Written by launch.
  void* buffers[kMaxArguments];
  int32_t kernel;
  // Or, by run_program: commands, each 1 + 2 · kMaxArguments numbers (the kernel, addresses, numbers).
  const double* commands;
  int32_t command_count;
  int32_t stopping, failed;
  Gate start, done, barrier;
  alignas(64) int32_t running;
  alignas(64) int32_t arrived;

  void wait_past(Gate& gate, int32_t old) {
    for (int32_t i = 0; i < spins; i++)
      if (gate.now() != old) return;
    while (gate.now() == old && !__atomic_load_n(&failed, __ATOMIC_SEQ_CST))
      __builtin_wasm_memory_atomic_wait32(&gate.value, old, -1);
  }

  static void wait_for_all(Team* team) {
    Control* c = static_cast<Control*>(team);
    const int32_t before = c->barrier.now();
    if (__atomic_fetch_add(&c->arrived, 1, __ATOMIC_SEQ_CST) == c->threads - 1) {
      __atomic_store_n(&c->arrived, 0, __ATOMIC_SEQ_CST);
      c->barrier.advance();
    } else {
      c->wait_past(c->barrier, before);
      if (c->failed) __builtin_trap();
    }
  }

  void run_as(int32_t thread) {
    uint8_t* own = scratch + static_cast<size_t>(thread) * kScratchBytes;
    if (!commands) return simd128::kernels[kernel](Call{buffers, numbers, thread, threads, own, shared, this});
    for (int32_t c = 0; c < command_count; c++) {
      const double* command = commands + c * (1 + 2 * kMaxArguments);
      void* arguments[kMaxArguments];
      for (int i = 0; i < kMaxArguments; i++)
        arguments[i] = reinterpret_cast<void*>(static_cast<uintptr_t>(command[1 + i]));
      simd128::kernels[static_cast<int32_t>(command[0])](
          Call{arguments, command + 1 + kMaxArguments, thread, threads, own, shared, this});
      if (threads > 1 && c + 1 < command_count) wait_for_all(this);
    }
  }
};

const char names[] =
#define NAME(name) #name "\n"
#include "kernels.h"  // written by build-wasm.js: BITNET_KERNELS
    BITNET_KERNELS(NAME) "";
#undef NAME

}  // namespace
}  // namespace bitnet

using bitnet::Control;

// The kernels' names by index, each ended by a newline.
EXPORT(kernel_names) const char* kernel_names() { return bitnet::names; }
EXPORT(kernel_names_size) uint32_t kernel_names_size() { return sizeof(bitnet::names) - 1; }

// Sizes of what JavaScript lays out.
EXPORT(control_bytes) uint32_t control_bytes() { return sizeof(Control); }
EXPORT(scratch_bytes) uint32_t scratch_bytes() { return bitnet::kScratchBytes; }
EXPORT(shared_bytes) uint32_t shared_bytes() { return bitnet::kSharedBytes; }
EXPORT(addresses_of) double* addresses_of(Control* c) { return c->addresses; }
EXPORT(numbers_of) double* numbers_of(Control* c) { return c->numbers; }

// Once, by the thread that launches, over zeroed memory, before any other thread starts.
EXPORT(setup)
void setup(Control* c, int32_t threads, int32_t spins, uint8_t* scratch, uint8_t* shared) {
  c->wait = &Control::wait_for_all;
  c->threads = threads;
  c->spins = spins;
  c->scratch = scratch;
  c->shared = shared;
}

static void run_all(Control* c) {
  __atomic_store_n(&c->running, c->threads - 1, __ATOMIC_SEQ_CST);
  const int32_t before = c->done.now();
  if (c->threads > 1) c->start.advance();
  c->run_as(0);
  if (c->threads > 1) c->wait_past(c->done, before);
  if (c->failed) __builtin_trap();
}

// Runs a kernel on all threads, this one being thread 0, and returns when it has ended.
EXPORT(launch) void launch(Control* c, int32_t kernel) {
  for (int i = 0; i < bitnet::kMaxArguments; i++)
    c->buffers[i] = reinterpret_cast<void*>(static_cast<uintptr_t>(c->addresses[i]));
  c->kernel = kernel;
  c->commands = nullptr;
  run_all(c);
}

// Runs kernels one after the other, all threads ending one before any begins the next.
EXPORT(run_program) void run_program(Control* c, const double* commands, int32_t count) {
  c->commands = commands;
  c->command_count = count;
  run_all(c);
}

// The life of thread 1, 2, ...: returns after stop().
EXPORT(work) void work(Control* c, int32_t thread) {
  for (int32_t seen = 0;; seen++) {  // start advances once for each kernel, and not before the last one is done
    c->wait_past(c->start, seen);
    if (c->stopping || c->failed) return;
    c->run_as(thread);
    if (__atomic_fetch_sub(&c->running, 1, __ATOMIC_SEQ_CST) == 1) c->done.advance();
  }
}

EXPORT(stop) void stop(Control* c) {
  c->stopping = 1;
  c->start.advance();
}

// A thread trapped: nothing runs here again.
EXPORT(fail) void fail(Control* c) {
  __atomic_store_n(&c->failed, 1, __ATOMIC_SEQ_CST);
  c->start.advance();
  c->done.advance();
  c->barrier.advance();
}
