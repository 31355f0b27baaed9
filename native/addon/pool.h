// A fixed team of threads that runs one kernel at a time. The thread that calls run() is thread 0; the others wait
// between kernels. A pool belongs to one calling thread.
//
// Waiting is by spinning, then spinning that offers the processor to others, then sleeping: kernels follow each other
// within microseconds, and a sleeper takes tens of microseconds to wake; but a machine is shared, and a thread that
// spins without end may hold the very processor that the thread it waits for needs.
#pragma once
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <new>

#include "native/kernel.h"

namespace bitnet {

inline void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// A counter that threads wait on.
class alignas(64) Gate {
 public:
  uint32_t now() const { return value_.load(std::memory_order_acquire); }

  void advance() {
    value_.fetch_add(1);  // sequentially consistent, as is the load of sleepers_: one of the two sides sees the other
    if (sleepers_.load() == 0) return;
    pthread_mutex_lock(&mutex_);
    pthread_cond_broadcast(&condition_);
    pthread_mutex_unlock(&mutex_);
  }

  void wait_past(uint32_t old, bool may_spin) {
    for (int i = 0; may_spin && i < kSpins; i++) {
      if (now() != old) return;
      pause_briefly();
    }
    for (int64_t end = nanoseconds() + kYieldNs; nanoseconds() < end;) {
      if (now() != old) return;
      sched_yield();
    }
    pthread_mutex_lock(&mutex_);
    sleepers_.fetch_add(1);
    while (value_.load() == old) pthread_cond_wait(&condition_, &mutex_);
    sleepers_.fetch_sub(1);
    pthread_mutex_unlock(&mutex_);
  }

 private:
  static constexpr int kSpins = 500;          // about 10 microseconds
  static constexpr int64_t kYieldNs = 100000;

  static int64_t nanoseconds() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
  }

  std::atomic<uint32_t> value_{0};
  std::atomic<int> sleepers_{0};
  pthread_mutex_t mutex_ = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition_ = PTHREAD_COND_INITIALIZER;
};

// A kernel with its arguments, to be run later.
struct Command {
  static constexpr size_t kMost = 32;  // buffers, and numbers
  KernelFunction kernel;
  void* buffers[kMost];
  double numbers[kMost];
};

class Pool final : public Team {
 public:
  static constexpr int kMaxThreads = 256;

  // Null where memory or threads cannot be had.
  static Pool* create(int threads) {
    void* place = nullptr;
    if (posix_memalign(&place, alignof(Pool), sizeof(Pool)) != 0) return nullptr;
    Pool* pool = new (place) Pool(threads);
    if (pool->start()) return pool;
    destroy(pool);
    return nullptr;
  }

  static void destroy(Pool* pool) {
    pool->~Pool();
    ::free(pool);
  }

  void run(KernelFunction kernel, void* const* buffers, const double* params) {
    kernel_ = kernel;
    buffers_ = buffers;
    params_ = params;
    start_all();
  }

  // Runs kernels one after the other: all threads end one before any begins the next, and none sleeps between them.
  void run(const Command* commands, size_t count) {
    commands_ = commands;
    count_ = count;
    kernel_ = nullptr;
    start_all();
  }

 private:
  void start_all() {
    running_.store(threads_ - 1, std::memory_order_relaxed);
    const uint32_t before = done_.now();
    if (threads_ > 1) start_.advance();  // publishes the fields above
    run_as(0);
    if (threads_ > 1) done_.wait_past(before, may_spin_);
  }

  struct Worker {
    Pool* pool;
    int thread;
    pthread_t handle;
  };

  explicit Pool(int threads)
      : Team{&wait_for_all}, threads_(threads), may_spin_(threads <= sysconf(_SC_NPROCESSORS_ONLN)) {}

  ~Pool() {
    stopping_ = true;
    start_.advance();
    for (int t = 1; t <= started_; t++) pthread_join(workers_[t].handle, nullptr);
    ::free(memory_);
  }

  bool start() {
    // Scratch is touched, and so costs memory, only where a kernel uses it.
    if (posix_memalign(&memory_, 64, kSharedBytes + threads_ * kScratchBytes) != 0) return (memory_ = nullptr, false);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStackBytes);
    for (int t = 1; t < threads_; t++) {
      workers_[t] = {this, t, {}};
      if (pthread_create(&workers_[t].handle, &attributes, work, &workers_[t]) != 0) break;
      started_ = t;
    }
    pthread_attr_destroy(&attributes);
    return started_ == threads_ - 1;
  }

  static void* work(void* argument) {
    const Worker* worker = static_cast<Worker*>(argument);
    Pool* pool = worker->pool;
    for (uint32_t seen = 0;; seen++) {  // start_ advances once for each kernel, and not before the last one is done
      pool->start_.wait_past(seen, pool->may_spin_);
      if (pool->stopping_) return nullptr;
      pool->run_as(worker->thread);
      if (pool->running_.fetch_sub(1, std::memory_order_acq_rel) == 1) pool->done_.advance();
    }
  }

  void run_as(int thread) {
    uint8_t* memory = static_cast<uint8_t*>(memory_);
    uint8_t* scratch = memory + kSharedBytes + thread * kScratchBytes;
    if (kernel_) return kernel_(Call{buffers_, params_, thread, threads_, scratch, memory, this});
    for (size_t i = 0; i < count_; i++) {
      const Command& c = commands_[i];
      c.kernel(Call{c.buffers, c.numbers, thread, threads_, scratch, memory, this});
      if (threads_ > 1 && i + 1 < count_) wait_for_all(this);
    }
  }

  static void wait_for_all(Team* team) {
    Pool* pool = static_cast<Pool*>(team);
    const uint32_t before = pool->barrier_.now();
    if (pool->arrived_.fetch_add(1, std::memory_order_acq_rel) == pool->threads_ - 1) {
      pool->arrived_.store(0, std::memory_order_relaxed);
      pool->barrier_.advance();
    } else {
      pool->barrier_.wait_past(before, pool->may_spin_);
    }
  }

  static constexpr size_t kStackBytes = 1u << 20;  // kernels keep arrays in scratch, not on the stack

  const int threads_;
  const bool may_spin_;  // with more threads than processors, spinning only delays the one that is waited for
  int started_ = 0;
  void* memory_ = nullptr;  // the shared block, then each thread's scratch
  std::atomic<bool> stopping_{false};
  KernelFunction kernel_ = nullptr;
  void* const* buffers_ = nullptr;
  const double* params_ = nullptr;
  const Command* commands_ = nullptr;  // where kernel_ is null
  size_t count_ = 0;
  Worker workers_[kMaxThreads];
  Gate start_, done_, barrier_;
  alignas(64) std::atomic<int> running_{0};
  alignas(64) std::atomic<int> arrived_{0};
};

}  // namespace bitnet
