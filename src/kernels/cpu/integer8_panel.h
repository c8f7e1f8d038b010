// kernels/cpu/integer8_panel.h: what integer8.cc hands to the bodies of each instruction set: a
// panel of weights taken apart, and rows of x in 8 bits.
//
// A panel is 256 elements of k (the last one of a row may be shorter, in steps of 32) of 16
// columns. Bytes of four consecutive k lie together, for column after column: one 64-byte line is
// what a VNNI register or a row of an AMX tile holds.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/cpu/amx_tiles.h"
#include "kernels/integer_block.h"

namespace dure::cpu {

constexpr int kPanelColumns = 16;
constexpr int kPanelElements = 256;
constexpr int kPanelSubBlocks = 16;  // at most
// Two panels side by side make a tile: every value of x that is fetched meets both.
constexpr int kTilePanels = 2;
constexpr int kTileColumns = kTilePanels * kPanelColumns;

struct Panel {
  alignas(64) uint8_t values[kPanelElements / 4][kPanelColumns][4];
  alignas(64) int32_t scales[kPanelSubBlocks][kPanelColumns];  // types of 256
  // Pairs of minima: sub-blocks 2p (low half) and 2p + 1.
  alignas(64) int32_t minima[kPanelSubBlocks / 2][kPanelColumns];
  // Types of 256 use [0]; types of 32 have one for each 32 elements.
  alignas(64) float d[8][kPanelColumns], low[8][kPanelColumns];
  // A second plane of values, of the bodies that multiply scales into them (integer8_amx.cc).
  alignas(64) uint8_t high[kPanelElements / 4][kPanelColumns][4];
};

// The 16 stored rows of a panel, at its first element; a tile at the edge repeats its last one.
struct PanelRows {
  const uint8_t* at[kPanelColumns];
};

// Rows of x in 8 bits, cut as panels are: group g holds elements [256 g, 256 g + 256) of every row,
// padded with zeros.
struct RoundedRows {
  int64_t rows = 0, groups = 0;
  int scales_per_group = 1;  // 8 for types of 32 elements
  int8_t* values = nullptr;  // [groups, rows, 256], a line between groups
  float* scales = nullptr;   // [groups, rows, scales_per_group]
  int16_t* sums = nullptr;   // [groups, rows, 16]: of 16 values each

  // Sixteen rows would lie 4096 bytes apart otherwise: all in the same few sets of a cache.
  int64_t group_bytes() const { return rows * kPanelElements + 64; }
  int8_t* values_at(int64_t g, int64_t r) const {
    return values + g * group_bytes() + r * kPanelElements;
  }
  float* scales_at(int64_t g, int64_t r) const {
    return scales + (g * rows + r) * scales_per_group;
  }
  int16_t* sums_at(int64_t g, int64_t r) const { return sums + (g * rows + r) * 16; }
};

// Rows of x at one group, and where the results of a tile accumulate: lists of `count` pointers.
// Values can be read up to the next multiple of kRowsReadable rows beyond the last one where rows
// lie together.
struct RowBlock {
  int count = 0;
  const int8_t* const* values = nullptr;
  const float* const* scales = nullptr;
  const int16_t* const* sums = nullptr;
  float* const* y = nullptr;  // [32] each
};
constexpr int kRowBlockMax = 32;
constexpr int kRowsReadable = 16;

// Leaves all but the first `count` rows.
inline void drop_rows(RowBlock& rows, int count) {
  rows.count -= count;
  rows.values += count;
  rows.scales += count;
  rows.sums += count;
  rows.y += count;
}

// One tile half (16 stored rows) and at most kFewRows rows of x, for the products that stored rows
// are read for only once: nothing is transposed but sums.
constexpr int kFewRows = 4;
struct FewTile {
  PanelRows rows;
  int64_t columns = 0;  // K, whole panels
  const RoundedRows* x = nullptr;
  int count = 0;
  int64_t x_row[kFewRows];
  float* y[kFewRows];    // [16] each, set
  void* room = nullptr;  // few_room_bytes(), 64-byte aligned
  // What is to be asked for meanwhile: as many bytes as the 16 stored rows have, at least the
  // address of something.
  const uint8_t* next = nullptr;
};
size_t few_room_bytes(int64_t columns);
// Words between the blocks of two stored rows.
inline int64_t few_room_stride(int64_t blocks) { return (blocks + 15) / 16 * 16; }
// How far before its use memory is asked for, across the ends of rows: the next one follows.
constexpr int64_t kAheadBytes = 12288;

// One instruction set's bodies.
struct Integer8Body {
  // `elements` of k of the 16 rows: 256, or fewer at the end of rows of a type of 32.
  void (*unpack)(DType dtype, const PanelRows& rows, int elements, Panel& panel);
  void (*multiply)(const IntegerFormat& format, const Panel* tile, int elements,
                   const RowBlock& rows);
  // How many rows of x are faster by `few`, kFewRows at a time, than through panels; 0: none.
  int (*few_rows)(DType dtype);
  void (*few)(DType dtype, const FewTile& tile);  // Checked by the caller: few_rows(dtype) > 0.
  // Independent sums that never leave the registers, for the machine's peak; returns the operations
  // done, two for a product and its addition.
  double (*chains)(int64_t rounds, int32_t* out);
  int row_block = 12;  // the most rows that multiply() takes
  int rows_min = 0;    // Tasks of fewer are integer8_vnni()'s.
  // Values of the rows of a block lie kPanelElements bytes apart.
  bool rows_together = false;
  // Null, or: a task's tiles (an AmxSession).
  const TileConfig& (*tile_config)(const IntegerFormat& format) = nullptr;
};
const Integer8Body& integer8_body();  // of the instruction set in use
// For tests: the body to use from now on, whatever the instruction set; null: the one in use.
void set_integer8_body(const Integer8Body* body);
const Integer8Body& integer8_generic();
const Integer8Body& integer8_avx2();
const Integer8Body& integer8_vnni();  // AVX-512 with VNNI
bool integer8_vnni_available();
const Integer8Body& integer8_amx();       // needs amx_available() and VNNI
const Integer8Body& integer8_amx_twin();  // the same on PortableTiles; needs VNNI
int few_rows_vnni(DType dtype);
void few_vnni(DType dtype, const FewTile& tile);
void few_q6_k_by_row_vnni(const FewTile& tile);
int few_rows_avx2(DType dtype);
void few_avx2(DType dtype, const FewTile& tile);

// Asks for a stretch of memory, to the level-2 cache.
inline __attribute__((always_inline)) void fetch(const uint8_t* from, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch(from + line, 0, 2);
}

// By integer_block.h, any type.
void unpack_generic(DType dtype, const PanelRows& rows, int elements, Panel& panel);

}  // namespace dure::cpu
