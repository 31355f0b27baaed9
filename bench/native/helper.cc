// What the benches need of the machine itself: OpenBLAS, where it is installed (opened by name, never linked), memory
// that it and our kernels get alike, and the peak rates that floors are reckoned from. Built on demand by
// bench/native-helper.ts, its only caller; no part of the package.
#define NAPI_VERSION 8
#include <dlfcn.h>
#include <node_api.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace {

double seconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Arguments {
  napi_env env;
  size_t count = 12;
  napi_value values[12];

  Arguments(napi_env env, napi_callback_info info) : env(env) {
    napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  }
  double number(size_t i) const {
    double value = 0;
    napi_get_value_double(env, values[i], &value);
    return value;
  }
  int integer(size_t i) const { return static_cast<int>(number(i)); }
  std::string text(size_t i) const {
    char buffer[4096];
    size_t length = 0;
    napi_get_value_string_utf8(env, values[i], buffer, sizeof buffer, &length);
    return std::string(buffer, length);
  }
  // A Float32Array of at least `least` values, or null and an error.
  float* floats(size_t i, double least) const {
    napi_typedarray_type type;
    size_t length = 0;
    void* data = nullptr;
    if (napi_get_typedarray_info(env, values[i], &type, &length, &data, nullptr, nullptr) != napi_ok ||
        type != napi_float32_array || static_cast<double>(length) < least) {
      napi_throw_error(env, nullptr, "bench helper: a Float32Array is missing or too short");
      return nullptr;
    }
    return static_cast<float*>(data);
  }
};

napi_value text_of(napi_env env, const char* text) {
  napi_value value;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  return value;
}
napi_value number_of(napi_env env, double number) {
  napi_value value;
  napi_create_double(env, number, &value);
  return value;
}

// ---- OpenBLAS

using Sgemm = void (*)(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float* a, int lda,
                       const float* b, int ldb, float beta, float* c, int ldc);
Sgemm sgemm = nullptr;

// openBlas(path, threads): its configuration. Throws what the loader says where it cannot be opened.
napi_value open_blas(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  void* library = dlopen(args.text(0).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    napi_throw_error(env, nullptr, dlerror());
    return nullptr;
  }
  sgemm = reinterpret_cast<Sgemm>(dlsym(library, "cblas_sgemm"));
  const auto set_threads = reinterpret_cast<void (*)(int)>(dlsym(library, "openblas_set_num_threads"));
  const auto get_threads = reinterpret_cast<int (*)()>(dlsym(library, "openblas_get_num_threads"));
  const auto config = reinterpret_cast<char* (*)()>(dlsym(library, "openblas_get_config"));
  if (!sgemm || !set_threads || !get_threads || !config) {
    napi_throw_error(env, nullptr, "the library lacks cblas_sgemm or OpenBLAS's own functions");
    return nullptr;
  }
  set_threads(args.integer(1));
  if (get_threads() != args.integer(1)) {
    napi_throw_error(env, nullptr, "OpenBLAS did not take the number of threads");
    return nullptr;
  }
  return text_of(env, config());
}

// sgemm(transA, transB, m, n, k, a, b, c): c [m, n] = op(a) · op(b), row-major and dense; milliseconds.
napi_value run_sgemm(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  const bool ta = args.integer(0) != 0, tb = args.integer(1) != 0;
  const int m = args.integer(2), n = args.integer(3), k = args.integer(4);
  const float* a = args.floats(5, static_cast<double>(m) * k);
  const float* b = args.floats(6, static_cast<double>(k) * n);
  float* c = args.floats(7, static_cast<double>(m) * n);
  if (!a || !b || !c) return nullptr;
  if (!sgemm) {
    napi_throw_error(env, nullptr, "bench helper: openBlas() comes first");
    return nullptr;
  }
  constexpr int kRowMajor = 101, kAsItIs = 111, kTransposed = 112;
  const double start = seconds();
  sgemm(kRowMajor, ta ? kTransposed : kAsItIs, tb ? kTransposed : kAsItIs, m, n, k, 1, a, ta ? m : k, b, tb ? k : n, 0,
        c, n);
  return number_of(env, (seconds() - start) * 1e3);
}

// ---- memory as the addon allocates it: aligned to, and asked for in, huge pages

napi_value allocate(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  const size_t bytes = static_cast<size_t>(args.number(0));
  void* p = nullptr;
  if (posix_memalign(&p, 2u << 20, bytes) != 0) {
    napi_throw_error(env, nullptr, "bench helper: no room");
    return nullptr;
  }
#ifdef MADV_HUGEPAGE
  madvise(p, bytes, MADV_HUGEPAGE);
#endif
  napi_value buffer;
  napi_create_external_arraybuffer(env, p, bytes, [](napi_env, void* data, void*) { free(data); }, nullptr, &buffer);
  return buffer;
}

// ---- peak rates

// `threads` threads start together and each runs `work`; the seconds from the start to the last one's end.
template <class Work>
double together(int threads, Work work) {
  std::atomic<int> waiting{threads};
  std::vector<double> ends(threads), starts(threads);
  std::vector<std::thread> team;
  for (int t = 0; t < threads; t++)
    team.emplace_back([&, t] {
      waiting--;
      while (waiting > 0) std::this_thread::yield();
      starts[t] = seconds();
      work(t);
      ends[t] = seconds();
    });
  for (auto& thread : team) thread.join();
  double first = starts[0], last = ends[0];
  for (int t = 1; t < threads; t++) {
    if (starts[t] < first) first = starts[t];
    if (ends[t] > last) last = ends[t];
  }
  return last - first;
}

#if defined(__x86_64__)
// Twelve independent sums, so that neither latency nor the front end is the limit; operands are zero.
#define SUM(INS, R, i) INS " %%" R "12, %%" R "13, %%" R #i "\n\t"
#define ZERO(i) "vpxor %%xmm" #i ", %%xmm" #i ", %%xmm" #i "\n\t"
#define LOOP(NAME, INS, R)                                                                                           \
  void NAME(long rounds) {                                                                                           \
    asm volatile(ZERO(0) ZERO(1) ZERO(2) ZERO(3) ZERO(4) ZERO(5) ZERO(6) ZERO(7) ZERO(8) ZERO(9) ZERO(10) ZERO(11)   \
                     ZERO(12) ZERO(13) ".p2align 6\n1:\n\t" SUM(INS, R, 0) SUM(INS, R, 1) SUM(INS, R, 2)             \
                         SUM(INS, R, 3) SUM(INS, R, 4) SUM(INS, R, 5) SUM(INS, R, 6) SUM(INS, R, 7) SUM(INS, R, 8)   \
                             SUM(INS, R, 9) SUM(INS, R, 10) SUM(INS, R, 11) "dec %0\n\tjnz 1b\n\tvzeroupper\n"       \
                 : "+r"(rounds)::"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",     \
                   "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "memory");                                                   \
  }
LOOP(fma_float32, "vfmadd231ps", "ymm")
LOOP(dot_bfloat16, "vdpbf16ps", "zmm")
LOOP(dot_int8, "vpdpbusd", "zmm")
#undef SUM
// Without VNNI, as our kernels multiply there: products of bytes, pairs of them added as 16-bit numbers, added to the sum.
#define SUM(INS, R, i)                                                                                               \
  "vpmaddubsw %%" R "12, %%" R "13, %%" R "14\n\t" INS " %%" R "14, %%" R #i ", %%" R #i "\n\t"
LOOP(dot_int8_avx2, "vpaddw", "ymm")
#undef LOOP
#undef ZERO
#undef SUM
#endif

// peak("float32" | "bfloat16" | "int8", threads): thousand million operations a second, the best of 5; 0 where the
// processor has no such instruction.
napi_value peak(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  double best = 0;
#if defined(__x86_64__)
  const std::string unit = args.text(0);
  const int threads = args.integer(1);
  void (*loop)(long) = nullptr;
  double each = 0;  // operations of one instruction, or of the two that make a product and add it
  if (unit == "float32" && __builtin_cpu_supports("fma")) loop = fma_float32, each = 16;
  if (unit == "bfloat16" && __builtin_cpu_supports("avx512bf16")) loop = dot_bfloat16, each = 64;
  if (unit == "int8" && __builtin_cpu_supports("avx2")) loop = dot_int8_avx2, each = 64;
  if (unit == "int8" && __builtin_cpu_supports("avx512vnni")) loop = dot_int8, each = 128;
  constexpr long kRounds = 4000000;
  for (int i = 0; loop && i < 5; i++) {
    const double time = together(threads, [&](int) { loop(kRounds); });
    const double rate = 12 * each * kRounds * threads / time / 1e9;
    if (rate > best) best = rate;
  }
#endif
  return number_of(env, best);
}

// readRate(threads): GB/s of reading 512 MiB, the best of 5.
napi_value read_rate(napi_env env, napi_callback_info info) {
  const Arguments args(env, info);
  const int threads = args.integer(0);
  constexpr size_t kBytes = 512u << 20;
  void* p = nullptr;
  if (posix_memalign(&p, 2u << 20, kBytes) != 0) {
    napi_throw_error(env, nullptr, "bench helper: no room");
    return nullptr;
  }
#ifdef MADV_HUGEPAGE
  madvise(p, kBytes, MADV_HUGEPAGE);
#endif
  memset(p, 1, kBytes);
  typedef uint64_t Vector __attribute__((vector_size(32)));
  const Vector* words = static_cast<const Vector*>(p);
  const size_t count = kBytes / sizeof(Vector);
  double best = 0;
  std::vector<uint64_t> sums(threads);
  for (int i = 0; i < 5; i++) {
    const double time = together(threads, [&](int t) {
      const size_t begin = count * t / threads / 4 * 4, end = count * (t + 1) / threads / 4 * 4;
      Vector a = {}, b = {}, c = {}, d = {};
      for (size_t w = begin; w < end; w += 4) a += words[w], b += words[w + 1], c += words[w + 2], d += words[w + 3];
      a += b + c + d;
      sums[t] = a[0] + a[1] + a[2] + a[3];
    });
    const double rate = static_cast<double>(kBytes) / time / 1e9;
    if (rate > best) best = rate;
  }
  uint64_t sum = 0;
  for (uint64_t part : sums) sum += part;
  free(p);
  // Every byte is 1: a sum that is off would mean that not all was read.
  if (sum != UINT64_C(0x0101010101010101) * (kBytes / 8)) {
    napi_throw_error(env, nullptr, "bench helper: the sum of what was read is wrong");
    return nullptr;
  }
  return number_of(env, best);
}

}  // namespace

NAPI_MODULE_INIT() {
  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {{"openBlas", open_blas}, {"sgemm", run_sgemm}, {"allocate", allocate}, {"peak", peak},
                   {"readRate", read_rate}};
  for (const auto& [name, function] : functions) {
    napi_value value;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
    napi_set_named_property(env, exports, name, value);
  }
  return exports;
}
