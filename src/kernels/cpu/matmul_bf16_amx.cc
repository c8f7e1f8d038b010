// Products of Arithmetic::kBf16 with the tiles of AMX: 16 rows by 16 columns by one block of 32
// steps an instruction, which has the arithmetic's own order.
//
// B lies in panels of 16 columns, a tile a block: 16 lines of pairs of steps. A's rows are tiles as
// they are, except where fewer than 16 are left or where A lies by step: those are copied. Up to 2
// x 2 tiles of C are summed over a stretch of steps and wait in C until the next.
#include "kernels/cpu/matmul_bf16.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/amx_tiles.h"
#include "kernels/cpu/parallel_rows.h"

#pragma GCC push_options
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c")

namespace dure::cpu {
namespace {

#include "kernels/cpu/transpose_avx512-inl.h"

constexpr int64_t kSide = kTileRows;  // rows and columns of a tile of C
constexpr int64_t kTileWords = kTileRows * kTileRowBytes / 4;
constexpr int64_t kStretch = 512;
constexpr int64_t kFewRows = 8;  // read weights in place, with vectors

using Word = uint32_t;

// The lanes of a load of 16 elements of which the first `count` are there.
inline __mmask16 lanes(int64_t count) {
  return static_cast<__mmask16>((1u << std::clamp<int64_t>(count, 0, kSide)) - 1);
}

// Element j of two rows as word j: the first one's in the lower half.
inline __m512i pairs(const uint16_t* low, const uint16_t* high, __mmask16 low_lanes,
                     __mmask16 high_lanes) {
  const __m512i a = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(low_lanes, low));
  const __m512i b = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(high_lanes, high));
  return _mm512_or_si512(a, _mm512_slli_epi32(b, 16));
}

// 16 lines of pairs of steps, `count` columns each, from rows that hold a step each; steps from
// `steps` on are zero.
inline void lines_of_steps(const uint16_t* rows, int64_t stride, int64_t steps, int64_t count,
                           __m512i* t) {
  for (int64_t p = 0; p < kSide; ++p) {
    const auto there = [&](int64_t s) { return s < steps ? lanes(count) : __mmask16{0}; };
    const uint16_t* const low = rows + 2 * p * stride;
    t[p] = pairs(low, low + stride, there(2 * p), there(2 * p + 1));
  }
}

inline void store_lines(const __m512i* t, Word* to) {
  for (int64_t p = 0; p < kSide; ++p) _mm512_storeu_si512(to + p * kSide, t[p]);
}

// One tile of B: 16 columns from `column` on, of the block at `step`.
void pack_b(const MatMul& m, int64_t column, int64_t columns, int64_t step, int64_t steps,
            Word* to) {
  __m512i t[kSide];
  if (!m.b_by_column) {
    const auto* rows = reinterpret_cast<const uint16_t*>(m.b + step * m.b_row_bytes) + column;
    lines_of_steps(rows, m.b_row_bytes / 2, steps, columns, t);
    return store_lines(t, to);
  }
  const __mmask32 there = steps >= kBf16Block ? ~0u : (1u << steps) - 1;
  for (int64_t c = 0; c < kSide; ++c) {
    const char* row = m.b + (column + std::min(c, columns - 1)) * m.b_row_bytes + step * 2;
    t[c] = _mm512_maskz_loadu_epi16(there, row);
  }
  transpose16(t);
  store_lines(t, to);
}

// One tile of A: rows as they are, or turned from steps.
void copy_a(const MatMul& m, int64_t row, int64_t rows, int64_t step, int64_t steps, Word* to) {
  __m512i t[kSide];
  if (m.a_by_step) {
    lines_of_steps(m.a_bf16 + step * m.a_stride + row, m.a_stride, steps, rows, t);
    transpose16(t);
  } else {
    for (int64_t r = 0; r < kSide; ++r) {
      t[r] = r < rows ? _mm512_loadu_si512(m.a_bf16 + (row + r) * m.a_stride + step)
                      : _mm512_setzero_si512();
    }
  }
  store_lines(t, to);
}

// Tiles of one row of them, a block after another.
struct ARows {
  const void* at;
  int64_t stride;      // bytes between the rows of a tile
  int64_t next_block;  // bytes
  const void* block(int64_t b) const { return static_cast<const char*>(at) + b * next_block; }
};

// A rectangle of C of up to 2 x 2 tiles over a stretch.
struct Square {
  ARows a[2];
  const Word* b[2];
  int64_t blocks;
  const MatMul& m;
  int64_t row, rows, column, columns;
  bool fresh;  // C starts from zero

  float* c(int i, int j) const { return m.c + (row + i * kSide) * m.c_stride + column + j * kSide; }
  int64_t rows_of(int i) const { return std::min(kSide, rows - i * kSide); }
  int64_t columns_of(int j) const { return std::min(kSide, columns - j * kSide); }
  bool whole(int i, int j) const { return rows_of(i) == kSide && columns_of(j) == kSide; }
};

using Sums = float[kSide][kSide];

template <int kTile, typename Tiles>
void load_c(Tiles& t, const Square& s, int i, int j) {
  if (s.fresh) return t.template zero<kTile>();
  if (s.whole(i, j)) return t.template load<kTile>(s.c(i, j), s.m.c_stride * 4);
  alignas(64) Sums sums = {};
  for (int64_t r = 0; r < s.rows_of(i); ++r)
    std::copy_n(s.c(i, j) + r * s.m.c_stride, s.columns_of(j), sums[r]);
  t.template load<kTile>(sums, kTileRowBytes);
}

template <int kTile, typename Tiles>
void store_c(const Tiles& t, const Square& s, int i, int j) {
  if (s.whole(i, j)) return t.template store<kTile>(s.c(i, j), s.m.c_stride * 4);
  alignas(64) Sums sums;
  t.template store<kTile>(sums, kTileRowBytes);
  for (int64_t r = 0; r < s.rows_of(i); ++r)
    std::copy_n(sums[r], s.columns_of(j), s.c(i, j) + r * s.m.c_stride);
}

// Tiles 0 to 3 are C, 4 and 5 rows of A, 6 and 7 columns of B.
template <int kDown, int kAcross, typename Tiles>
void sum_square(Tiles& t, const Square& s) {
  load_c<0>(t, s, 0, 0);
  if constexpr (kAcross == 2) load_c<1>(t, s, 0, 1);
  if constexpr (kDown == 2) load_c<2>(t, s, 1, 0);
  if constexpr (kDown == 2 && kAcross == 2) load_c<3>(t, s, 1, 1);
  for (int64_t b = 0; b < s.blocks; ++b) {
    t.template load<4>(s.a[0].block(b), s.a[0].stride);
    t.template load<6>(s.b[0] + b * kTileWords, kTileRowBytes);
    t.template dot_bf16<0, 4, 6>();
    if constexpr (kAcross == 2) {
      t.template load<7>(s.b[1] + b * kTileWords, kTileRowBytes);
      t.template dot_bf16<1, 4, 7>();
    }
    if constexpr (kDown == 2) {
      t.template load<5>(s.a[1].block(b), s.a[1].stride);
      t.template dot_bf16<2, 5, 6>();
      if constexpr (kAcross == 2) t.template dot_bf16<3, 5, 7>();
    }
  }
  store_c<0>(t, s, 0, 0);
  if constexpr (kAcross == 2) store_c<1>(t, s, 0, 1);
  if constexpr (kDown == 2) store_c<2>(t, s, 1, 0);
  if constexpr (kDown == 2 && kAcross == 2) store_c<3>(t, s, 1, 1);
}

template <typename Tiles>
void sum_any(Tiles& t, const Square& s) {
  const bool two_down = s.rows > kSide, two_across = s.columns > kSide;
  if (two_down && two_across) return sum_square<2, 2>(t, s);
  if (two_down) return sum_square<2, 1>(t, s);
  if (two_across) return sum_square<1, 2>(t, s);
  sum_square<1, 1>(t, s);
}

// A block's scratch: panels of B, then two copied rows of tiles of A.
int64_t stretch_blocks(const MatMul& m) {
  return divide_up(std::min(m.steps, kStretch), kBf16Block);
}
int64_t column_tiles(const Block& block) {
  return divide_up(block.column_end - block.column_begin, kSide);
}

bool is_few(const MatMul& m, const Block& block) {
  return m.b_by_column && m.finish == Finish::kSet && block.row_end - block.row_begin <= kFewRows;
}

size_t scratch_bytes(const MatMul& m, const Block& block) {
  if (is_few(m, block)) return bf16_vectors().scratch(m, block);
  return static_cast<size_t>((column_tiles(block) + 2) * stretch_blocks(m) * kTileWords) *
         sizeof(Word);
}

// One stretch of steps of a rectangle of C.
template <typename Tiles>
struct StretchOf {
  const MatMul& m;
  const Block& block;
  int64_t step, steps;
  Word *panels, *copies;
  Tiles& tiles;

  int64_t blocks() const { return divide_up(steps, kBf16Block); }
  const Word* panel(int64_t tile) const { return panels + tile * blocks() * kTileWords; }

  void pack() const {
    Word* to = panels;
    for (int64_t c = block.column_begin; c < block.column_end; c += kSide) {
      for (int64_t s = 0; s < steps; s += kBf16Block, to += kTileWords) {
        pack_b(m, c, std::min(kSide, block.column_end - c), step + s,
               std::min(kBf16Block, steps - s), to);
      }
    }
  }

  ARows rows_at(int64_t row, int64_t rows, Word* room) const {
    if (!m.a_by_step && rows == kSide)
      return {m.a_bf16 + row * m.a_stride + step, m.a_stride * 2, kBf16Block * 2};
    for (int64_t b = 0; b < blocks(); ++b) {
      const int64_t s = b * kBf16Block;
      copy_a(m, row, rows, step + s, std::min(kBf16Block, steps - s), room + b * kTileWords);
    }
    return {room, kTileRowBytes, kTileWords * 4};
  }

  void run_rows(int64_t row, int64_t rows) const {
    ARows a[2] = {};
    for (int64_t i = 0; i * kSide < rows; ++i)
      a[i] = rows_at(row + i * kSide, std::min(kSide, rows - i * kSide),
                     copies + i * stretch_blocks(m) * kTileWords);
    for (int64_t c = block.column_begin; c < block.column_end; c += 2 * kSide) {
      const int64_t tile = (c - block.column_begin) / kSide;
      sum_any(tiles, Square{.a = {a[0], a[1]},
                            .b = {panel(tile), panel(tile + 1)},
                            .blocks = blocks(),
                            .m = m,
                            .row = row,
                            .rows = rows,
                            .column = c,
                            .columns = std::min(2 * kSide, block.column_end - c),
                            .fresh = step == 0 && m.finish == Finish::kSet});
    }
  }

  void run() const {
    pack();
    for (int64_t r = block.row_begin; r < block.row_end; r += 2 * kSide)
      run_rows(r, std::min(2 * kSide, block.row_end - r));
  }
};

template <typename Tiles>
void run_block(const MatMul& m, const Block& block, void* scratch) {
  Tiles tiles(whole_tiles());
  auto* const panels = static_cast<Word*>(scratch);
  Word* const copies = panels + column_tiles(block) * stretch_blocks(m) * kTileWords;
  int64_t step = 0;
  do {  // Once even for no steps: C is set to zero.
    const int64_t steps = std::min(kStretch, m.steps - step);
    StretchOf<Tiles>{m, block, step, steps, panels, copies, tiles}.run();
    step += steps;
  } while (step < m.steps);
}

void block_amx(const MatMul& m, const Block& block, void* scratch) {
  if (is_few(m, block)) return bf16_vectors().block(m, block, scratch);
  const AmxSession session(whole_tiles());
  run_block<AmxTiles>(m, block, scratch);
}

void block_twin(const MatMul& m, const Block& block, void* scratch) {
  if (is_few(m, block)) return bf16_vectors().block(m, block, scratch);
  run_block<PortableTiles>(m, block, scratch);
}

BlockLimits limits() {
  return {.row_tile = 2 * kSide, .column_tile = 2 * kSide, .steps_max = kStretch};
}

}  // namespace

const Bf16Body& bf16_amx() {
  static constexpr Bf16Body body = {block_amx, scratch_bytes, limits};
  return body;
}

const Bf16Body& bf16_amx_twin() {
  static constexpr Bf16Body body = {block_twin, scratch_bytes, limits};
  return body;
}

}  // namespace dure::cpu
#pragma GCC pop_options
#else
namespace dure::cpu {
const Bf16Body& bf16_amx() { return bf16_vectors(); }
const Bf16Body& bf16_amx_twin() { return bf16_vectors(); }
}  // namespace dure::cpu
#endif
