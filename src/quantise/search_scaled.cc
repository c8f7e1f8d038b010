// Blocks whose values are scale x level: one scale a block (Q8_0, Q4_0, IQ4_NL), or a small integer
// for each group times a scale of the block (Q3_K, Q6_K, IQ4_XS).
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/block_codebooks.h"
#include "quantise/block_search.h"

namespace dure {
namespace search_detail {

double weighted_squares(const Group& group) {
  double sum = 0;
  for (int i = 0; i < group.n; ++i) {
    const double x = static_cast<double>(group.x[i]);
    sum += static_cast<double>(group.w[i]) * x * x;
  }
  return sum;
}

int best_candidate(const Candidates& error) {
  return static_cast<int>(std::min_element(error.begin(), error.end()) - error.begin());
}

}  // namespace search_detail

namespace {

using namespace search_detail;

struct Best {
  float error = std::numeric_limits<float>::infinity();
  float scale = 0;
  void offer(const Candidates& scales, const Candidates& errors) {
    const auto c = static_cast<size_t>(best_candidate(errors));
    if (errors[c] < error) {
      error = errors[c];
      scale = scales[c];
    }
  }
};

float extreme_of(const Group& group) {
  float extreme = 0;
  for (int i = 0; i < group.n; ++i)
    if (std::abs(group.x[i]) > std::abs(extreme)) extreme = group.x[i];
  return extreme;
}

float reach(const Levels& levels, bool low_end) {
  if (levels.table) return static_cast<float>(low_end ? kLevels4.front() : kLevels4.back());
  return static_cast<float>(low_end ? levels.low : levels.high);
}

// Starts: the extreme value lies at, a little inside, or far outside one end of the levels. Few
// levels gain by cutting the extreme off; the 255 of Q8_0 do not.
void start_scales(float extreme, float end, bool many_levels, Candidates& out) {
  const float step = many_levels ? 0.006f : 0.048f;
  // This candidate puts the extreme value on the end itself.
  const int exact = many_levels ? 1 : 2;
  for (int c = 0; c < kCandidates; ++c)
    out[static_cast<size_t>(c)] = extreme / (end * (1 - step * static_cast<float>(c - exact)));
}

// Where levels stay as they are, the best scale is xq / qq.
void solve(const ScaleScan& scan, Candidates& scales) {
  for (size_t c = 0; c < kCandidates; ++c)
    if (scan.qq[c] > 0) scales[c] = scan.xq[c] / scan.qq[c];
}

// The best scale of a group among those that `round` can give: both ends of the levels as starts,
// two rounds each, then `fine` rounds from close around the best.
template <typename Round>
Best search_group(const Group& group, const Levels& levels, int fine, Round&& round) {
  const float extreme = extreme_of(group);
  Best best;
  if (extreme == 0) return {.error = 0, .scale = 0};
  Candidates scales;
  ScaleScan scan;
  const auto improve = [&](bool solved) {
    if (solved) solve(scan, scales);
    for (float& scale : scales) scale = round(scale);
    scan_scales(group, levels, scales, scan);
    best.offer(scales, scan.error);
  };
  const bool symmetric = !levels.table && levels.low == -levels.high;
  for (const bool low_end : {true, false}) {  // The low end reaches further: ties go to it.
    if (symmetric && low_end) continue;
    start_scales(extreme, reach(levels, low_end), symmetric, scales);
    improve(false);
    improve(true);
  }
  const float centre = best.scale;
  for (size_t c = 0; c < kCandidates && fine > 0; ++c)
    scales[c] = centre * (1 + (static_cast<float>(c) - 7.5f) * (symmetric ? 0.0008f : 0.006f));
  for (int i = 0; i < fine; ++i) improve(i > 0);
  return best;
}

void put_codes(const BlockForm& form, const BlockInput& in, float d, BlockCodes& out) {
  for (int i = 0; i < form.elements; ++i) {
    const float scale = d * static_cast<float>(out.scale[i / form.group_size]);
    out.code[i] = static_cast<uint8_t>(form.levels.code(in.x[i], scale));
  }
}

// Group scales for one d.
struct Choice {
  Half d;
  int scale[16] = {};
  double error = std::numeric_limits<double>::infinity();
  double xq = 0, qq = 0;  // of scale x level: the best d for these codes is xq / qq
};

// Sixteen small integers near `centre`; where few integers are to be had, half of them of the other
// sign (levels are not symmetric).
void nearby(const BlockForm& form, float centre, Candidates& out) {
  const int last = form.scale_max, first = form.scale_min;
  const bool both = last - first < 100;
  const int around = static_cast<int>(
      std::nearbyint(std::clamp(centre, static_cast<float>(first), static_cast<float>(last))));
  for (int c = 0; c < kCandidates; ++c) {
    const int offset = both ? c % 8 - 4 : c - 8;
    const int value = around >= 0 ? around + offset : around - offset;
    out[static_cast<size_t>(c)] =
        static_cast<float>(std::clamp(both && c >= 8 ? -value : value, first, last));
  }
}

Choice choose_scales(const BlockForm& form, const BlockInput& in, Half d, const float* wanted) {
  Choice out{.d = d, .error = 0};
  for (int j = 0; j < form.groups(); ++j) {
    Candidates integers, scales;
    ScaleScan scan;
    nearby(form, d.value == 0 ? 0 : wanted[j] / d.value, integers);
    for (size_t c = 0; c < kCandidates; ++c) scales[c] = integers[c] * d.value;
    scan_scales(in.group(form, j), form.levels, scales, scan);
    const auto best = static_cast<size_t>(best_candidate(scan.error));
    out.scale[j] = static_cast<int>(integers[best]);
    out.error += static_cast<double>(scan.error[best]);
    out.xq += static_cast<double>(integers[best]) * static_cast<double>(scan.xq[best]);
    out.qq += static_cast<double>(integers[best]) * static_cast<double>(integers[best]) *
              static_cast<double>(scan.qq[best]);
  }
  return out;
}

// Scales of the block to start from: the widest group's scale at, or near, an end of the small
// integers' range.
int start_halves(const BlockForm& form, const BlockInput& in, float widest, Half* out) {
  int count = 0;
  for (const double part : {1.0, 0.97, 0.94, 0.905, 0.87, 0.83, 0.78})
    out[count++] = half_of(static_cast<double>(widest) / (part * form.scale_max), in.unit);
  out[count++] = half_of(static_cast<double>(widest) / form.scale_min, in.unit);
  if ((out[0].bits & 0x7FFF) < 64) {  // Subnormal: steps of f16 are coarse here.
    for (const uint16_t bits : {1, 2, 3, 4, 6, 8, 12, 16, 24, 32})
      out[count++] = half_of_bits(bits, in.unit);
  }
  return count;
}

constexpr int kStartsMax = 18;

// Blocks of few distinct values: what is left is the rounding of the scale to f16, and another pair
// of factors may be luckier.
constexpr double kNearlyExact = 1e-5;

// Beside a group with an outlier the others have few integers to choose from: the scale of the
// block decides which.
bool is_coarse(const BlockForm& form, const float* wanted, Half d) {
  return std::any_of(wanted, wanted + form.groups(), [&](float scale) {
    return scale != 0 && std::abs(scale) < 3 * std::abs(d.value);
  });
}

}  // namespace

void search_plain(const BlockForm& form, const BlockInput& in, BlockCodes& out) {
  const Group group = in.group(form, 0);
  const Best best = search_group(group, form.levels, 2, [&](float scale) {
    return half_of(static_cast<double>(scale), in.unit).value;
  });
  out.scale[0] = 1;
  const Half d = static_cast<double>(best.error) < weighted_squares(group)
                     ? half_of(static_cast<double>(best.scale), in.unit)
                     : Half();
  out.d = d.bits;
  put_codes(form, in, d.value, out);
}

void search_scaled(const BlockForm& form, const BlockInput& in, BlockCodes& out) {
  float wanted[16];
  float widest = 0;
  double zero_error = 0;
  for (int j = 0; j < form.groups(); ++j) {
    const Group group = in.group(form, j);
    wanted[j] = search_group(group, form.levels, 0, [](float scale) { return scale; }).scale;
    if (std::abs(wanted[j]) > std::abs(widest)) widest = wanted[j];
    zero_error += weighted_squares(group);
  }
  Half starts[kStartsMax];
  const int start_count = start_halves(form, in, widest, starts);
  Choice best;
  for (int i = 0; i < start_count; ++i) {
    const Choice choice = choose_scales(form, in, starts[i], wanted);
    if (choice.error < best.error) best = choice;
  }
  if (best.error < kNearlyExact * zero_error || is_coarse(form, wanted, starts[0])) {
    for (int i = 0; i < 40; ++i) {
      const double part = 1.38 - 0.025 * i;
      const Half d = half_of(static_cast<double>(widest) / (part * form.scale_max), in.unit);
      const Choice choice = choose_scales(form, in, d, wanted);
      if (choice.error < best.error) best = choice;
    }
  }
  for (int round = 0; round < 4 && best.qq > 0; ++round) {
    const Half d = half_of(best.xq / best.qq, in.unit);
    for (int j = 0; j < form.groups(); ++j)
      wanted[j] = best.d.value * static_cast<float>(best.scale[j]);
    const Choice choice = choose_scales(form, in, d, wanted);
    if (!(choice.error < best.error)) break;
    best = choice;
  }
  if (!(best.error < zero_error)) best = Choice();
  out.d = best.d.bits;
  for (int j = 0; j < form.groups(); ++j) out.scale[j] = static_cast<int8_t>(best.scale[j]);
  put_codes(form, in, best.d.value, out);
}

}  // namespace dure
