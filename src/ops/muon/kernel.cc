// The elementwise parts of a Muon step. See index.ts; the definitions are in reference.ts. Bound by memory.
#include "../../../native/cautious.h"
#include "../../../native/simd64.h"

namespace bitnet::ISA_NS {

KERNEL(muon_momentum) {
  const float* gradient = call.f32(0);
  float *momentum = call.f32(1), *x = call.f32(2);
  const VF mu = splat(call.number(1)), scale = splat(call.number(3));
  const bool nesterov = call.integer(2) != 0;
  const Range mine = call.split(call.size(0), 16);
  VD low = {}, high = {};
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t n = min(static_cast<size_t>(kLanes), mine.end - i);
    const VF g = load_part(gradient + i, n) * scale;
    const VF m = fma(mu, load_part(momentum + i, n), g);
    const VF direction = nesterov ? fma(mu, m, g) : m;
    store_part(momentum + i, m, n);
    store_part(x + i, direction, n);
    // The square of a float32 is exact in float64.
    const VD a = widen_low(direction), b = widen_high(direction);
    low += a * a, high += b * b;
  }
  call.shared<double>()[call.thread] = sum(low + high);
  call.barrier();
  double total = 0;
  for (int t = 0; t < call.threads; t++) total += call.shared<double>()[t];
  const double norm = __builtin_sqrt(total);
  const VF inverse = splat(static_cast<float>(1 / (norm < 1e-7 ? 1e-7 : norm)));
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t n = min(static_cast<size_t>(kLanes), mine.end - i);
    store_part(x + i, load_part(x + i, n) * inverse, n);
  }
}

KERNEL(muon_polynomial) {
  const float* gram = call.f32(0);
  float* square = call.f32(1);
  const size_t n = call.size(0);
  const float a = call.number(1);
  const VF b = splat(call.number(2)), c = splat(call.number(3));
  const Range rows = call.split(n);
  for (size_t row = rows.begin; row < rows.end; row++) {
    for (size_t i = 0; i < n; i += kLanes) {
      const size_t count = min(static_cast<size_t>(kLanes), n - i);
      const size_t at = row * n + i;
      store_part(square + at, fma(b, load_part(gram + at, count), c * load_part(square + at, count)), count);
    }
    square[row * n + row] += a;
  }
}

template <bool kCautious>
static void muon_step_with(const Call& call) {
  float* weight = call.f32(0);
  const float* update = call.f32(1);
  const VF decay = splat(call.number(1)), rate = splat(call.number(2));
  const Range mine = call.split(call.size(0), 16);
  for (size_t i = mine.begin; i < mine.end; i += kLanes) {
    const size_t n = min(static_cast<size_t>(kLanes), mine.end - i);
    const VF w = load_part(weight + i, n), u = load_part(update + i, n);
    store_part(weight + i, (kCautious ? cautious_decay(decay, u, w) : decay) * w - rate * u, n);
  }
}

KERNEL(muon_step) { call.integer(3) ? muon_step_with<true>(call) : muon_step_with<false>(call); }

}  // namespace bitnet::ISA_NS
