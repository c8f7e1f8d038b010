// kernels/integer_block.h: a quantised block as small integers and their scales: what the products
// of Arithmetic::kInteger8 multiply (integer8.h).
//
// Element k of sub-block b is, with real numbers,
//     w[k] = d * scales[b] * (values[k] - offset) - low * minima[b].
// Types of 256 elements have 8 or 16 sub-blocks with integer scales; types of 32 have one, whose
// scale is 1. Equal to block_decode.h's values but for the rounding of its last operations. Not
// here: types whose elements are not small integers times a scale (those multiply exactly).
#pragma once

#include <cstdint>

#include "tensor/dtype.h"

namespace dure {

struct IntegerFormat {
  int elements = 0;     // of a block: 256 or 32
  int sub_block = 0;    // elements of one integer scale: 32 or 16
  int offset = 0;       // taken from every stored value
  int value_max = 0;    // the largest stored value
  bool minima = false;  // there is a `low`; then offset is 0
};

// Null for a type that has no such form.
const IntegerFormat* integer_format(DType dtype);

struct IntegerBlock {
  uint8_t values[256];  // [elements]
  int16_t scales[16];   // [sub-blocks] -128 to 127
  int16_t minima[16];   // [sub-blocks] 0 to 63, where the format has minima
  float d, low;
};

// One block at `block`, any alignment. Checked: integer_format(dtype) is not null.
void take_apart(DType dtype, const void* block, IntegerBlock& out);

}  // namespace dure
