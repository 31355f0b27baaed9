// A stretch of a file as memory that kernels read, without a copy.
//
// A file that is cut while it is mapped would end the process: a page without a file behind it is SIGBUS. So sizes are
// looked at before mapping, and a handler puts zeros where a page is gone and takes a note; whoever unmaps is told, and throws
// away what was made of it. The handler is there while there are maps; signals at other addresses go where they went before.
#pragma once
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>

namespace bitnet {

class FileMap {
 public:
  enum Answer { kMapped, kShort, kRefused };

  // `to` is set where it is mapped.
  static Answer open(int descriptor, uint64_t offset, uint64_t bytes, FileMap** to) {
    struct stat about;
    if (fstat(descriptor, &about) != 0 || !S_ISREG(about.st_mode)) return kRefused;
    const uint64_t size = static_cast<uint64_t>(about.st_size);
    if (offset > size || bytes > size - offset) return kShort;
    FileMap* map = take_place();
    if (!map) return kRefused;
    if (!watch()) {
      map->taken_.store(false);
      return kRefused;
    }
    const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE)), begin = offset / page * page;
    const size_t length = static_cast<size_t>(offset + bytes - begin);
    void* base = mmap(nullptr, length, PROT_READ, MAP_PRIVATE, descriptor, static_cast<off_t>(begin));
    if (base == MAP_FAILED) {
      unwatch();
      map->taken_.store(false, std::memory_order_release);
      return kRefused;
    }
    madvise(base, length, MADV_SEQUENTIAL);
    madvise(base, length, MADV_WILLNEED);
#ifdef POSIX_FADV_WILLNEED
    // Of a file read from front to end the next stretch is fetched meanwhile.
    posix_fadvise(descriptor, static_cast<off_t>(offset + bytes), static_cast<off_t>(bytes), POSIX_FADV_WILLNEED);
#endif
    map->descriptor_ = descriptor;
    map->end_ = offset + bytes;
    map->bytes_ = static_cast<uint8_t*>(base) + (offset - begin);
    map->whole_.store(true, std::memory_order_relaxed);
    map->length_.store(length, std::memory_order_relaxed);
    map->base_.store(reinterpret_cast<uintptr_t>(base), std::memory_order_release);
    *to = map;
    return kMapped;
  }

  const uint8_t* bytes() const { return bytes_; }

  // Whether all of it was there all the time. The descriptor is still open.
  static bool close(FileMap* map) {
    void* base = reinterpret_cast<void*>(map->base_.load());
    const size_t length = map->length_.load();
    map->base_.store(0, std::memory_order_release);
    munmap(base, length);
    unwatch();
    // Of a page that the file ends in, no signal comes: the rest of it reads as zeros.
    struct stat about;
    const bool whole = map->whole_.load() && fstat(map->descriptor_, &about) == 0 &&
                       static_cast<uint64_t>(about.st_size) >= map->end_;
    map->taken_.store(false, std::memory_order_release);
    return whole;
  }

 private:
  static constexpr size_t kMost = 64;  // at once, of all threads
  static inline FileMap* places() {
    static FileMap list[kMost];
    return list;
  }

  static FileMap* take_place() {
    for (size_t i = 0; i < kMost; i++) {
      if (!places()[i].taken_.exchange(true)) return places() + i;
    }
    return nullptr;
  }

  struct Watch {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    size_t maps = 0;
    struct sigaction before = {};
  };
  static Watch& the_watch() {
    static Watch watch;
    return watch;
  }

  // For the first map, and until the last is closed: the addon may leave the process before it ends.
  static bool watch() {
    Watch& state = the_watch();
    pthread_mutex_lock(&state.mutex);
    bool watching = state.maps > 0;
    if (!watching) {
      struct sigaction action = {};
      action.sa_sigaction = on_fault;
      action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
      sigemptyset(&action.sa_mask);
      watching = sigaction(SIGBUS, &action, &state.before) == 0;
    }
    if (watching) state.maps++;
    pthread_mutex_unlock(&state.mutex);
    return watching;
  }

  static void unwatch() {
    Watch& state = the_watch();
    pthread_mutex_lock(&state.mutex);
    struct sigaction now = {};
    // Whoever has put a handler over this one goes on to call it: then it stays.
    if (--state.maps == 0 && sigaction(SIGBUS, nullptr, &now) == 0 && now.sa_sigaction == on_fault)
      sigaction(SIGBUS, &state.before, nullptr);
    pthread_mutex_unlock(&state.mutex);
  }

  static void on_fault(int signal, siginfo_t* info, void* context) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(info->si_addr);
    for (size_t i = 0; i < kMost; i++) {
      FileMap& map = places()[i];
      const uintptr_t base = map.base_.load(std::memory_order_acquire);
      const size_t length = map.length_.load(std::memory_order_relaxed);
      if (base == 0 || at < base || at - base >= length) continue;
      const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE)), from = at / page * page;
      // Behind a page that is gone none is there.
      void* put = mmap(reinterpret_cast<void*>(from), base + length - from, PROT_READ,
                       MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0);
      if (put == MAP_FAILED) break;
      map.whole_.store(false);
      return;
    }
    const struct sigaction& old = the_watch().before;
    if (old.sa_flags & SA_SIGINFO) return old.sa_sigaction(signal, info, context);
    if (old.sa_handler == SIG_IGN) return;
    if (old.sa_handler != SIG_DFL) return old.sa_handler(signal);
    sigaction(SIGBUS, &old, nullptr);
    raise(signal);  // ends the process as it would have
  }

  std::atomic<bool> taken_{false}, whole_{true};
  std::atomic<uintptr_t> base_{0};
  std::atomic<size_t> length_{0};
  const uint8_t* bytes_ = nullptr;
  int descriptor_ = -1;
  uint64_t end_ = 0;
};

}  // namespace bitnet
