// quantise/block_search.h: the numbers of one block that leave the least squared error.
//
// Minimises sum w (x - decoded)^2 over everything the format lets one choose: the f16 scales, the
// small scales of groups, and the codes. Exhaustive search is out of reach; the method
// (docs/quantisation.md) alternates between choosing codes for given scales and solving scales for
// given codes, from many starts, with every scale rounded to what the format stores before its
// error is counted. Not here: rows, threads, refusals (block_encode.h), bytes (block_codes.h).
#pragma once

#include "quantise/block_codes.h"

namespace dure {

// The elements of one block over 2^exponent, so that the largest lies in [0.5, 1), with weights.
struct BlockInput {
  alignas(64) float x[256];
  alignas(64) float w[256];
  double unit = 1;  // 2^exponent
  Group group(const BlockForm& form, int j) const {
    return {x + j * form.group_size, w + j * form.group_size, form.group_size};
  }
};

// Each leaves a block of zeros where nothing the format holds is nearer than that.
void search_plain(const BlockForm& form, const BlockInput& in, BlockCodes& out);   // one scale
void search_scaled(const BlockForm& form, const BlockInput& in, BlockCodes& out);  // d * scale[j]
void search_affine(const BlockForm& form, const BlockInput& in, BlockCodes& out);  // and minima

namespace search_detail {

// A scale as the format stores it.
struct Half {
  uint16_t bits = 0;
  float value = 0;  // in the block's unit
};
inline Half half_of(double value, double unit) {
  const uint16_t bits = to_half(value * unit);
  return {bits, static_cast<float>(static_cast<double>(f16_to_f32(bits)) / unit)};
}
inline Half half_of_bits(uint16_t bits, double unit) {
  return {bits, static_cast<float>(static_cast<double>(f16_to_f32(bits)) / unit)};
}

double weighted_squares(const Group& group);  // sum w x^2
int best_candidate(const Candidates& error);  // the first of the smallest

}  // namespace search_detail
}  // namespace dure
