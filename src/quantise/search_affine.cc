// Blocks whose values are scale x code - minimum, with small integers for both in each group: Q2_K,
// Q4_K, Q5_K.
//
// Codes and minima are not negative, so a group reaches from -minimum upwards: groups of positive
// values would waste their low codes. The two f16 scales have signs, however: a block is searched
// as it is and with all values negated, and the better one is kept.
#include <algorithm>
#include <cmath>
#include <limits>

#include "quantise/block_search.h"

namespace dure {
namespace {

using namespace search_detail;

// Sums of a group that no choice changes.
struct GroupSums {
  float w = 0, wx = 0, low = 0, high = 0;  // low <= 0: the smallest value, or 0
};

GroupSums sums_of(const Group& group) {
  GroupSums out{.high = group.x[0]};
  for (int i = 0; i < group.n; ++i) {
    out.w += group.w[i];
    out.wx += group.w[i] * group.x[i];
    out.low = std::min(out.low, group.x[i]);
    out.high = std::max(out.high, group.x[i]);
  }
  return out;
}

struct Line {
  float scale = 0, offset = 0;  // value = scale * code + offset, offset <= 0
};

// The least-squares line through given codes, held at offset <= 0.
Line solve_line(const GroupSums& sums, float q, float xq, float qq, Line otherwise) {
  const float determinant = sums.w * qq - q * q;
  Line out = otherwise;
  if (determinant > 1e-6f * sums.w * qq) {
    out.scale = (sums.w * xq - q * sums.wx) / determinant;
    out.offset = (qq * sums.wx - q * xq) / determinant;
  }
  if (out.offset > 0) out = {.scale = qq > 0 ? xq / qq : otherwise.scale, .offset = 0};
  return out;
}

// The best line of one group with real numbers for scale and offset.
Line search_line(const Group& group, const GroupSums& sums, int high) {
  static constexpr float kFine[4] = {1.02f, 0.97f, 0.91f, 0.84f},
                         kCoarse[4] = {1.0f, 0.86f, 0.72f, 0.56f};
  const float* part = high > 3 ? kFine : kCoarse;
  Candidates scale, offset;
  for (size_t c = 0; c < kCandidates; ++c) {
    offset[c] = sums.low * part[c / 4];
    scale[c] = std::max(sums.high * part[c % 4] - offset[c], 0.0f) / static_cast<float>(high);
  }
  AffineScan scan;
  Line best;
  float best_error = std::numeric_limits<float>::infinity();
  for (int round = 0; round < 3; ++round) {
    for (size_t c = 0; c < kCandidates && round > 0; ++c) {
      const Line line = solve_line(sums, scan.q[c], scan.xq[c], scan.qq[c], {scale[c], offset[c]});
      scale[c] = line.scale;
      offset[c] = line.offset;
    }
    scan_affine(group, high, scale, offset, scan);
    const auto c = static_cast<size_t>(best_candidate(scan.error));
    if (scan.error[c] < best_error) {
      best_error = scan.error[c];
      best = {.scale = scale[c], .offset = offset[c]};
    }
  }
  return best;
}

struct Scales {
  Half d, dmin;
};

// Small integers of all groups for given block scales, and the sums of the equations for better
// ones.
struct Choice {
  Scales scales;
  int scale[16] = {}, low[16] = {};
  double error = std::numeric_limits<double>::infinity();
  double ss = 0, sl = 0, ll = 0, sx = 0, lx = 0;
};

int rounded(float value, float step) {
  return step == 0 ? 0 : static_cast<int>(std::clamp(std::nearbyint(value / step), -1e6f, 1e6f));
}

void add_sums(const GroupSums& sums, const AffineScan& scan, size_t c, int s, int l, Choice& out) {
  const double scale = s, low = l;
  out.error += static_cast<double>(scan.error[c]);
  out.ss += scale * scale * static_cast<double>(scan.qq[c]);
  out.sl += scale * low * static_cast<double>(scan.q[c]);
  out.ll += low * low * static_cast<double>(sums.w);
  out.sx += scale * static_cast<double>(scan.xq[c]);
  out.lx += low * static_cast<double>(sums.wx);
}

// Four scales by four minima around the wanted line of each group. `lean` shifts the window.
Choice choose(const BlockForm& form, const BlockInput& in, const GroupSums* sums,
              const Line* wanted, Scales scales, int lean) {
  Choice out{.scales = scales, .error = 0};
  for (int j = 0; j < form.groups(); ++j) {
    const int s0 = rounded(wanted[j].scale, scales.d.value) - 1 - lean,
              l0 = rounded(-wanted[j].offset, scales.dmin.value) - 1 - lean;
    int s[kCandidates], l[kCandidates];
    Candidates scale, offset;
    for (int c = 0; c < kCandidates; ++c) {
      s[c] = std::clamp(s0 + c % 4, 0, form.scale_max);
      l[c] = std::clamp(l0 + c / 4, 0, form.low_max);
      scale[static_cast<size_t>(c)] = scales.d.value * static_cast<float>(s[c]);
      offset[static_cast<size_t>(c)] = -scales.dmin.value * static_cast<float>(l[c]);
    }
    AffineScan scan;
    scan_affine(in.group(form, j), form.levels.high, scale, offset, scan);
    const int c = best_candidate(scan.error);
    out.scale[j] = s[c];
    out.low[j] = l[c];
    add_sums(sums[j], scan, static_cast<size_t>(c), s[c], l[c], out);
  }
  return out;
}

// d and dmin that are best for the codes of `from`: two equations.
Scales solve_scales(const Choice& from, double unit) {
  const double determinant = from.ss * from.ll - from.sl * from.sl;
  if (determinant > 1e-9 * from.ss * from.ll) {
    const double d = (from.ll * from.sx - from.sl * from.lx) / determinant,
                 dmin = (from.sl * from.sx - from.ss * from.lx) / determinant;
    if (d > 0 && dmin > 0) return {half_of(d, unit), half_of(dmin, unit)};
  }
  if (from.ss > 0 && from.ll == 0) return {half_of(from.sx / from.ss, unit), from.scales.dmin};
  return from.scales;
}

constexpr int kStartsMax = 32;

int start_scales(const BlockForm& form, const BlockInput& in, const Line* wanted, Scales* out) {
  float widest = 0, lowest = 0;
  for (int j = 0; j < form.groups(); ++j) {
    widest = std::max(widest, wanted[j].scale);
    lowest = std::max(lowest, -wanted[j].offset);
  }
  const double d = static_cast<double>(widest) / form.scale_max,
               dmin = static_cast<double>(lowest) / form.low_max;
  static constexpr double kParts[][2] = {{1, 1},    {1.04, 1.04}, {0.93, 1},
                                         {1, 0.93}, {1.1, 1.0},   {1.0, 1.1}};
  int count = 0;
  for (const auto& part : kParts)
    out[count++] = {half_of(d * part[0], in.unit), half_of(dmin * part[1], in.unit)};
  if (out[0].d.bits < 64 || out[0].dmin.bits < 64) {  // Subnormal: steps of f16 are coarse here.
    for (const uint16_t a : {1, 2, 4, 8, 16}) {
      for (const uint16_t b : {0, 1, 2, 4, 8})
        out[count++] = {half_of_bits(a, in.unit), half_of_bits(b, in.unit)};
    }
  }
  return count;
}

// Blocks of few distinct values: what is left is the rounding of the scales to f16, and another
// pair of factors may be luckier.
constexpr double kNearlyExact = 1e-5;

void try_many_starts(const BlockForm& form, const BlockInput& in, const GroupSums* sums,
                     const Line* wanted, Scales from, Choice& best) {
  for (int i = 1; i <= 40; ++i) {
    const double part = 1 / (1 - 0.45 * i / 40);
    const Scales scales{half_of(static_cast<double>(from.d.value) * part, in.unit),
                        half_of(static_cast<double>(from.dmin.value) * part, in.unit)};
    const Choice choice = choose(form, in, sums, wanted, scales, 0);
    if (choice.error < best.error) best = choice;
  }
}

// Beside a group with an outlier the others have few integers to choose from: the scales of the
// block decide which.
bool is_coarse(const BlockForm& form, const Line* wanted, Scales from) {
  return std::any_of(wanted, wanted + form.groups(), [&](const Line& line) {
    return line.scale != 0 && line.scale < 2 * from.d.value;
  });
}

void try_wide_starts(const BlockForm& form, const BlockInput& in, const GroupSums* sums,
                     const Line* wanted, Scales from, Choice& best) {
  for (int i = 0; i < 36; ++i) {
    const Scales scales{
        half_of(static_cast<double>(from.d.value) * (0.9 + 0.2 * (i % 6)), in.unit),
        half_of(static_cast<double>(from.dmin.value) * (0.9 + 0.2 * (i / 6)), in.unit)};
    const Choice choice = choose(form, in, sums, wanted, scales, 0);
    if (choice.error < best.error) best = choice;
  }
}

Choice search(const BlockForm& form, const BlockInput& in, double zero_error) {
  GroupSums sums[16];
  Line wanted[16];
  for (int j = 0; j < form.groups(); ++j) {
    sums[j] = sums_of(in.group(form, j));
    wanted[j] = search_line(in.group(form, j), sums[j], form.levels.high);
  }
  Scales starts[kStartsMax];
  const int start_count = start_scales(form, in, wanted, starts);
  Choice best;
  for (int i = 0; i < start_count; ++i) {
    const Choice choice = choose(form, in, sums, wanted, starts[i], 0);
    if (choice.error < best.error) best = choice;
  }
  if (best.error < kNearlyExact * zero_error)
    try_many_starts(form, in, sums, wanted, starts[0], best);
  if (is_coarse(form, wanted, starts[0])) try_wide_starts(form, in, sums, wanted, starts[0], best);
  for (int round = 0; round < 5; ++round) {
    for (int j = 0; j < form.groups(); ++j)
      wanted[j] = {.scale = best.scales.d.value * static_cast<float>(best.scale[j]),
                   .offset = -best.scales.dmin.value * static_cast<float>(best.low[j])};
    const Choice choice = choose(form, in, sums, wanted, solve_scales(best, in.unit), round % 2);
    if (!(choice.error < best.error)) break;
    best = choice;
  }
  return best;
}

int code_of(const BlockForm& form, float x, float scale, float offset) {
  if (scale == 0) return 0;
  const float z = (x - offset) * (1.0f / scale);
  return static_cast<int>(
      std::nearbyint(std::clamp(z, 0.0f, static_cast<float>(form.levels.high))));
}

}  // namespace

void search_affine(const BlockForm& form, const BlockInput& in, BlockCodes& out) {
  BlockInput negated = in;
  for (int i = 0; i < form.elements; ++i) negated.x[i] = -in.x[i];
  double zero_error = 0;
  for (int j = 0; j < form.groups(); ++j) zero_error += weighted_squares(in.group(form, j));
  const Choice plain = search(form, in, zero_error), turned = search(form, negated, zero_error);
  bool turn = turned.error < plain.error;
  Choice best = turn ? turned : plain;
  if (!(best.error < zero_error)) {
    best = Choice();
    turn = false;
  }
  const BlockInput& used = turn ? negated : in;
  const uint16_t sign = turn ? 0x8000 : 0;
  out.d = best.scales.d.bits | sign;
  out.dmin = best.scales.dmin.bits | sign;
  for (int j = 0; j < form.groups(); ++j) {
    out.scale[j] = static_cast<int8_t>(best.scale[j]);
    out.low[j] = static_cast<int8_t>(best.low[j]);
  }
  for (int i = 0; i < form.elements; ++i) {
    const int j = i / form.group_size;
    out.code[i] = static_cast<uint8_t>(
        code_of(form, used.x[i], best.scales.d.value * static_cast<float>(best.scale[j]),
                -best.scales.dmin.value * static_cast<float>(best.low[j])));
  }
}

}  // namespace dure
