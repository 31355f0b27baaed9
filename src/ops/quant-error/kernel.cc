// Sums over a ternary matrix that its error measures are made of. See index.ts; the definition is in reference.ts. Bound by
// memory. Sums are float64, added up thread by thread in the same order each time.
#include "native/simd64.h"

namespace bitnet::ISA_NS {

// In the order of `quantErrorFields` in reference.ts.
enum Field {
  kSum, kSquares, kCubes, kFourths, kErrors, kProducts, kLargest, kMinus, kZero, kPlus, kDead, kNear, kSaturated, kFlipped,
  kOscillated, kMoved, kKeptSquares, kFields
};

struct ErrorInputs {
  const float* w;
  const uint8_t *codes, *previous, *before;
  float* kept;
  VF scale;
  bool fresh;
};

// Lanes that a comparison counts, as numbers; float32 counts a block of vectors exactly.
template <class Mask>
INLINE VF ones(Mask mask) {
  return select(mask, splat(1.f), VF{});
}

// `rest` lanes of each array are read; what lies behind is 0 with the code of 0, and taken off the counts at the end.
INLINE void run_errors(const ErrorInputs& in, Range mine, double* total) {
  constexpr int kBlock = 1 << 10;
  VD sums[kFields] = {};
  VF largest = {};
  size_t padding = 0;
  for (size_t i = mine.begin; i < mine.end;) {
    VF counts[kFields] = {};
    for (int k = 0; k < kBlock && i < mine.end; k++, i += kLanes) {
      const size_t rest = mine.end - i < static_cast<size_t>(kLanes) ? mine.end - i : static_cast<size_t>(kLanes);
      const bool whole = rest == static_cast<size_t>(kLanes);
      uint8_t last[3][kLanes];
      const uint8_t* from[3] = {in.codes + i, (in.previous ? in.previous : in.codes) + i, nullptr};
      from[2] = in.before ? in.before + i : from[1];
      if (!whole) {
        padding = kLanes - rest;
        for (int a = 0; a < 3; a++) {
          for (size_t j = 0; j < kLanes; j++) last[a][j] = j < rest ? from[a][j] : 1;
          from[a] = last[a];
        }
      }
      const VF w = whole ? load(in.w + i) : load_part(in.w + i, rest);
      const VF u = w / in.scale, size = abs(u);
      const VF t = to_float(load_u8(from[0]) - splat(1));
      const VF was = to_float(load_u8(from[1]) - splat(1)), earlier = to_float(load_u8(from[2]) - splat(1));
      const VF error = u - t, product = u * t, change = t - was;
      auto add = [&](Field field, VD low, VD high) { sums[field] += low + high; };
      const VD ul = widen_low(u), uh = widen_high(u), el = widen_low(error), eh = widen_high(error);
      const VD sl = ul * ul, sh = uh * uh;
      add(kSum, ul, uh);
      add(kSquares, sl, sh);
      add(kCubes, sl * ul, sh * uh);
      add(kFourths, sl * sl, sh * sh);
      add(kErrors, el * el, eh * eh);
      add(kProducts, widen_low(product), widen_high(product));
      largest = max(largest, size);
      counts[kMinus] += ones(t < 0.f);
      counts[kZero] += ones(t == 0.f);
      counts[kPlus] += ones(t > 0.f);
      counts[kDead] += ones(size < 0.5f);
      counts[kNear] += ones(abs(size - splat(0.5f)) < 0.05f);
      counts[kSaturated] += ones(size > 1.5f);
      counts[kFlipped] += ones(change != 0.f);
      counts[kOscillated] += ones(change * (was - earlier) < 0.f);
      if (!in.kept) continue;
      const VF old = in.fresh ? w : whole ? load(in.kept + i) : load_part(in.kept + i, rest);
      const VF moved = (w - old) / in.scale, kept = old / in.scale;
      const VD ml = widen_low(moved), mh = widen_high(moved), kl = widen_low(kept), kh = widen_high(kept);
      add(kMoved, ml * ml, mh * mh);
      add(kKeptSquares, kl * kl, kh * kh);
      if (whole)
        store(in.kept + i, w);
      else
        for (size_t j = 0; j < rest; j++) in.kept[i + j] = in.w[i + j];
    }
    for (int f = kMinus; f <= kOscillated; f++) sums[f] += widen_low(counts[f]) + widen_high(counts[f]);
  }
  for (int f = 0; f < kFields; f++) total[f] = sum(sums[f]);
  total[kLargest] = 0;
  for (int j = 0; j < kLanes; j++)
    if (largest[j] > total[kLargest]) total[kLargest] = largest[j];
  total[kZero] -= static_cast<double>(padding);
  total[kDead] -= static_cast<double>(padding);
}

KERNEL(quant_error) {
  const ErrorInputs in = {call.f32(0),
                          call.u8(1),
                          call.has(3) ? call.u8(3) : nullptr,
                          call.has(3) && call.has(4) ? call.u8(4) : nullptr,
                          call.has(5) ? call.f32(5) : nullptr,
                          splat(call.f32(2)[0]),
                          call.size(2) != 0};
  double* partial = call.shared<double>() + kFields * call.thread;
  run_errors(in, call.split(call.size(0), 64), partial);
  call.barrier();
  if (call.thread != 0) return;
  float* into = call.f32(6) + kFields * call.size(1);
  for (int f = 0; f < kFields; f++) {
    double all = 0;
    for (int t = 0; t < call.threads; t++) {
      const double value = call.shared<double>()[kFields * t + f];
      all = f == kLargest ? (value > all ? value : all) : all + value;
    }
    into[f] = static_cast<float>(all);
  }
}

}  // namespace bitnet::ISA_NS
