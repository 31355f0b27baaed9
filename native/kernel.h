// What a kernel sees. A kernel is one C++ function, written once over simd.h, compiled once for each instruction set
// (in a namespace of its own, ISA_NS) and once to WASM, and run by every thread of the pool at the same time:
//
//   KERNEL(rms_norm_forward) {
//     const float* x = call.f32(0);             // buffers, in the order of `buffers` in ops/<op>/index.ts
//     const size_t rows = call.size(0);         // numbers, in the order of `params`
//     Range mine = call.split(rows);            // this thread's share; the same split every time, so results repeat
//     ...
//   }
//
// KERNEL names are collected from src/ops/*/kernel.cc by the build scripts; there is no registration code and no static
// constructor (one compiled for AVX-512 would run on every machine).
//
// Rules: no standard header with inline functions in a file compiled for one instruction set (the linker may keep the
// AVX-512 copy for everyone): only <stdint.h>, <stddef.h>, and the vector intrinsics. No allocation: use call.scratch().
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace bitnet {

constexpr size_t kScratchBytes = 8u << 20;  // for each thread, 64-byte aligned; contents undefined at a kernel's start
constexpr size_t kSharedBytes = 64u << 10;  // one for all threads, 64-byte aligned; for partial sums of reductions

struct Range {
  size_t begin, end;
};

// Implemented by the addon's thread pool, and by native/wasm.cc over shared memory.
struct Team {
  void (*wait)(Team*);  // all threads arrive before any leaves
};

struct Call {
  void* const* buffers;
  const double* params;
  int thread, threads;
  uint8_t* scratch_base;
  uint8_t* shared_base;
  Team* team;

  float* f32(int i) const { return static_cast<float*>(buffers[i]); }
  int32_t* i32(int i) const { return static_cast<int32_t*>(buffers[i]); }
  int8_t* i8(int i) const { return static_cast<int8_t*>(buffers[i]); }
  uint8_t* u8(int i) const { return static_cast<uint8_t*>(buffers[i]); }
  bool has(int i) const { return buffers[i] != nullptr; }
  size_t size(int i) const { return static_cast<size_t>(params[i]); }
  int integer(int i) const { return static_cast<int>(params[i]); }
  float number(int i) const { return static_cast<float>(params[i]); }
  double real(int i) const { return params[i]; }

  // This thread's share of n items, in blocks of `grain` (the last may be short).
  Range split(size_t n, size_t grain = 1) const {
    // In 64 bits: where size_t has 32 (WASM), items times threads can be more.
    const uint64_t blocks = (static_cast<uint64_t>(n) + grain - 1) / grain, t = static_cast<uint64_t>(thread);
    const uint64_t all = static_cast<uint64_t>(threads);
    const uint64_t b = blocks * t / all * grain, e = blocks * (t + 1) / all * grain;
    return {static_cast<size_t>(b < n ? b : n), static_cast<size_t>(e < n ? e : n)};
  }
  void barrier() const {
    if (threads > 1) team->wait(team);
  }
  template <class T>
  T* scratch() const {
    return reinterpret_cast<T*>(scratch_base);
  }
  template <class T>
  T* shared() const {
    return reinterpret_cast<T*>(shared_base);
  }
};

using KernelFunction = void (*)(const Call&);

}  // namespace bitnet

#ifndef ISA_NS
#define ISA_NS baseline
#endif
// A file of kernels opens `namespace bitnet::ISA_NS {` and closes it; everything in it is static or in that namespace.
#define KERNEL(name) void name([[maybe_unused]] const ::bitnet::Call& call)
