// Panels for any processor and any type: plain loops.
#include <cmath>

#include "kernels/cpu/integer8_panel.h"

namespace dure::cpu {
namespace {

// Element k of column c.
void put_block(const IntegerFormat& format, const IntegerBlock& block, int first, int c,
               Panel& panel) {
  for (int k = 0; k < format.elements; ++k)
    panel.values[(first + k) / 4][c][k % 4] = block.values[k];
  if (format.elements < kPanelElements) {
    panel.d[first / 32][c] = block.d;
    panel.low[first / 32][c] = block.low;
    return;
  }
  panel.d[0][c] = block.d;
  panel.low[0][c] = format.minima ? block.low : 0;
  const int subs = kPanelElements / format.sub_block;
  for (int b = 0; b < subs; ++b) panel.scales[b][c] = block.scales[b];
  if (!format.minima) return;
  for (int p = 0; p < subs / 2; ++p)
    panel.minima[p][c] = block.minima[2 * p] | block.minima[2 * p + 1] << 16;
}

int32_t dot(const Panel& panel, int first, int count, int c, const int8_t* x) {
  int32_t sum = 0;
  for (int k = first; k < first + count; ++k) sum += panel.values[k / 4][c][k % 4] * x[k];
  return sum;
}

int32_t sum_of(const int16_t* sums, int first, int count) {
  int32_t sum = 0;
  for (int i = first / 16; i < (first + count) / 16; ++i) sum += sums[i];
  return sum;
}

// A panel of a type of 256: one block.
void multiply_whole(const IntegerFormat& f, const Panel& panel, const int8_t* x, const float* scale,
                    const int16_t* sums, float* y) {
  for (int c = 0; c < kPanelColumns; ++c) {
    int32_t weighted = 0, low = 0;
    for (int b = 0; b < kPanelElements / f.sub_block; ++b) {
      const int first = b * f.sub_block;
      const int32_t sum = sum_of(sums, first, f.sub_block);
      weighted += panel.scales[b][c] * (dot(panel, first, f.sub_block, c, x) - f.offset * sum);
      if (f.minima) low += ((panel.minima[b / 2][c] >> (b % 2 * 16)) & 0xffff) * sum;
    }
    y[c] = std::fma(static_cast<float>(weighted), panel.d[0][c] * *scale, y[c]);
    if (f.minima) y[c] = std::fma(static_cast<float>(low), -(panel.low[0][c] * *scale), y[c]);
  }
}

// A panel of a type of 32: up to eight blocks.
void multiply_blocks(const IntegerFormat& f, const Panel& panel, int elements, const int8_t* x,
                     const float* scales, const int16_t* sums, float* y) {
  for (int b = 0; b < elements / 32; ++b) {
    const int32_t sum = sum_of(sums, 32 * b, 32);
    for (int c = 0; c < kPanelColumns; ++c) {
      const int32_t weighted = dot(panel, 32 * b, 32, c, x) - f.offset * sum;
      y[c] = std::fma(static_cast<float>(weighted), panel.d[b][c] * scales[b], y[c]);
      if (f.minima) y[c] = std::fma(static_cast<float>(sum), -(panel.low[b][c] * scales[b]), y[c]);
    }
  }
}

void multiply(const IntegerFormat& f, const Panel* tile, int elements, const RowBlock& rows) {
  for (int i = 0; i < rows.count * kTilePanels; ++i) {
    const int r = i / kTilePanels, p = i % kTilePanels;
    float* const y = rows.y[r] + p * kPanelColumns;
    if (f.elements == kPanelElements)
      multiply_whole(f, tile[p], rows.values[r], rows.scales[r], rows.sums[r], y);
    else
      multiply_blocks(f, tile[p], elements, rows.values[r], rows.scales[r], rows.sums[r], y);
  }
}

int no_few_rows(DType) { return 0; }

double chains(int64_t rounds, int32_t* out) {
  uint32_t sums[16] = {};
  for (int64_t r = 0; r < rounds; ++r) {
    for (uint32_t i = 0; i < 16; ++i) sums[i] += (static_cast<uint32_t>(r) + i) * (sums[i] & 255);
  }
  for (const uint32_t sum : sums) *out += static_cast<int32_t>(sum & 1);
  return static_cast<double>(rounds) * 16 * 2;
}

}  // namespace

void unpack_generic(DType dtype, const PanelRows& rows, int elements, Panel& panel) {
  const IntegerFormat& format = *integer_format(dtype);
  const int64_t bytes = dtype_info(dtype).block_bytes;
  IntegerBlock block;
  for (int c = 0; c < kPanelColumns; ++c) {
    for (int first = 0; first < elements; first += format.elements) {
      take_apart(dtype, rows.at[c] + first / format.elements * bytes, block);
      put_block(format, block, first, c, panel);
    }
  }
}

const Integer8Body& integer8_generic() {
  static constexpr Integer8Body body{unpack_generic, multiply, no_few_rows, nullptr, chains};
  return body;
}

}  // namespace dure::cpu
