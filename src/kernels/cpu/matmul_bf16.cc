// Products of Arithmetic::kBf16 for AVX2 and AVX-512: panels of f32 as in matmul_simd.cc, with the
// even steps of each block of 32 before its odd ones, and two short chains a block over them.
//
// A row tile's piece of A is copied beside itself in f32 and in that order too, so a chain is a
// stretch of neighbours. The even sums wait in the level-1 cache while the odd ones take the
// registers. Steps beyond the end are zeros: adding a zero product twice changes nothing that
// adding it once does not, so the last block's chains end one step after its elements.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/matmul_bf16.cc"
#include "hwy/foreach_target.h"
#include "kernels/isa.h"
//
#include "hwy/highway.h"
//
#include "kernels/cpu/bf16.h"
#include "kernels/cpu/matmul_pack-inl.h"
#include "kernels/cpu/parallel_rows.h"

HWY_BEFORE_NAMESPACE();
namespace dure::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

void RoundSpanBf16(const float* x, int64_t count, uint16_t* out) {
  const hn::ScalableTag<int32_t> d;
  const hn::Rebind<uint16_t, decltype(d)> half;
  const hn::RebindToUnsigned<decltype(d)> words;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto round = [&](auto bits) HWY_ATTR {
    const auto magnitude = hn::And(bits, hn::Set(d, 0x7fffffff)), high = hn::ShiftRight<16>(bits);
    const auto up = hn::Add(hn::Set(d, 0x7fff), hn::And(high, hn::Set(d, 1)));
    auto result = hn::ShiftRight<16>(hn::Add(bits, up));
    result = hn::IfThenElse(hn::Gt(magnitude, hn::Set(d, 0x7f800000)),
                            hn::Or(high, hn::Set(d, 0x40)), result);
    result = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x00800000)),
                            hn::And(high, hn::Set(d, 0x8000)), result);
    return hn::TruncateTo(half, hn::And(hn::BitCast(words, result), hn::Set(words, 0xffff)));
  };
  const auto* from = reinterpret_cast<const int32_t*>(x);
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(round(hn::LoadU(d, from + i)), half, out + i);
  if (i == count) return;
  HWY_ALIGN int32_t rest[HWY_MAX_BYTES / 4] = {};
  HWY_ALIGN uint16_t rounded[HWY_MAX_BYTES / 2];
  std::copy_n(from + i, count - i, rest);
  hn::StoreU(round(hn::Load(d, rest)), half, rounded);
  std::copy_n(rounded, count - i, out + i);
}

#if HWY_NATIVE_FMA

constexpr int64_t kBlockSteps = kBf16Block, kHalf = kBlockSteps / 2;
constexpr int64_t kStretchSteps = 512;
constexpr int64_t kRowPad = 16;  // floats between the rows of a copied tile
static_assert(kStretchSteps % kBlockSteps == 0 && kHalf % kLanes == 0);

// Where step s of a stretch lies among the panel's: even ones of a block first.
int64_t PlaceOf(int64_t s) {
  return s / kBlockSteps * kBlockSteps + s % 2 * kHalf + s % kBlockSteps / 2;
}

int64_t WholeBlocks(int64_t steps) { return divide_up(steps, kBlockSteps); }

// Steps of the last block's chains: its elements and one zero.
int64_t LastHalf(int64_t steps) {
  const int64_t rest = steps % kBlockSteps;
  return rest == 0 ? kHalf : std::min(kHalf, (rest + 1) / 2 + 1);
}

HWY_INLINE TileVec EvenOf(WordVec pairs) {
  return hn::BitCast(hn::ScalableTag<float>(), hn::ShiftLeft<16>(pairs));
}
HWY_INLINE TileVec OddOf(WordVec pairs) {
  return hn::BitCast(hn::ScalableTag<float>(), hn::And(pairs, hn::Set(Words(), 0xFFFF0000u)));
}

// ---- the register tile

// A in f32, its steps in panel order: row r at a + r * a_stride, or (kByStep) its element of step s
// at a[s * a_stride + r]. panel: [blocks * 32, kVecs * kLanes]. C's rows start from `from` (null:
// zero) and end in `to`, `columns` of each.
struct BlockTileArgs {
  const float* a;
  int64_t a_stride;
  const float* panel;
  int64_t blocks, last_half;
  const float* from;
  float* to;
  int64_t c_stride, columns;
};

// sums: [kRows, kVecs * kLanes] = a chain of `steps` from zero.
template <int kRows, int kVecs, bool kByStep>
HWY_NOINLINE void EvenChains(const float* a, int64_t a_stride, const float* panel, int64_t steps,
                             float* sums) {
  const hn::ScalableTag<float> d;
  TileVec sum[kRows][kVecs];
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::Zero(d);
  }
  AddSteps<kRows, kVecs, kByStep>(a, a_stride, panel, steps, sum);
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) hn::Store(sum[r][v], d, sums + (r * kVecs + v) * kLanes);
  }
}

// y += (even + such a chain).
template <int kRows, int kVecs, bool kByStep>
HWY_NOINLINE void OddChains(const float* a, int64_t a_stride, const float* panel, int64_t steps,
                            const float* even, float* y) {
  const hn::ScalableTag<float> d;
  TileVec sum[kRows][kVecs];
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) sum[r][v] = hn::Zero(d);
  }
  AddSteps<kRows, kVecs, kByStep>(a, a_stride, panel, steps, sum);
  HWY_UNROLL(16)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (int v = 0; v < kVecs; ++v) {
      const int64_t at = (r * kVecs + v) * kLanes;
      const TileVec both = hn::Add(hn::Load(d, even + at), sum[r][v]);
      hn::Store(hn::Add(hn::Load(d, y + at), both), d, y + at);
    }
  }
}

template <int kRows, int kVecs, bool kByStep>
void BlockTile(const BlockTileArgs& t) {
  constexpr int64_t kWidth = kVecs * kLanes;
  HWY_ALIGN float y[kRows * kWidth] = {};
  HWY_ALIGN float even[kRows * kWidth];
  for (int64_t r = 0; r < kRows && t.from != nullptr; ++r)
    std::copy_n(t.from + r * t.c_stride, t.columns, y + r * kWidth);
  const float* a = t.a;
  const float* panel = t.panel;
  for (int64_t b = 0; b < t.blocks; ++b) {
    const int64_t steps = b + 1 < t.blocks ? kHalf : t.last_half;
    EvenChains<kRows, kVecs, kByStep>(a, t.a_stride, panel, steps, even);
    OddChains<kRows, kVecs, kByStep>(a + (kByStep ? kHalf * t.a_stride : kHalf), t.a_stride,
                                     panel + kHalf * kWidth, steps, even, y);
    a += kByStep ? kBlockSteps * t.a_stride : kBlockSteps;
    panel += kBlockSteps * kWidth;
  }
  for (int64_t r = 0; r < kRows; ++r) std::copy_n(y + r * kWidth, t.columns, t.to + r * t.c_stride);
}

using BlockTileFunction = void (*)(const BlockTileArgs&);

template <bool kByStep>
BlockTileFunction block_tile_function(int64_t rows, int64_t vecs) {
  static constexpr BlockTileFunction kTiles[14][2] = {
#define DURE_TILE(r) \
  {BlockTile<(r <= kRowsMax ? r : 1), 1, kByStep>, BlockTile<(r <= kRowsMax ? r : 1), 2, kByStep>}
      DURE_TILE(1),  DURE_TILE(2),  DURE_TILE(3),  DURE_TILE(4), DURE_TILE(5),
      DURE_TILE(6),  DURE_TILE(7),  DURE_TILE(8),  DURE_TILE(9), DURE_TILE(10),
      DURE_TILE(11), DURE_TILE(12), DURE_TILE(13), DURE_TILE(14)};
#undef DURE_TILE
  return kTiles[rows - 1][vecs - 1];
}

// ---- packing

// `blocks` blocks of a row of pairs, in f32 and panel order.
void WidenBlocks(const uint16_t* from, int64_t blocks, float* to) {
  const hn::ScalableTag<float> d;
  for (int64_t b = 0; b < blocks; ++b, from += kBlockSteps, to += kBlockSteps) {
    for (int64_t i = 0; i < kHalf; i += kLanes) {
      const WordVec pairs = hn::LoadU(Words(), reinterpret_cast<const uint32_t*>(from + 2 * i));
      hn::StoreU(EvenOf(pairs), d, to + i);
      hn::StoreU(OddOf(pairs), d, to + kHalf + i);
    }
  }
}

// One block of kLanes stored rows as steps of a panel.
HWY_INLINE void TransposeBlock(const char* const* rows, int64_t offset, float* panel,
                               int64_t width) {
  const hn::ScalableTag<float> d;
  for (int64_t i = 0; i < kHalf; i += kLanes) {
    WordVec t[kLanes];
    HWY_UNROLL(16)
    for (int64_t r = 0; r < kLanes; ++r)
      t[r] = hn::LoadU(Words(), reinterpret_cast<const uint32_t*>(rows[r] + offset + 4 * i));
    TransposeWords(t);
    HWY_UNROLL(16)
    for (int64_t j = 0; j < kLanes; ++j) {
      hn::Store(EvenOf(t[j]), d, panel + (i + j) * width);
      hn::Store(OddOf(t[j]), d, panel + (kHalf + i + j) * width);
    }
  }
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
void StoredRows(const MatMul& m, int64_t first, int64_t count, int64_t step, const char** rows) {
  for (int64_t j = 0; j < kLanes; ++j)
    rows[j] = m.b + (first + std::min(j, count - 1)) * m.b_row_bytes + step * 2;
}

// A panel of columns that are stored rows.
void PackBlocksTransposed(const MatMul& m, int64_t first, int64_t count, int64_t step,
                          int64_t steps, float* panel) {
  const int64_t width = PanelVecs(count) * kLanes, whole = steps / kBlockSteps;
  for (int64_t v = 0; v < count; v += kLanes) {
    const char* rows[kLanes];
    StoredRows(m, first + v, count - v, step, rows);
    for (int64_t b = 0; b < whole; ++b)
      TransposeBlock(rows, b * kBlockSteps * 2, panel + b * kBlockSteps * width + v, width);
    if (steps % kBlockSteps == 0) continue;
    const LastBlock last(rows, whole * kBlockSteps * 2, steps % kBlockSteps);
    TransposeBlock(last.rows, 0, panel + whole * kBlockSteps * width + v, width);
  }
}

// All panels, where a stored row holds one step of each.
void PackBlocksCopied(const MatMul& m, int64_t first, int64_t columns, int64_t step, int64_t steps,
                      float* panels) {
  const int64_t padded = WholeBlocks(steps) * kBlockSteps;
  for (int64_t s = 0; s < padded; ++s) {
    const char* row = m.b + (step + s) * m.b_row_bytes;
    float* panel = panels;
    for (int64_t c = 0; c < columns; c += kPanel) {
      const int64_t width = PanelVecs(std::min(kPanel, columns - c)) * kLanes;
      const int64_t count = s < steps ? std::min(kPanel, columns - c) : 0;
      float* to = panel + PlaceOf(s) * width;
      if (count > 0) WidenRow(DType::kBF16, row, first + c, count, to);
      std::fill(to + count, to + width, 0.0f);
      panel += padded * width;
    }
  }
}

void PackBlocks(const MatMul& m, int64_t first, int64_t columns, int64_t step, int64_t steps,
                float* panels) {
  if (!m.b_by_column) return PackBlocksCopied(m, first, columns, step, steps, panels);
  for (int64_t c = 0; c < columns; c += kPanel) {
    const int64_t count = std::min(kPanel, columns - c);
    PackBlocksTransposed(m, first + c, count, step, steps, panels);
    panels += WholeBlocks(steps) * kBlockSteps * PanelVecs(count) * kLanes;
  }
}

// A's rows [row, row + rows) of a stretch as the tile reads them. to: kRowsMax rows of the stretch
// and kRowPad, or (by step) kLanes floats a step. Returns the stride.
int64_t CopyTile(const MatMul& m, int64_t row, int64_t rows, int64_t step, int64_t steps,
                 float* to) {
  const int64_t blocks = WholeBlocks(steps), padded = blocks * kBlockSteps;
  if (!m.a_by_step) {
    for (int64_t r = 0; r < rows; ++r)
      WidenBlocks(m.a_bf16 + (row + r) * m.a_stride + step, blocks, to + r * (padded + kRowPad));
    return padded + kRowPad;
  }
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::bfloat16_t, decltype(d)> half;
  for (int64_t s = 0; s < padded; ++s) {
    const auto* from =
        reinterpret_cast<const hwy::bfloat16_t*>(m.a_bf16 + (step + s) * m.a_stride + row);
    const TileVec values = s < steps ? hn::PromoteTo(d, hn::LoadU(half, from)) : hn::Zero(d);
    hn::Store(values, d, to + PlaceOf(s) * kLanes);
  }
  return kLanes;
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
  for (int64_t i = 0; i < kHalf; i += kLanes) {
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
        even[r] = hn::MulAdd(hn::Set(d, x[r * x_stride + i + j]), w, even[r]);
    }
    HWY_UNROLL(16)
    for (int64_t j = 0; j < kLanes; ++j) {
      const TileVec w = OddOf(t[j]);
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r)
        odd[r] = hn::MulAdd(hn::Set(d, x[r * x_stride + kHalf + i + j]), w, odd[r]);
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
  const int64_t rows = block.row_end - block.row_begin, blocks = WholeBlocks(m.steps);
  const int64_t x_stride = blocks * kBlockSteps;
  for (int64_t r = 0; r < rows; ++r)
    WidenBlocks(m.a_bf16 + (block.row_begin + r) * m.a_stride, blocks, x + r * x_stride);
  const FewBlocksFunction function = few_blocks_function(rows);
  for (int64_t c = block.column_begin; c < block.column_end; c += kLanes) {
    const int64_t count = std::min(kLanes, block.column_end - c);
    const char* stored[kLanes];
    StoredRows(m, c, count, 0, stored);
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
  const int64_t tile = std::max(kRowsMax * (stretch + kRowPad), stretch * kLanes);
  const int64_t floats = IsFew(m, block) ? kFew * padded : PanelColumns(block) * stretch + tile;
  return static_cast<size_t>(floats) * sizeof(float);
}

struct Stretch16 {
  const MatMul& m;
  const Block& block;
  int64_t step, steps;
  float *panels, *tile;
};

void RowTileBf16(const Stretch16& w, int64_t row, int64_t rows) {
  const MatMul& m = w.m;
  const int64_t stride = CopyTile(m, row, rows, w.step, w.steps, w.tile);
  const int64_t blocks = WholeBlocks(w.steps);
  const bool fresh = w.step == 0 && m.finish == Finish::kSet;
  const float* panel = w.panels;
  for (int64_t c = w.block.column_begin; c < w.block.column_end; c += kPanel) {
    const int64_t count = std::min(kPanel, w.block.column_end - c), vecs = PanelVecs(count);
    float* const to = m.c + row * m.c_stride + c;
    const BlockTileFunction tile = m.a_by_step ? block_tile_function<true>(rows, vecs)
                                               : block_tile_function<false>(rows, vecs);
    tile({.a = w.tile,
          .a_stride = stride,
          .panel = panel,
          .blocks = blocks,
          .last_half = LastHalf(w.steps),
          .from = fresh ? nullptr : to,
          .to = to,
          .c_stride = m.c_stride,
          .columns = count});
    panel += blocks * kBlockSteps * vecs * kLanes;
  }
}

void MatMulBlockBf16(const MatMul& m, const Block& block, void* scratch) {
  auto* const room = static_cast<float*>(scratch);
  if (IsFew(m, block)) return FewRowsBf16(m, block, room);
  const int64_t stretch = std::min(kStretchSteps, WholeBlocks(m.steps) * kBlockSteps);
  const int64_t rows = block.row_end - block.row_begin, tiles = divide_up(rows, kRowsMax);
  int64_t step = 0;
  do {  // Once even for no steps: C is set to zero.
    const int64_t steps = std::min(kStretchSteps, m.steps - step);
    const Stretch16 w{m, block, step, steps, room, room + PanelColumns(block) * stretch};
    PackBlocks(m, block.column_begin, block.column_end - block.column_begin, step, steps, w.panels);
    for (int64_t i = 0; i < tiles; ++i) {
      const int64_t begin = rows * i / tiles, end = rows * (i + 1) / tiles;
      RowTileBf16(w, block.row_begin + begin, end - begin);
    }
    step += steps;
  } while (step < m.steps);
}

#else  // EMU128: see matmul_bf16_generic.cc

void MatMulBlockBf16(const MatMul& m, const Block& block, void* scratch) {
  matmul_block_bf16_generic(m, block, scratch);
}
size_t ScratchBf16(const MatMul& m, const Block& block) {
  return matmul_scratch_bf16_generic(m, block);
}

#endif
}  // namespace HWY_NAMESPACE
}  // namespace dure::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dure::cpu {
HWY_EXPORT(MatMulBlockBf16);
HWY_EXPORT(ScratchBf16);
HWY_EXPORT(RoundSpanBf16);
void matmul_block_bf16(const MatMul& m, const Block& block, void* scratch) {
  DURE_DISPATCH(MatMulBlockBf16)(m, block, scratch);
}
size_t matmul_scratch_bf16(const MatMul& m, const Block& block) {
  return DURE_DISPATCH(ScratchBf16)(m, block);
}
void round_span_bf16(const float* x, int64_t count, uint16_t* out) {
  DURE_DISPATCH(RoundSpanBf16)(x, count, out);
}
}  // namespace dure::cpu
#endif
