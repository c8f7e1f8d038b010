// kernels/cpu/amx_tiles.h: matrix tiles of a processor with AMX, and their exact twin in plain
// memory.
//
// A kernel with tiles is a template over `Tiles`: AmxTiles are the instructions, PortableTiles the
// same operations for any processor, equal in every bit (amx_available() compares them before first
// use, amx_tiles_test.cc at length). So a body is tested where there is no AMX.
//
//   template <typename Tiles>
//   void body(...) {
//     Tiles t(kConfig);                  // AmxTiles: nothing; an AmxSession of this thread holds
//     it t.template zero<0>(); t.template load<4>(a, a_stride);   // rows of row_bytes each,
//     `stride` bytes apart t.template load<6>(b, 64); t.template dot_signed_unsigned<0, 4, 6>(); //
//     tile 0 += tile 4 x tile 6 t.template store<0>(c, 64);
//   }
//
// There are 8 tiles of up to 16 rows of 64 bytes; numbers are part of an instruction and so
// template arguments. The products, C += A x B, where C has M rows of N 32-bit numbers:
//   8 bits: A [M rows of 4 S bytes], B [S rows of 4 N bytes]: row s holds elements 4s..4s+3 of the
//     inner dimension for column 0, then for column 1, ...; i32 sums that wrap around.
//   dot_bf16: A [M rows of 2 S bf16], B [S rows of 2 N bf16]: row s holds elements 2s, 2s+1 of each
//     column. Per element of C: even elements and odd ones each accumulate from +0 by f32 fused
//     multiply-adds in ascending s; C + (even + odd). Denormals, read or produced, are zeros of
//     their sign; rounding is to nearest, ties to even.
//
// Not here: which products use tiles (isa.h says whether they may).
#pragma once

#include <cstdint>

#include "base/check.h"

namespace dure::cpu {

constexpr int kTiles = 8;
constexpr int kTileRows = 16;
constexpr int kTileRowBytes = 64;

// The shape of each tile, as the processor reads it.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};

  constexpr TileConfig& set(int tile, int tile_rows, int tile_row_bytes) {
    rows[tile] = static_cast<uint8_t>(tile_rows);
    row_bytes[tile] = static_cast<uint16_t>(tile_row_bytes);
    return *this;
  }
};
static_assert(sizeof(TileConfig) == 64);

// All 8 tiles of 16 rows of 64 bytes.
constexpr TileConfig whole_tiles() {
  TileConfig config;
  for (int t = 0; t < kTiles; ++t) config.set(t, kTileRows, kTileRowBytes);
  return config;
}

// The processor has 8-bit and bf16 tiles, the system grants them to this process (asked for at the
// first call), and small products have the twin's bits. Where they exist but one of the others is
// missing, the first call logs a warning.
bool amx_available();

// This thread's tiles, for as long as it lives: a few dozen cycles to begin and end, so one for a
// task. Needs amx_available(). Tiles are zero at its beginning. Sessions of a thread do not nest.
class AmxSession {
 public:
  explicit AmxSession(const TileConfig& config);
  ~AmxSession();
  AmxSession(const AmxSession&) = delete;
  AmxSession& operator=(const AmxSession&) = delete;
};

// a * b + c and a + b with one rounding, denormals as zeros of their sign: what dot_bf16 computes
// with. a and b of the product are bf16 numbers.
float fma_flushed(float a, float b, float c);
float add_flushed(float a, float b);

// ---- the twin

class PortableTiles {
 public:
  explicit PortableTiles(const TileConfig& config) : config_(config) {}

  template <int kTile>
  void zero() {
    clear(kTile);
  }
  template <int kTile>
  void load(const void* from, int64_t stride) {
    read(kTile, from, stride);
  }
  template <int kTile>
  void store(void* to, int64_t stride) const {
    write(kTile, to, stride);
  }
  template <int kC, int kA, int kB>
  void dot_signed() {
    dot8(kC, kA, kB, true, true);
  }
  template <int kC, int kA, int kB>
  void dot_signed_unsigned() {
    dot8(kC, kA, kB, true, false);
  }
  template <int kC, int kA, int kB>
  void dot_unsigned_signed() {
    dot8(kC, kA, kB, false, true);
  }
  template <int kC, int kA, int kB>
  void dot_bf16() {
    dot16(kC, kA, kB);
  }

 private:
  void clear(int tile);
  void read(int tile, const void* from, int64_t stride);
  void write(int tile, void* to, int64_t stride) const;
  void dot8(int c, int a, int b, bool a_signed, bool b_signed);
  void dot16(int c, int a, int b);
  void check_shapes(int c, int a, int b) const;

  TileConfig config_;
  alignas(64) uint8_t memory_[kTiles][kTileRows][kTileRowBytes] = {};
};

// ---- the instructions

#if defined(__x86_64__)
// Written out, since a tile's number must stand in the instruction's text. No compiler moves these
// across each other, nor memory accesses across loads and stores.
class AmxTiles {
 public:
  explicit AmxTiles(const TileConfig&) {}

  template <int kTile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  void store(void* to, int64_t stride) const {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kC, int kA, int kB>
  void dot_signed() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
  }
  template <int kC, int kA, int kB>
  void dot_signed_unsigned() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
  }
  template <int kC, int kA, int kB>
  void dot_unsigned_signed() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
  }
  template <int kC, int kA, int kB>
  void dot_bf16() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
  }
};
#else
using AmxTiles = PortableTiles;  // Never chosen: amx_available() is false.
#endif

}  // namespace dure::cpu
