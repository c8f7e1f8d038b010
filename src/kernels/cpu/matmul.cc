#include "kernels/cpu/matmul.h"

#include <algorithm>

#include "kernels/isa.h"

namespace dure::cpu {
namespace {

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t block_count(const MatMul& m, const BlockLimits& limits) {
  return divide_up(m.rows, limits.rows_max) * divide_up(m.columns, limits.columns_max);
}

}  // namespace

MatMul part_of(const MatMulStack& stack, int64_t part) {
  MatMul m = stack.whole;
  const int64_t first = stack.offsets[static_cast<size_t>(part)];
  const int64_t count = stack.offsets[static_cast<size_t>(part) + 1] - first;
  m.a += first * m.a_stride;
  if (stack.ragged_steps) {
    m.steps = count;
    m.b += first * m.b_row_bytes;
    m.c += part * stack.c_part_elements;
  } else {
    m.rows = count;
    m.b += part * stack.b_part_bytes;
    m.c += first * m.c_stride;
  }
  return m;
}

void matmul_stack(const MatMulStack& stack, Stream& stream) {
  const int64_t parts = static_cast<int64_t>(stack.offsets.size()) - 1;
  const BlockLimits limits{.rows_max = 64, .columns_max = 64};
  int64_t total = 0;
  for (int64_t e = 0; e < parts; ++e) total += block_count(part_of(stack, e), limits);
  stream.threads().parallel_for(total, [&](int64_t index, int worker) {
    int64_t e = 0;
    MatMul m = part_of(stack, e);
    for (int64_t n = block_count(m, limits); index >= n; n = block_count(m, limits)) {
      index -= n;
      m = part_of(stack, ++e);
    }
    const int64_t across = divide_up(m.columns, limits.columns_max);
    const int64_t r = index / across * limits.rows_max, c = index % across * limits.columns_max;
    const Block block{r, std::min(m.rows, r + limits.rows_max), c, std::min(m.columns, c + limits.columns_max)};
    matmul_block_generic(m, block, stream.scratch(worker, matmul_scratch_generic(m, block)));
  });
}

}  // namespace dure::cpu
