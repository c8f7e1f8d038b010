// A candidate in each lane, the group's elements one after another; levels by rounding, or by
// counting the midpoints of a table that lie below. Levels::code() is the scalar twin, for the
// codes that are kept.
#include "quantise/scan.h"

#include <algorithm>
#include <cmath>

#include "kernels/block_codebooks.h"
#include "kernels/isa.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "quantise/scan.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace dure::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::CappedTag<float, kCandidates>;
using Vec = hn::Vec<Tag>;

// 1 / scale, and 0 for a scale of 0: every x then has the level nearest to 0, which counts nothing.
HWY_INLINE Vec inverse(Tag d, Vec scale) {
  const Vec zero = hn::Zero(d);
  return hn::IfThenElse(hn::Eq(scale, zero), zero, hn::Div(hn::Set(d, 1.0f), scale));
}

HWY_INLINE Vec nearest_integer(Tag d, Vec z, const Levels& levels) {
  const Vec low = hn::Set(d, static_cast<float>(levels.low)),
            high = hn::Set(d, static_cast<float>(levels.high));
  return hn::Round(hn::Min(hn::Max(z, low), high));
}

// Midpoints between neighbouring levels of the table, and the steps between them.
struct Ladder {
  float midpoint[15], step[15];
};
constexpr Ladder make_ladder() {
  Ladder out{};
  for (size_t i = 0; i < 15; ++i) {
    const int sum = kLevels4[i] + kLevels4[i + 1], difference = kLevels4[i + 1] - kLevels4[i];
    out.midpoint[i] = 0.5f * static_cast<float>(sum);
    out.step[i] = static_cast<float>(difference);
  }
  return out;
}
constexpr Ladder kLadder = make_ladder();

// Each midpoint below z adds one step.
HWY_INLINE Vec nearest_in_table(Tag d, Vec z, const Levels&) {
  Vec level = hn::Set(d, static_cast<float>(kLevels4[0]));
#pragma GCC unroll 15
  for (size_t i = 0; i < 15; ++i) {
    level = hn::Add(level, hn::IfThenElseZero(hn::Gt(z, hn::Set(d, kLadder.midpoint[i])),
                                              hn::Set(d, kLadder.step[i])));
  }
  return level;
}

template <Vec (*nearest)(Tag, Vec, const Levels&)>
HWY_INLINE void scan(const Group& g, const Levels& levels, const Candidates& scales,
                     ScaleScan& out) {
  const Tag d;
  for (size_t c = 0; c < kCandidates; c += hn::Lanes(d)) {
    const Vec scale = hn::Load(d, scales.data() + c), inverted = inverse(d, scale);
    Vec error = hn::Zero(d), xq = error, qq = error;
    for (int i = 0; i < g.n; ++i) {
      const Vec x = hn::Set(d, g.x[i]), w = hn::Set(d, g.w[i]);
      const Vec q = nearest(d, hn::Mul(x, inverted), levels);
      const Vec rest = hn::Sub(x, hn::Mul(scale, q)), wq = hn::Mul(w, q);
      error = hn::Add(error, hn::Mul(w, hn::Mul(rest, rest)));
      xq = hn::Add(xq, hn::Mul(wq, x));
      qq = hn::Add(qq, hn::Mul(wq, q));
    }
    hn::Store(error, d, out.error.data() + c);
    hn::Store(xq, d, out.xq.data() + c);
    hn::Store(qq, d, out.qq.data() + c);
  }
}

}  // namespace

void scan_scales_lanes(const Group& g, const Levels& levels, const Candidates& scales,
                       ScaleScan& out) {
  levels.table ? scan<nearest_in_table>(g, levels, scales, out)
               : scan<nearest_integer>(g, levels, scales, out);
}

void scan_affine_lanes(const Group& g, int high, const Candidates& scales,
                       const Candidates& offsets, AffineScan& out) {
  const Tag d;
  const Levels levels{.low = 0, .high = high};
  for (size_t c = 0; c < kCandidates; c += hn::Lanes(d)) {
    const Vec scale = hn::Load(d, scales.data() + c), inverted = inverse(d, scale);
    const Vec offset = hn::Load(d, offsets.data() + c);
    Vec error = hn::Zero(d), sum = error, xq = error, qq = error;
    for (int i = 0; i < g.n; ++i) {
      const Vec x = hn::Set(d, g.x[i]), w = hn::Set(d, g.w[i]), above = hn::Sub(x, offset);
      const Vec q = nearest_integer(d, hn::Mul(above, inverted), levels);
      const Vec rest = hn::Sub(above, hn::Mul(scale, q)), wq = hn::Mul(w, q);
      error = hn::Add(error, hn::Mul(w, hn::Mul(rest, rest)));
      sum = hn::Add(sum, wq);
      xq = hn::Add(xq, hn::Mul(wq, x));
      qq = hn::Add(qq, hn::Mul(wq, q));
    }
    hn::Store(error, d, out.error.data() + c);
    hn::Store(sum, d, out.q.data() + c);
    hn::Store(xq, d, out.xq.data() + c);
    hn::Store(qq, d, out.qq.data() + c);
  }
}

}  // namespace dure::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure {

HWY_EXPORT(scan_scales_lanes);
HWY_EXPORT(scan_affine_lanes);

void scan_scales(const Group& group, const Levels& levels, const Candidates& scale,
                 ScaleScan& out) {
  DURE_DISPATCH(scan_scales_lanes)(group, levels, scale, out);
}

void scan_affine(const Group& group, int high, const Candidates& scale, const Candidates& offset,
                 AffineScan& out) {
  DURE_DISPATCH(scan_affine_lanes)(group, high, scale, offset, out);
}

int Levels::code(float x, float scale) const {
  const float z = scale == 0 ? 0 : x * (1.0f / scale);
  if (!table) {
    const float limited = std::min(std::max(z, static_cast<float>(low)), static_cast<float>(high));
    return static_cast<int>(std::nearbyint(limited)) - low;
  }
  int index = 0;
  while (index < 15 && z > 0.5f * (static_cast<float>(kLevels4[static_cast<size_t>(index)]) +
                                   static_cast<float>(kLevels4[static_cast<size_t>(index) + 1])))
    ++index;
  return index;
}

float Levels::value(int code) const {
  return static_cast<float>(table ? kLevels4[static_cast<size_t>(code)] : code + low);
}

}  // namespace dure
#endif
