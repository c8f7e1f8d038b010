// Sums of Arithmetic::kBf16 in plain C++, in the mode that flushes denormals: for processors
// without AVX2, and a second opinion for the tests.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/matmul_bf16.h"

namespace dure::cpu {
namespace {

float a_of(const MatMul& m, int64_t r, int64_t s) {
  return bf16_to_f32(m.a_bf16[m.a_by_step ? s * m.a_stride + r : r * m.a_stride + s]);
}

float b_of(const MatMul& m, int64_t s, int64_t c) {
  const int64_t row = m.b_by_column ? c : s, at = m.b_by_column ? s : c;
  return bf16_to_f32(reinterpret_cast<const uint16_t*>(m.b + row * m.b_row_bytes)[at]);
}

// even + odd of a block.
float block_sum(const MatMul& m, int64_t r, int64_t c, int64_t first) {
  const int64_t count = std::min(kBf16Block, m.steps - first);
  float sums[2] = {};
  for (int64_t s = 0; s < kBf16Block; ++s) {
    const bool there = s < count;
    sums[s % 2] = std::fma(there ? a_of(m, r, first + s) : 0.0f,
                           there ? b_of(m, first + s, c) : 0.0f, sums[s % 2]);
  }
  return sums[0] + sums[1];
}

}  // namespace

void matmul_block_bf16_generic(const MatMul& m, const Block& block, void*) {
  for (int64_t r = block.row_begin; r < block.row_end; ++r) {
    for (int64_t c = block.column_begin; c < block.column_end; ++c) {
      float& out = m.c[r * m.c_stride + c];
      float sum = m.finish == Finish::kContinue ? out : 0.0f;
      for (int64_t s = 0; s < m.steps; s += kBf16Block) sum += block_sum(m, r, c, s);
      out = sum;
    }
  }
}

}  // namespace dure::cpu
