// Which of the instruction sets in build-native.js this processor has, and its system lets programs use. By CPUID and
// not __builtin_cpu_supports: compilers differ in the names that they know.
#pragma once
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace bitnet {

#if defined(__x86_64__)
struct Cpuid {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  Cpuid(uint32_t leaf, uint32_t subleaf) {
    if (!__get_cpuid_count(leaf, subleaf, &a, &b, &c, &d)) a = b = c = d = 0;
  }
};
constexpr bool all_of(uint32_t bits, uint32_t wanted) { return (bits & wanted) == wanted; }
constexpr uint32_t bit(int i) { return 1u << i; }

inline bool processor_has(const char* isa) {
  const Cpuid one(1, 0), seven(7, 0), seven_one(7, 1), extended(0x80000001u, 0);
  // SSE3, SSSE3, CX16, SSE4.1, SSE4.2, POPCNT; LAHF.
  const bool v2 = all_of(one.c, bit(0) | bit(9) | bit(13) | bit(19) | bit(20) | bit(23)) && all_of(extended.c, bit(0));
  if (!strcmp(isa, "x86_64_v2")) return v2;

  // Wide registers are of use only if the system saves them: OSXSAVE, then XCR0 (XMM, YMM; opmask and both ZMM halves).
  uint32_t saved = 0;
  if (one.c & bit(27)) {
    uint32_t high;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
  }
  // FMA, MOVBE, AVX, F16C; BMI1, AVX2, BMI2; LZCNT.
  const bool v3 = v2 && all_of(saved, 0x6) && all_of(one.c, bit(12) | bit(22) | bit(28) | bit(29)) &&
                  all_of(seven.b, bit(3) | bit(5) | bit(8)) && all_of(extended.c, bit(5));
  if (!strcmp(isa, "avx2")) return v3;

  // AVX-512 F, DQ, CD, BW, VL; VBMI, VNNI; BF16.
  if (!strcmp(isa, "avx512"))
    return v3 && all_of(saved, 0xe6) && all_of(seven.b, bit(16) | bit(17) | bit(28) | bit(30) | bit(31)) &&
           all_of(seven.c, bit(1) | bit(11)) && all_of(seven_one.a, bit(5));
  return false;
}
#else
// Every 64-bit Arm has NEON.
inline bool processor_has(const char* isa) { return !strcmp(isa, "neon"); }
#endif

}  // namespace bitnet
