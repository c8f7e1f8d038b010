// quantise/scan.h: how well a group of values fits sixteen candidate scales at once: the inner loop
// of every encoder.
//
// Each candidate is one vector lane and walks the group alone, element by element, with separate
// multiplications and additions: results depend on neither the vector width nor the instruction
// set, so a quantised file has the same bytes on every machine. Not here: which candidates to try
// (search_*.cc).
#pragma once

#include <array>
#include <cstdint>

namespace dure {

inline constexpr int kCandidates = 16;
struct alignas(64) Candidates : std::array<float, kCandidates> {};

// n values with their weights (>= 0), scaled so that no sum of squares overflows: |x| <= 1.
struct Group {
  const float* x = nullptr;
  const float* w = nullptr;
  int n = 0;
};

// What codes stand for: the integers low .. high, or the sixteen levels of IQ4_NL
// (kernels/block_codebooks.h).
struct Levels {
  int low = 0, high = 0;
  bool table = false;
  // The level nearest to x / scale as a code: q - low for integers, an index of the table.
  int code(float x, float scale) const;
  float value(int code) const;
};

// Levels q are chosen nearest to x / scale (or (x - offset) / scale); a scale of 0 means x =
// offset.
struct ScaleScan {
  Candidates error;  // sum w (x - scale q)^2
  Candidates xq;     // sum w x q
  Candidates qq;     // sum w q^2
};
void scan_scales(const Group& group, const Levels& levels, const Candidates& scale, ScaleScan& out);

struct AffineScan {
  Candidates error;  // sum w (x - scale q - offset)^2
  Candidates q;      // sum w q
  Candidates xq, qq;
};
// Levels 0 .. high.
void scan_affine(const Group& group, int high, const Candidates& scale, const Candidates& offset,
                 AffineScan& out);

}  // namespace dure
