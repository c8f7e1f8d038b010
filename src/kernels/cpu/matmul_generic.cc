// The product in plain C++: the fallback of processors without AVX2, and a second opinion for the
// tests. std::fma is exact but slow where the compiler may not assume the instruction: hundreds of
// times slower than the other bodies.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/matmul.h"
#include "kernels/cpu/widen.h"

namespace dure::cpu {
namespace {

constexpr int64_t kColumns = 16;

// panel: [steps, kColumns] = B's columns [first, first + count), in f32.
void pack(const MatMul& m, int64_t first, int64_t count, float* panel, float* row) {
  if (!m.b_by_column) {
    for (int64_t s = 0; s < m.steps; ++s)
      widen(m.b_dtype, m.b + s * m.b_row_bytes, first, count, panel + s * kColumns);
    return;
  }
  for (int64_t j = 0; j < count; ++j) {
    widen(m.b_dtype, m.b + (first + j) * m.b_row_bytes, 0, m.steps, row);
    for (int64_t s = 0; s < m.steps; ++s) panel[s * kColumns + j] = row[s];
  }
}

float chain(const MatMul& m, int64_t r, const float* column, float start) {
  float sum = start;
  const int64_t step = m.a_by_step ? m.a_stride : 1;
  const float* a = m.a + (m.a_by_step ? r : r * m.a_stride);
  for (int64_t s = 0; s < m.steps; ++s) sum = std::fma(a[s * step], column[s * kColumns], sum);
  return sum;
}

void finish(const MatMul& m, int64_t r, int64_t c, const float* column) {
  float& out = m.c[r * m.c_stride + c];
  const float sum = chain(m, r, column, m.finish == Finish::kContinue ? out : 0.0f);
  if (m.finish == Finish::kAdd)
    out = m.alpha * sum + m.beta * (m.d != nullptr ? m.d[r * m.c_stride + c] : out);
  else
    out = sum;
}

}  // namespace

size_t matmul_scratch_generic(const MatMul& m, const Block& block) {
  return static_cast<size_t>((kColumns + 1) * m.steps) * sizeof(float);
}

void matmul_block_generic(const MatMul& m, const Block& block, void* scratch) {
  auto* panel = static_cast<float*>(scratch);
  for (int64_t c0 = block.column_begin; c0 < block.column_end; c0 += kColumns) {
    const int64_t count = std::min(kColumns, block.column_end - c0);
    pack(m, c0, count, panel, panel + kColumns * m.steps);
    const int64_t row_end = m.symmetric ? std::min(block.row_end, c0 + count) : block.row_end;
    for (int64_t r = block.row_begin; r < row_end; ++r) {
      for (int64_t j = 0; j < count; ++j) finish(m, r, c0 + j, panel + j);
    }
  }
}

}  // namespace dure::cpu
