// Products of Arithmetic::kBf16 for AVX2 and AVX-512: packed panels as in matmul_simd.cc, and a
// register tile of half the rows that holds two sums an element, even and odd.
//
// A row tile's piece of A is widened beside itself. Of the last block the sums take its elements
// and a pair of zeros more: adding a zero product twice changes nothing that adding it once does
// not.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul_bf16.cc"
#include "hwy/foreach_target.h"
#include "kernels/isa.h"
//
#include "hwy/highway.h"
//
#include "kernels/cpu/matmul_bf16.h"
#include "kernels/cpu/matmul_pack-inl.h"
#include "kernels/cpu/parallel_rows.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

#if HWY_NATIVE_FMA

constexpr int64_t kBlockSteps = kBf16Block, kPairs = kBlockSteps / 2;
constexpr int64_t kStretchSteps = 512;
constexpr int64_t kRowPad = 16;  // floats between the rows of a copied tile
// Half of the exact tile's rows: even and odd sums share the registers.
constexpr int64_t kTileRows = kRowsMax / 2;
constexpr int64_t kCopiedRows = 2 * kTileRows;  // of A at a time
static_assert(kStretchSteps % kBlockSteps == 0 && kPairs % kLanes == 0);

int64_t WholeBlocks(int64_t steps) { return divide_up(steps, kBlockSteps); }

// Pairs of steps that the last block's sums take: its elements, and a pair of zeros.
int64_t LastPairs(int64_t steps) {
  const int64_t rest = steps % kBlockSteps;
  return rest == 0 ? kPairs : std::min(kPairs, (rest + 1) / 2 + 1);
}

using TileVec = hn::Vec<hn::ScalableTag<float>>;

HWY_INLINE TileVec EvenOf(WordVec pairs) {
  return hn::BitCast(hn::ScalableTag<float>(), hn::ShiftLeft<16>(pairs));
}
HWY_INLINE TileVec OddOf(WordVec pairs) {
  return hn::BitCast(hn::ScalableTag<float>(), hn::And(pairs, hn::Set(Words(), 0xFFFF0000u)));
}

// ---- the register tile

// A in f32: its element (r, s) at a[r * a_stride + s], or (kByStep) at a[s * a_stride + r]. panel:
// [blocks * 32, kVecs * kLanes]. C's rows start from `from` (null: zero) and end in `to`, `columns`
// of each.
struct BlockTileArgs {
  const float* a;
  int64_t a_stride;
  const float* panel;
  int64_t blocks, last_pairs;
  const float* from;
  float* to;
  int64_t c_stride, columns;
};

// y: [kRows, kVecs * kLanes], rows y_stride apart, = `from` (as y; null: zero) + even + odd of one
// block.
template <int kRows, int kVecs, bool kByStep>
HWY_INLINE void AddBlock(const float* a, int64_t stride, const float* panel, int64_t pairs,
                         const float* from, float* y, int64_t y_stride) {
  constexpr int64_t kWidth = kVecs * kLanes;
  const hn::ScalableTag<float> d;
  TileVec sum[2][kRows][kVecs];
  HWY_UNROLL(2)
  for (int odd = 0; odd < 2; ++odd) {
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r) {
      HWY_UNROLL(2)
      for (int v = 0; v < kVecs; ++v) sum[odd][r][v] = hn::Zero(d);
    }
  }
  // As in the exact tile: bases three rows apart.
  constexpr int kBases = (kRows + 2) / 3;
  const float* base[kBases];
  HWY_UNROLL(4)
  for (int i = 0; i < kBases; ++i) base[i] = a + (kByStep ? 0 : 3 * i * stride);
  for (int64_t s = 0; s < pairs; ++s) {
    HWY_UNROLL(2)
    for (int odd = 0; odd < 2; ++odd) {
      TileVec b[kVecs];
      HWY_UNROLL(2)
      for (int v = 0; v < kVecs; ++v) b[v] = hn::Load(d, panel + odd * kWidth + v * kLanes);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) {
        const TileVec x =
            hn::Set(d, kByStep ? base[0][odd * stride + r] : base[r / 3][(r % 3) * stride + odd]);
        HWY_UNROLL(2)
        for (int v = 0; v < kVecs; ++v) sum[odd][r][v] = hn::MulAdd(x, b[v], sum[odd][r][v]);
      }
    }
    panel += 2 * kWidth;
    HWY_UNROLL(4)
    for (int i = 0; i < (kByStep ? 1 : kBases); ++i) {
      base[i] += kByStep ? 2 * stride : 2;
      asm("" : "+r"(base[i]));  // As in the exact tile.
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) {
      const int64_t at = r * y_stride + v * kLanes;
      const TileVec before = from != nullptr ? hn::LoadU(d, from + at) : hn::Zero(d);
      hn::StoreU(hn::Add(before, hn::Add(sum[0][r][v], sum[1][r][v])), d, y + at);
    }
  }
}

template <int kRows, int kVecs, bool kByStep>
void Blocks(const BlockTileArgs& t, const float* from, float* to, int64_t to_stride) {
  constexpr int64_t kWidth = kVecs * kLanes;
  const float* a = t.a;
  const float* panel = t.panel;
  for (int64_t b = 0; b < t.blocks; ++b) {
    const int64_t pairs = b + 1 < t.blocks ? kPairs : t.last_pairs;
    AddBlock<kRows, kVecs, kByStep>(a, t.a_stride, panel, pairs, from, to, to_stride);
    from = to;
    a += kByStep ? kBlockSteps * t.a_stride : kBlockSteps;
    panel += kBlockSteps * kWidth;
  }
}

// Sums wait in C itself between blocks; where it has fewer columns than the vectors, in a copy.
template <int kRows, int kVecs, bool kByStep>
void BlockTile(const BlockTileArgs& t) {
  constexpr int64_t kWidth = kVecs * kLanes;
  if (t.columns == kWidth && t.blocks > 0)
    return Blocks<kRows, kVecs, kByStep>(t, t.from, t.to, t.c_stride);
  HWY_ALIGN float y[kRows * kWidth] = {};
  for (int64_t r = 0; r < kRows && t.from != nullptr; ++r)
    std::copy_n(t.from + r * t.c_stride, t.columns, y + r * kWidth);
  Blocks<kRows, kVecs, kByStep>(t, y, y, kWidth);
  for (int64_t r = 0; r < kRows; ++r) std::copy_n(y + r * kWidth, t.columns, t.to + r * t.c_stride);
}

using BlockTileFunction = void (*)(const BlockTileArgs&);

template <bool kByStep>
BlockTileFunction block_tile_function(int64_t rows, int64_t vecs) {
  static constexpr BlockTileFunction kTiles[7][2] = {
#define DURE_TILE(r) \
  {BlockTile<(r <= kTileRows ? r : 1), 1, kByStep>, BlockTile<(r <= kTileRows ? r : 1), 2, kByStep>}
      DURE_TILE(1), DURE_TILE(2), DURE_TILE(3), DURE_TILE(4),
      DURE_TILE(5), DURE_TILE(6), DURE_TILE(7)};
#undef DURE_TILE
  return kTiles[rows - 1][vecs - 1];
}

// ---- packing

// Of each panel the steps from `steps` on that the last block's sums take.
void ZeroRest(float* panel, int64_t steps, int64_t width) {
  const int64_t blocks = WholeBlocks(steps);
  const int64_t end = blocks == 0 ? 0 : (blocks - 1) * kBlockSteps + 2 * LastPairs(steps);
  if (end > steps) std::fill(panel + steps * width, panel + end * width, 0.0f);
}

// A stored row holds one step of every panel.
void PackStep(const MatMul& m, int64_t first, int64_t columns, int64_t step, int64_t s,
              float* panels, int64_t panel_steps) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::bfloat16_t, decltype(d)> half;
  const auto* row = reinterpret_cast<const hwy::bfloat16_t*>(m.b + (step + s) * m.b_row_bytes);
  for (int64_t c = 0; c < columns; c += kPanel) {
    const int64_t count = std::min(kPanel, columns - c), width = PanelVecs(count) * kLanes;
    float* const to = panels + s * width;
    int64_t j = 0;
    for (; j + kLanes <= count; j += kLanes)
      hn::Store(hn::PromoteTo(d, hn::LoadU(half, row + first + c + j)), d, to + j);
    if (j < count) {
      widen(DType::kBF16, row, first + c + j, count - j, to + j);
      std::fill(to + count, to + width, 0.0f);
    }
    panels += panel_steps * width;
  }
}

void PackBlocks(const MatMul& m, int64_t first, int64_t columns, int64_t step, int64_t steps,
                float* panels) {
  const int64_t padded = WholeBlocks(steps) * kBlockSteps;
  if (!m.b_by_column) {
    for (int64_t s = 0; s < steps; ++s) PackStep(m, first, columns, step, s, panels, padded);
  }
  for (int64_t c = 0; c < columns; c += kPanel) {
    const int64_t count = std::min(kPanel, columns - c), vecs = PanelVecs(count);
    if (m.b_by_column) PackTransposed(m, first + c, count, step, steps, vecs, panels, nullptr);
    ZeroRest(panels, steps, vecs * kLanes);
    panels += padded * vecs * kLanes;
  }
}

// A's rows [row, row + rows) of a stretch in f32. to: rows of the stretch and kRowPad each, or (by
// step) kLanes floats a step. Returns the stride.
int64_t CopyTile(const MatMul& m, int64_t row, int64_t rows, int64_t step, int64_t steps,
                 float* to) {
  const int64_t padded = WholeBlocks(steps) * kBlockSteps;
  if (!m.a_by_step) {
    for (int64_t r = 0; r < rows; ++r) {
      const auto* from = m.a_bf16 + (row + r) * m.a_stride + step;
      WidenRow(DType::kBF16, reinterpret_cast<const char*>(from), 0, padded,
               to + r * (padded + kRowPad));
    }
    return padded + kRowPad;
  }
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::bfloat16_t, decltype(d)> half;
  for (int64_t s = 0; s < steps; ++s) {
    const auto* from =
        reinterpret_cast<const hwy::bfloat16_t*>(m.a_bf16 + (step + s) * m.a_stride + row);
    hn::Store(hn::PromoteTo(d, hn::LoadU(half, from)), d, to + s * kLanes);
  }
  ZeroRest(to, steps, kLanes);
  return kLanes;
}

// The last `count` elements of each row, then zeros.
struct LastBlock {
  uint16_t values[kLanes][kBlockSteps] = {};
  const char* rows[kLanes];
  LastBlock(const char* const* from, int64_t offset, int64_t count) {
    for (int64_t r = 0; r < kLanes; ++r) {
      std::memcpy(values[r], from[r] + offset, static_cast<size_t>(count) * 2);
      rows[r] = reinterpret_cast<const char*>(values[r]);
    }
  }
};

// kLanes stored rows from `first` on; past the last one that one again.
void StoredRows(const MatMul& m, int64_t first, int64_t count, const char** rows) {
  for (int64_t j = 0; j < kLanes; ++j)
    rows[j] = m.b + (first + std::min(j, count - 1)) * m.b_row_bytes;
}

// ---- few rows: each weight read once, in place, for up to kFew rows of x

constexpr int64_t kFew = HWY_MAX_BYTES == 64 ? 8 : 4;

// even, odd += of one block; x: its place in row 0.
template <int kRows>
HWY_INLINE void FewBlock(const char* const* rows, int64_t offset, const float* x, int64_t x_stride,
                         TileVec (&y)[kRows]) {
  const hn::ScalableTag<float> d;
  TileVec even[kRows], odd[kRows];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) even[r] = odd[r] = hn::Zero(d);
  for (int64_t i = 0; i < kPairs; i += kLanes) {
    WordVec t[kLanes];
    HWY_UNROLL(16)
    for (int64_t j = 0; j < kLanes; ++j) {
      const char* from = rows[j] + offset + 4 * i;
      t[j] = hn::LoadU(Words(), reinterpret_cast<const uint32_t*>(from));
      __builtin_prefetch(from + 512);
    }
    TransposeWords(t);
    HWY_UNROLL(16)
    for (int64_t j = 0; j < kLanes; ++j) {
      const TileVec w = EvenOf(t[j]);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r)
        even[r] = hn::MulAdd(hn::Set(d, x[r * x_stride + 2 * (i + j)]), w, even[r]);
    }
    HWY_UNROLL(16)
    for (int64_t j = 0; j < kLanes; ++j) {
      const TileVec w = OddOf(t[j]);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r)
        odd[r] = hn::MulAdd(hn::Set(d, x[r * x_stride + 2 * (i + j) + 1]), w, odd[r]);
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) y[r] = hn::Add(y[r], hn::Add(even[r], odd[r]));
}

// out: [kRows, kLanes] for kLanes stored rows.
template <int kRows>
void FewBlocks(const char* const* rows, int64_t steps, const float* x, int64_t x_stride,
               float* out) {
  const hn::ScalableTag<float> d;
  TileVec y[kRows];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) y[r] = hn::Zero(d);
  const int64_t whole = steps / kBlockSteps;
  for (int64_t b = 0; b < whole; ++b)
    FewBlock<kRows>(rows, b * kBlockSteps * 2, x + b * kBlockSteps, x_stride, y);
  if (steps % kBlockSteps != 0) {
    const LastBlock last(rows, whole * kBlockSteps * 2, steps % kBlockSteps);
    FewBlock<kRows>(last.rows, 0, x + whole * kBlockSteps, x_stride, y);
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) hn::Store(y[r], d, out + r * kLanes);
}

using FewBlocksFunction = void (*)(const char* const*, int64_t, const float*, int64_t, float*);

FewBlocksFunction few_blocks_function(int64_t rows) {
#define DURE_FEW(r) FewBlocks<(r <= kFew ? r : 1)>
  static constexpr FewBlocksFunction kFunctions[8] = {DURE_FEW(1), DURE_FEW(2), DURE_FEW(3),
                                                      DURE_FEW(4), DURE_FEW(5), DURE_FEW(6),
                                                      DURE_FEW(7), DURE_FEW(8)};
#undef DURE_FEW
  return kFunctions[rows - 1];
}

bool IsFew(const MatMul& m, const Block& block) {
  return m.b_by_column && m.finish == Finish::kSet && block.row_end - block.row_begin <= kFew;
}

void FewRowsBf16(const MatMul& m, const Block& block, float* x) {
  const int64_t rows = block.row_end - block.row_begin;
  const int64_t x_stride = WholeBlocks(m.steps) * kBlockSteps;
  for (int64_t r = 0; r < rows; ++r)
    WidenRow(DType::kBF16,
             reinterpret_cast<const char*>(m.a_bf16 + (block.row_begin + r) * m.a_stride), 0,
             x_stride, x + r * x_stride);
  const FewBlocksFunction function = few_blocks_function(rows);
  for (int64_t c = block.column_begin; c < block.column_end; c += kLanes) {
    const int64_t count = std::min(kLanes, block.column_end - c);
    const char* stored[kLanes];
    StoredRows(m, c, count, stored);
    HWY_ALIGN float out[kFew * kLanes];
    function(stored, m.steps, x, x_stride, out);
    for (int64_t r = 0; r < rows; ++r)
      std::copy_n(out + r * kLanes, count, m.c + (block.row_begin + r) * m.c_stride + c);
  }
}

// ---- a rectangle of C

int64_t PanelColumns(const Block& block) {
  return divide_up(block.column_end - block.column_begin, kPanel) * kPanel;
}

size_t ScratchBf16(const MatMul& m, const Block& block) {
  const int64_t padded = WholeBlocks(m.steps) * kBlockSteps;
  const int64_t stretch = std::min(kStretchSteps, padded);
  const int64_t tile = std::max(kCopiedRows * (stretch + kRowPad), stretch * kLanes);
  const int64_t floats = IsFew(m, block) ? kFew * padded : PanelColumns(block) * stretch + tile;
  return static_cast<size_t>(floats) * sizeof(float);
}

struct Stretch16 {
  const MatMul& m;
  const Block& block;
  int64_t step, steps;
  float *panels, *tile;
};

// One register tile, over all panels. a: its rows, widened.
void RowTileBf16(const Stretch16& w, int64_t row, int64_t rows, const float* a, int64_t a_stride) {
  const MatMul& m = w.m;
  const int64_t blocks = WholeBlocks(w.steps);
  const bool fresh = w.step == 0 && m.finish == Finish::kSet;
  const float* panel = w.panels;
  for (int64_t c = w.block.column_begin; c < w.block.column_end; c += kPanel) {
    const int64_t count = std::min(kPanel, w.block.column_end - c), vecs = PanelVecs(count);
    float* const to = m.c + row * m.c_stride + c;
    const BlockTileFunction tile = m.a_by_step ? block_tile_function<true>(rows, vecs)
                                               : block_tile_function<false>(rows, vecs);
    tile({.a = a,
          .a_stride = a_stride,
          .panel = panel,
          .blocks = blocks,
          .last_pairs = LastPairs(w.steps),
          .from = fresh ? nullptr : to,
          .to = to,
          .c_stride = m.c_stride,
          .columns = count});
    panel += blocks * kBlockSteps * vecs * kLanes;
  }
}

// Rows whose piece of A is widened together.
void CopiedRows(const Stretch16& w, int64_t row, int64_t rows) {
  const int64_t stride = CopyTile(w.m, row, rows, w.step, w.steps, w.tile);
  const int64_t tiles = divide_up(rows, kTileRows);
  for (int64_t i = 0; i < tiles; ++i) {
    const int64_t begin = rows * i / tiles, end = rows * (i + 1) / tiles;
    RowTileBf16(w, row + begin, end - begin, w.tile + begin * (w.m.a_by_step ? 1 : stride), stride);
  }
}

void MatMulBlockBf16(const MatMul& m, const Block& block, void* scratch) {
  auto* const room = static_cast<float*>(scratch);
  if (IsFew(m, block)) return FewRowsBf16(m, block, room);
  const int64_t stretch = std::min(kStretchSteps, WholeBlocks(m.steps) * kBlockSteps);
  const int64_t rows = block.row_end - block.row_begin, tiles = divide_up(rows, kCopiedRows);
  int64_t step = 0;
  do {  // Once even for no steps: C is set to zero.
    const int64_t steps = std::min(kStretchSteps, m.steps - step);
    const Stretch16 w{m, block, step, steps, room, room + PanelColumns(block) * stretch};
    PackBlocks(m, block.column_begin, block.column_end - block.column_begin, step, steps, w.panels);
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t begin = rows * i / tiles, end = rows * (i + 1) / tiles;
      CopiedRows(w, block.row_begin + begin, end - begin);
    }
    step += steps;
  } while (step < m.steps);
}

#else  // EMU128: see matmul_bf16_generic.cc

void MatMulBlockBf16(const MatMul& m, const Block& block, void* scratch) {
  matmul_block_bf16_generic(m, block, scratch);
}
size_t ScratchBf16(const MatMul&, const Block&) { return 0; }

#endif
}  // namespace HWY_NAMESPACE
}  // namespace dure::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {
HWY_EXPORT(MatMulBlockBf16);
HWY_EXPORT(ScratchBf16);

const Bf16Body& bf16_vectors() {
  static constexpr Bf16Body body = {
      [](const MatMul& m, const Block& block, void* scratch) {
        DURE_DISPATCH(MatMulBlockBf16)(m, block, scratch);
      },
      [](const MatMul& m, const Block& block) { return DURE_DISPATCH(ScratchBf16)(m, block); },
      block_limits};
  return body;
}

const Bf16Body& bf16_body() { return isa() == Isa::kAmx ? bf16_amx() : bf16_vectors(); }

}  // namespace dure::cpu
#endif
