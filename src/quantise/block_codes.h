// quantise/block_codes.h: one block as numbers, between the search (search_*.cc) and the bytes
// (block_codes.cc).
//
// pack_block() is the inverse of kernels/block_decode.h; layouts are in docs/gguf.md. Not here: how
// the numbers were chosen.
#pragma once

#include <cstdint>

#include "quantise/scan.h"
#include "tensor/dtype.h"

namespace dure {

// What a block type is made of. Element i of a block belongs to group i / group_size and decodes to
//   scaled:  d * scale[group] * level(code)                       (one group and scale 1: plain
//   blocks) affine:  d * scale[group] * code - dmin * low[group]
struct BlockForm {
  int elements = 32;
  int group_size = 32;
  bool affine = false;
  Levels levels;                     // affine: 0 .. levels.high
  int scale_min = 1, scale_max = 1;  // of scale[]
  int low_max = 0;                   // of low[], from 0; affine only
  int groups() const { return elements / group_size; }
};

struct BlockCodes {
  uint16_t d = 0, dmin = 0;  // f16
  int8_t scale[16] = {};
  int8_t low[16] = {};
  uint8_t code[256] = {};
};

// out: dtype_info(dtype).block_bytes. Checked: a type with an encoder.
void pack_block(DType dtype, const BlockCodes& codes, uint8_t* out);

// A float as the nearest f16 of the same block: infinity is never reached, 65504 is the end.
uint16_t to_half(double value);

}  // namespace dure
