// Exponentials and logarithms over simd.h: no libm, the same bits for the same instruction set on every system.
//
// Error bounds: the worst of every 13th float32 of the domain against float64, with and without FMA (the tests of
// gated-activation and cross-entropy sweep the domain through the ops). Coefficients: interpolation at Chebyshev nodes,
// truncation error under 1.1e-8 relative.
#pragma once
#include "simd.h"

namespace bitnet::ISA_NS {

// a * 2^n for integral n in [-300, 300]; gradual underflow and overflow to infinity as IEEE says.
INLINE VF scale_by_power(VF a, VF n) {
#if SIMD_AVX512
  return (VF)_mm512_scalef_ps((__m512)a, (__m512)n);
#else
  // In two steps, so that each power is a normal number.
  const VI whole = to_int(n), half = whole >> 1;
  return a * (VF)((half + 127) << 23) * (VF)((whole - half + 127) << 23);
#endif
}

// 2^x, within 1.2 ulp (results under 2^-126: within one unit of the last place that they have). NaN stays NaN.
INLINE VF exp2(VF x) {
  const VF limited = max(splat(-160.f), min(splat(129.f), x));  // in this order min and max keep NaN
  const VF n = round_even(limited), f = limited - n;
  VF p = splat(0.000154531648f);
  p = fma(p, f, splat(0.00133908656f));
  p = fma(p, f, splat(0.00961808302f));
  p = fma(p, f, splat(0.0555035695f));
  p = fma(p, f, splat(0.240226507f));
  p = fma(p, f, splat(0.693147182f));
  return scale_by_power(fma(p, f, splat(1.f)), n);
}

// e^x, within 1.1 ulp (results under 2^-126: within one unit of the last place that they have). NaN stays NaN.
INLINE VF exp(VF x) {
  const VF limited = max(splat(-105.f), min(splat(89.f), x));
  const VF n = round_even(limited * splat(1.44269504f));
  // ln 2 in two parts, the first short enough that its product with n is exact.
  const VF r = fma(n, splat(2.12194440e-4f), fma(n, splat(-0.693359375f), limited));
  VF p = splat(0.00139261840f);
  p = fma(p, r, splat(0.00836317893f));
  p = fma(p, r, splat(0.0416665561f));
  p = fma(p, r, splat(0.166665763f));
  p = fma(p, r, splat(0.5f));
  return scale_by_power(fma(p, r * r, r) + splat(1.f), n);
}

// Natural logarithm of positive, normal, finite numbers: within 1 ulp. NaN stays NaN.
INLINE VF log(VF x) {
  // x = 2^e * m with m in [sqrt(1/2), sqrt(2))
  const VI bits = (VI)x - splat(0x3f3504f3);
  const VF e = to_float(bits >> 23);
  const VF m = (VF)((bits & splat(0x007fffff)) + splat(0x3f3504f3)) - splat(1.f);
  VF p = splat(0.0697161108f);
  p = fma(p, m, splat(-0.114797339f));
  p = fma(p, m, splat(0.116854198f));
  p = fma(p, m, splat(-0.124256872f));
  p = fma(p, m, splat(0.142490581f));
  p = fma(p, m, splat(-0.166678026f));
  p = fma(p, m, splat(0.200007156f));
  p = fma(p, m, splat(-0.249999970f));
  p = fma(p, m, splat(0.333333313f));
  const VF m2 = m * m;
  VF tail = fma(m2 * m, p, e * splat(-2.12194440e-4f));
  tail = fma(m2, splat(-0.5f), tail);
  const VF y = fma(e, splat(0.693359375f), m + tail);
  return select(is_nan(x), x, y);
}

// Natural logarithm of one positive, normal, finite number, within 5e-16 relative (absolute near 1). NaN stays NaN.
INLINE double log(double x) {
  if (x != x) return x;
  int64_t bits;
  __builtin_memcpy(&bits, &x, 8);
  bits -= 0x3fe6a09e667f3bcd;  // sqrt(1/2)
  const double e = static_cast<double>(bits >> 52);
  const int64_t mantissa = (bits & 0x000fffffffffffff) + 0x3fe6a09e667f3bcd;
  double m;
  __builtin_memcpy(&m, &mantissa, 8);
  // log(m) = 2 artanh(s) with s = (m - 1) / (m + 1), |s| < 0.172: twelve terms reach 1e-19.
  const double s = (m - 1) / (m + 1), s2 = s * s;
  double sum = 0;
  for (int k = 25; k >= 1; k -= 2) sum = sum * s2 + 1.0 / k;
  return e * 0.693147180559945309417 + 2 * s * sum;
}

}  // namespace bitnet::ISA_NS
