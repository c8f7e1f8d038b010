// Forms decide where they can; else values at fixed points do, and contradict where forms err.
#include "grade/maths_scalars.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "grade/maths_numeric.h"

namespace dure {
namespace {

using Verdict = MathsVerdict;

constexpr int64_t kFormStepsMax = 1'000'000;  // of the canonical forms of one pair
constexpr int64_t kPointsNeeded = 8;

enum class Nearness { kSame, kApart, kUnsure };

// Constants must agree in absolute terms too: e^(pi sqrt 163) is no integer. Formulas do so at many
// points instead.
Nearness nearness(const MathsValue& a, const MathsValue& b, long double bound_max) {
  const long double difference = std::abs(a.value - b.value);
  const long double bound = 4 * (a.error + b.error);
  if (difference > bound) return Nearness::kApart;
  const long double scale = std::max({1.0L, std::abs(a.value), std::abs(b.value)});
  return bound <= 1e-12L * scale && bound <= bound_max ? Nearness::kSame : Nearness::kUnsure;
}

// --------------------------------------------------------------------------------------

// Fixed points: whole and positive ones, positive ones, ones of both signs.
struct PointKind {
  bool whole;
  bool positive;
};

long double coordinate(PointKind kind, int64_t point, int64_t symbol) {
  // A multiplicative hash: points must not lie on a line that a formula may have.
  uint64_t h = static_cast<uint64_t>(point * 64 + symbol + 1) * 0x9E3779B97F4A7C15ULL;
  h ^= h >> 29;
  h *= 0xBF58476D1CE4E5B9ULL;
  h ^= h >> 32;
  if (kind.whole) return static_cast<long double>(2 + h % 11);
  const long double size = 0.3L + static_cast<long double>(h % 1'000'003) / 400'000.0L;
  return !kind.positive && (h >> 40) % 2 == 0 ? -size : size;
}

struct Tally {
  int64_t same = 0, apart = 0, unsure = 0;
};

class ScalarComparer {
 public:
  ScalarComparer(MathsAlgebra& algebra, const MathsNode& a, const MathsNode& b)
      : algebra_(algebra), a_(a), b_(b) {
    symbols_.add(a);
    symbols_.add(b);
  }

  Verdict verdict() {
    auto form = MathsAlgebra::Equality::kNotShown;
    try {
      const MathsEffort effort(kFormStepsMax);
      form = algebra_.compare(a_, b_);
    } catch (const MathsGivenUp&) {
      MathsEffort::charge(0);  // Where all steps are used up, it is thrown again.
    }
    if (form == MathsAlgebra::Equality::kUnequal) return Verdict::kDifferent;
    const Verdict by_value = numeric();
    if (form == MathsAlgebra::Equality::kEqual)
      return by_value == Verdict::kDifferent ? Verdict::kUnknown : Verdict::kEqual;
    return by_value;
  }

 private:
  Verdict numeric() const {
    const Verdict natural = symbols_.names.empty() ? of_constants(false) : of_points(false);
    if (!symbols_.has_plain_log || natural == Verdict::kNumeric) return natural;
    const Verdict common = symbols_.names.empty() ? of_constants(true) : of_points(true);
    if (common == Verdict::kNumeric) return Verdict::kUnknown;  // Which logarithm was meant?
    return natural == common ? natural : Verdict::kUnknown;
  }

  Verdict of_constants(bool base_10) const {
    const MathsPoint point{.symbols = {}, .complex_allowed = true, .plain_log_is_base_10 = base_10};
    const auto a = maths_value(a_, point), b = maths_value(b_, point);
    if (!a || !b) return Verdict::kUnknown;
    switch (nearness(*a, *b, 1e-9L)) {
      case Nearness::kSame:
        return Verdict::kNumeric;
      case Nearness::kApart:
        return Verdict::kDifferent;
      default:
        return Verdict::kUnknown;
    }
  }

  Tally tally(PointKind kind, int64_t first, int64_t count, bool base_10) const {
    Tally out;
    for (int64_t p = first; p < first + count; ++p) {
      MathsPoint point{.symbols = {},
                       .complex_allowed = symbols_.has_imaginary,
                       .plain_log_is_base_10 = base_10};
      int64_t index = 0;
      for (const std::string& name : symbols_.names)
        point.symbols[name] = coordinate(kind, p, index++);
      const auto a = maths_value(a_, point), b = maths_value(b_, point);
      if (!a || !b) continue;
      const Nearness near = nearness(*a, *b, std::numeric_limits<long double>::infinity());
      ++(near == Nearness::kSame ? out.same : near == Nearness::kApart ? out.apart : out.unsure);
    }
    return out;
  }

  Verdict of_points(bool base_10) const {
    const Tally whole = tally({.whole = true, .positive = true}, 0, 12, base_10);
    const Tally positive = tally({.whole = false, .positive = true}, 100, 8, base_10);
    const Tally any = tally({.whole = false, .positive = false}, 200, 8, base_10);
    if (whole.apart > 0) return Verdict::kDifferent;
    const int64_t apart = positive.apart + any.apart;
    if (apart > 0) return whole.same > 0 ? Verdict::kUnknown : Verdict::kDifferent;
    const int64_t same = whole.same + positive.same + any.same;
    const int64_t unsure = whole.unsure + positive.unsure + any.unsure;
    return same >= kPointsNeeded && unsure == 0 ? Verdict::kNumeric : Verdict::kUnknown;
  }

  MathsAlgebra& algebra_;
  const MathsNode &a_, &b_;
  MathsSymbols symbols_;
};

}  // namespace

MathsVerdict compare_scalars(MathsAlgebra& algebra, const MathsNode& a, const MathsNode& b) {
  return ScalarComparer(algebra, a, b).verdict();
}

}  // namespace dure
