// The product for AVX2 and AVX-512: panels of B packed into scratch, register tiles over them.
//
// Order of loops: steps in stretches of kStepsMax (the chain waits in C, or in scratch where C is
// added to); all panels of the stretch are packed (level-2 cache), then row tile by row tile (A in
// level 1) over the panels.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul_simd.cc"
#include "hwy/foreach_target.h"
#include "kernels/isa.h"
//
#include "hwy/highway.h"
//
#include "kernels/cpu/matmul_few-inl.h"
#include "kernels/cpu/matmul_pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu {
namespace HWY_NAMESPACE {
#if HWY_NATIVE_FMA

constexpr int64_t kStepsMax = 512;
// Floats between the rows of a copied tile: no two rows in the same cache sets.
constexpr int64_t kPad = 16;

inline int64_t RoundUp(int64_t a, int64_t b) { return (a + b - 1) / b * b; }

// One rectangle of C, its scratch divided.
struct Work {
  const MatMul& m;
  const Block& block;
  float* panels;   // the stretch's panels one after another, [stretch, width] each
  float* partial;  // [rows, columns rounded up to panels]: chains under way, for Finish::kAdd over
                   // several stretches
  float* widened;  // see PackScratch
  float* tile;     // a row tile of A, see CopyA
  int64_t columns() const { return block.column_end - block.column_begin; }
  int64_t rows() const { return block.row_end - block.row_begin; }
  bool uses_partial() const { return m.finish == Finish::kAdd && m.steps > kStepsMax; }
};

size_t Scratch(const MatMul& m, const Block& block) {
  const int64_t columns = RoundUp(block.column_end - block.column_begin, kPanel),
                stretch = std::min(m.steps, kStepsMax);
  const int64_t partial = m.finish == Finish::kAdd && m.steps > kStepsMax
                              ? columns * (block.row_end - block.row_begin)
                              : 0;
  const int64_t tile = kRowsMax * (stretch + kPad) + kLanes;
  return static_cast<size_t>(columns * stretch + partial + PackScratch(m, columns, stretch) + tile +
                             4 * 16) *
         sizeof(float);
}

Work Divide(const MatMul& m, const Block& block, void* scratch) {
  Work w{m, block, static_cast<float*>(scratch), nullptr, nullptr, nullptr};
  const int64_t columns = RoundUp(w.columns(), kPanel), stretch = std::min(m.steps, kStepsMax);
  w.partial = w.panels + RoundUp(columns * stretch, 16);
  w.widened = w.partial + (w.uses_partial() ? RoundUp(columns * w.rows(), 16) : 0);
  w.tile = w.widened + RoundUp(PackScratch(m, columns, stretch), 16);
  return w;
}

// Where a stretch's chains come from and go to: row 0, column 0 of the block.
struct Flow {
  const float* from;
  float* to;
  int64_t stride;
  const float* d;  // see TileArgs
};

Flow FlowOf(const Work& w, bool first, bool last) {
  const MatMul& m = w.m;
  const int64_t at = w.block.row_begin * m.c_stride + w.block.column_begin;
  if (w.uses_partial())
    return {first ? nullptr : w.partial, w.partial, RoundUp(w.columns(), kPanel), nullptr};
  float* c = m.c + at;
  const float* d = m.finish != Finish::kAdd ? nullptr : m.d != nullptr ? m.d + at : c;
  return {first && m.finish != Finish::kContinue ? nullptr : c, c, m.c_stride, d};
}

// A tile whose columns are fewer than its vectors hold goes through a copy of its piece of C.
void NarrowTile(TileFunction tile, TileArgs t, int64_t rows, int64_t count) {
  HWY_ALIGN float copy[kRowsMax * kPanel] = {};
  const TileArgs outside = t;
  if (t.from != nullptr) {
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(t.from + r * t.c_stride, count, copy + r * kPanel);
    t.from = copy;
  }
  t.to = copy;
  t.c_stride = kPanel;
  t.d = nullptr;
  tile(t);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * outside.c_stride;
    const float* sum = copy + r * kPanel;
    for (int64_t j = 0; j < count; ++j)
      outside.to[at + j] =
          outside.d == nullptr ? sum[j] : outside.alpha * sum[j] + outside.beta * outside.d[at + j];
  }
}

void RunTile(const TileArgs& t, int64_t rows, int64_t count, bool by_step) {
  const int64_t vecs = PanelVecs(count);
  const TileFunction tile =
      by_step ? tile_function<true>(rows, vecs) : tile_function<false>(rows, vecs);
  if (count == vecs * kLanes)
    tile(t);
  else
    NarrowTile(tile, t, rows, count);
}

// Of `rows` rows from `row` on, those whose panel reaches over the diagonal where C is symmetric;
// the panel ends before column `end` of the block.
int64_t NeededRows(const Work& w, int64_t row, int64_t rows, int64_t end) {
  if (!w.m.symmetric) return rows;
  return std::min(rows, w.block.column_begin + end - (w.block.row_begin + row));
}

struct ATile {
  const float* data;
  int64_t stride;
};

// The rows' piece of A as the tile reads it: in place, or copied where rows lie at a multiple of 4
// KiB: more of them than the level-1 cache has ways (8) would evict each other at every step.
ATile CopyA(const Work& w, int64_t row, int64_t rows, int64_t step, int64_t steps) {
  const MatMul& m = w.m;
  if (m.a_by_step) return {m.a + step * m.a_stride + row, m.a_stride};
  const float* from = m.a + row * m.a_stride + step;
  if (m.a_stride % 1024 != 0 || rows <= 6) return {from, m.a_stride};
  for (int64_t r = 0; r < rows; ++r) {
    WidenRow(DType::kF32, reinterpret_cast<const char*>(from + r * m.a_stride), 0, steps,
             w.tile + r * (steps + kPad));
  }
  return {w.tile, steps + kPad};
}

void RowTile(const Work& w, const Flow& flow, int64_t row, int64_t rows, int64_t step,
             int64_t steps) {
  const MatMul& m = w.m;
  const ATile a = CopyA(w, w.block.row_begin + row, rows, step, steps);
  const float* panel = w.panels;
  for (int64_t c = 0; c < w.columns(); c += kPanel) {
    const int64_t count = std::min(kPanel, w.columns() - c), vecs = PanelVecs(count);
    if (const int64_t needed = NeededRows(w, row, rows, c + count); needed > 0) {
      const int64_t at = row * flow.stride + c;
      RunTile({.a = a.data,
               .a_stride = a.stride,
               .panel = panel,
               .steps = steps,
               .from = flow.from == nullptr ? nullptr : flow.from + at,
               .to = flow.to + at,
               .c_stride = flow.stride,
               .d = flow.d == nullptr ? nullptr : flow.d + at,
               .alpha = m.alpha,
               .beta = m.beta},
              needed, count, m.a_by_step);
    }
    panel += steps * vecs * kLanes;
  }
}

void Stretch(const Work& w, const Flow& flow, int64_t step, int64_t steps) {
  PackPanels(w.m, w.block.column_begin, w.columns(), step, steps, w.panels, w.widened);
  const int64_t tiles = (w.rows() + kRowsMax - 1) /
                        kRowsMax;  // Of nearly equal height: 16 rows are 8 + 8, not 14 + 2.
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t begin = w.rows() * i / tiles, end = w.rows() * (i + 1) / tiles;
    RowTile(w, flow, begin, end - begin, step, steps);
  }
}

void AddPartial(const Work& w) {
  const MatMul& m = w.m;
  const int64_t stride = RoundUp(w.columns(), kPanel);
  for (int64_t r = 0; r < w.rows(); ++r) {
    const int64_t row = w.block.row_begin + r, at = row * m.c_stride + w.block.column_begin;
    float* to = m.c + at;
    const float *d = m.d != nullptr ? m.d + at : to, *sum = w.partial + r * stride;
    // Under the diagonal of a symmetric C nothing is computed.
    const int64_t begin = m.symmetric ? std::max<int64_t>(0, row - w.block.column_begin) : 0;
    for (int64_t j = begin; j < w.columns(); ++j) to[j] = m.alpha * sum[j] + m.beta * d[j];
  }
}

void MatMulBlock(const MatMul& m, const Block& block, void* scratch) {
  if (UsesFewRows(m, block)) return FewRows(m, block);
  const Work w = Divide(m, block, scratch);
  int64_t step = 0;
  do {  // Once even for no steps: C is set to zero.
    const int64_t steps = std::min(kStepsMax, m.steps - step);
    Stretch(w, FlowOf(w, step == 0, step + steps == m.steps), step, steps);
    step += steps;
  } while (step < m.steps);
  if (w.uses_partial()) AddPartial(w);
}

BlockLimits Limits() {
  return {.row_tile = kRowsMax, .column_tile = kPanel, .steps_max = kStepsMax};
}

#else  // EMU128: see matmul_generic.cc

void MatMulBlock(const MatMul& m, const Block& block, void* scratch) {
  matmul_block_generic(m, block, scratch);
}
size_t Scratch(const MatMul& m, const Block& block) { return matmul_scratch_generic(m, block); }
BlockLimits Limits() { return {.row_tile = 1, .column_tile = 16, .steps_max = 1 << 30}; }

#endif
}  // namespace HWY_NAMESPACE
}  // namespace dure::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {
HWY_EXPORT(MatMulBlock);
HWY_EXPORT(Scratch);
HWY_EXPORT(Limits);
void matmul_block(const MatMul& m, const Block& block, void* scratch) {
  DURE_DISPATCH(MatMulBlock)(m, block, scratch);
}
size_t matmul_scratch(const MatMul& m, const Block& block) {
  return DURE_DISPATCH(Scratch)(m, block);
}
BlockLimits block_limits() { return DURE_DISPATCH(Limits)(); }
}  // namespace dure::cpu
#endif
