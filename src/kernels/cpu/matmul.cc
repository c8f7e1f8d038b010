// How a stack of products is cut into blocks, and the blocks reach the workers.
#include "kernels/cpu/matmul.h"

#include <algorithm>

#include "kernels/cpu/flush_denormals.h"
#include "kernels/cpu/matmul_bf16.h"
#include "kernels/cpu/parallel_rows.h"

namespace dure::cpu {
namespace {

// Packed panels of a task: 256 KiB, a quarter of a level-2 cache of 1 MiB.
constexpr int64_t kPanelFloats = 64 << 10;
// Enough that the last task to end is short beside the whole.
constexpr int64_t kTasksPerThread = 6;
// Below this (some microseconds) a task is not worth the hand-over.
constexpr int64_t kTaskProducts = 1 << 18;
// One worker alone hands nothing over: fewer tasks pack fewer panels, down to what a cache holds.
constexpr int64_t kAloneProducts = 1 << 24;
constexpr int64_t kRowsOfRead = 8;  // Reading a weight costs as much as this many products with it.
constexpr int64_t kRowTilesMin = 4;  // Packing a panel pays only when several row tiles read it.
constexpr int64_t kMirrorTile = 16;  // One line of each row read.
constexpr int64_t kMirrorRows = 256;

// How the parts of a stack are cut.
struct Cut {
  int64_t rows = 1, columns = 1;
  int64_t blocks(const MatMul& m) const {
    return divide_up(m.rows, rows) * divide_up(m.columns, columns);
  }
};

// Pieces of about `wanted`, equal but for the last, multiples of `tile`.
int64_t even_pieces(int64_t whole, int64_t wanted, int64_t tile) {
  const int64_t pieces = std::max<int64_t>(1, divide_up(whole, std::max(wanted, tile)));
  return std::max(tile, divide_up(divide_up(whole, pieces), tile) * tile);
}

Cut cut_of(const MatMulStack& stack, int threads) {
  const BlockLimits limits = stack.whole.a_bf16 != nullptr ? bf16_body().limits() : block_limits();
  const int64_t parts = static_cast<int64_t>(stack.offsets.size()) - 1,
                ragged = stack.offsets.back();
  const int64_t rows = std::max(kRowsOfRead, stack.ragged_steps ? stack.whole.rows : ragged),
                columns = stack.whole.columns;
  const int64_t steps =
      stack.ragged_steps ? divide_up(ragged, std::max<int64_t>(1, parts)) : stack.whole.steps;
  const int64_t products = (stack.ragged_steps ? parts : 1) * rows * columns * steps;
  const int64_t task = std::max(threads == 1 ? kAloneProducts : kTaskProducts,
                                products / (threads * kTasksPerThread));
  const int64_t stretch = std::clamp<int64_t>(steps, 1, limits.steps_max);
  Cut cut;
  cut.columns = even_pieces(columns, kPanelFloats / stretch, limits.column_tile);
  const int64_t rows_wanted =
      std::max(kRowTilesMin * limits.row_tile, task / std::max<int64_t>(1, cut.columns * steps));
  cut.rows = even_pieces(rows, rows_wanted, limits.row_tile);
  // Few rows: share the columns out instead.
  const int64_t across =
      threads == 1 ? cut.columns : task / std::max<int64_t>(1, std::min(cut.rows, rows) * steps);
  if (across < cut.columns) cut.columns = even_pieces(columns, across, limits.column_tile);
  return cut;
}

void check_offsets(const MatMulStack& stack) {
  const int64_t rows = stack.ragged_steps ? stack.whole.steps : stack.whole.rows;
  DURE_CHECK(stack.offsets.front() == 0 && stack.offsets.back() == rows,
             "offsets {}..{} for {} rows", stack.offsets.front(), stack.offsets.back(), rows);
  for (size_t e = 1; e < stack.offsets.size(); ++e) {
    DURE_CHECK(stack.offsets[e - 1] <= stack.offsets[e], "offsets of expert {} go down", e - 1);
  }
}

void move_output(MatMul& m, int64_t elements) {
  m.c += elements;
  if (m.d != nullptr) m.d += elements;
}

// What of `block` has to be computed: where C is symmetric, columns from the diagonal on (in whole
// panels) and rows down to it. Empty below.
Block needed_part(const MatMul& m, Block block) {
  if (!m.symmetric) return block;
  const int64_t panel = block_limits().column_tile;
  block.column_begin += std::max<int64_t>(0, block.row_begin - block.column_begin) / panel * panel;
  block.row_end = std::min(block.row_end, block.column_end);
  return block;
}

void run_block(const MatMul& m, const Block& whole, CpuStream& stream, int worker) {
  const Block block = needed_part(m, whole);
  if (block.row_begin >= block.row_end || block.column_begin >= block.column_end) return;
  if (m.a_bf16 != nullptr) {
    const FlushDenormals flush;
    const Bf16Body& body = bf16_body();
    body.block(m, block, stream.scratch(worker, body.scratch(m, block)));
    return;
  }
  matmul_block(m, block, stream.scratch(worker, matmul_scratch(m, block)));
}

// Rows [begin, end) of the lower half from the upper one.
void mirror_rows(const MatMul& m, int64_t begin, int64_t end) {
  for (int64_t c0 = 0; c0 < end; c0 += kMirrorTile) {
    for (int64_t r = std::max(begin, c0 + 1); r < end; ++r) {
      float* to = m.c + r * m.c_stride;
      for (int64_t c = c0; c < std::min(r, c0 + kMirrorTile); ++c) to[c] = m.c[c * m.c_stride + r];
    }
  }
}

void mirror_stack(const MatMulStack& stack, int64_t parts, CpuStream& stream) {
  const int64_t pieces = divide_up(stack.whole.columns, kMirrorRows);
  stream.threads().parallel_for(parts * pieces, [&](int64_t index, int) {
    const MatMul m = part_of(stack, index / pieces);
    const int64_t begin = index % pieces * kMirrorRows;
    mirror_rows(m, begin, std::min(m.columns, begin + kMirrorRows));
  });
}

}  // namespace

MatMul part_of(const MatMulStack& stack, int64_t part) {
  MatMul m = stack.whole;
  const int64_t first = stack.offsets[static_cast<size_t>(part)];
  const int64_t count = stack.offsets[static_cast<size_t>(part) + 1] - first;
  if (m.a != nullptr) m.a += first * m.a_stride;
  if (m.a_bf16 != nullptr) m.a_bf16 += first * m.a_stride;
  if (stack.ragged_steps) {
    m.steps = count;
    m.b += first * m.b_row_bytes;
    move_output(m, part * stack.c_part_elements);
  } else {
    m.rows = count;
    const BParts& b = stack.b_parts;
    m.b = b.addresses != nullptr ? static_cast<const char*>(b.addresses[part])
                                 : m.b + part * b.stride_bytes;
    move_output(m, first * m.c_stride);
  }
  return m;
}

void matmul_stack(const MatMulStack& stack, CpuStream& stream) {
  check_offsets(stack);
  const int64_t parts = static_cast<int64_t>(stack.offsets.size()) - 1;
  const Cut cut = cut_of(stack, stream.threads().loop_threads());
  int64_t total = 0;
  for (int64_t e = 0; e < parts; ++e) total += cut.blocks(part_of(stack, e));
  stream.threads().parallel_for(total, [&](int64_t index, int worker) {
    int64_t e = 0;
    MatMul m = part_of(stack, e);
    for (int64_t n = cut.blocks(m); index >= n; n = cut.blocks(m)) {
      index -= n;
      m = part_of(stack, ++e);
    }
    const int64_t across = divide_up(m.columns, cut.columns);
    const int64_t r = index / across * cut.rows, c = index % across * cut.columns;
    const Block block{r, std::min(m.rows, r + cut.rows), c, std::min(m.columns, c + cut.columns)};
    run_block(m, block, stream, worker);
  });
  if (stack.whole.symmetric) mirror_stack(stack, parts, stream);
}

}  // namespace dure::cpu
