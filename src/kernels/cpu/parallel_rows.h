// kernels/cpu/parallel_rows.h: rows shared out among the workers of a stream, in pieces large
// enough to be worth handing over.
#pragma once

#include <algorithm>

#include "tensor/cpu_stream.h"

namespace dure::cpu {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A piece of 16384 elements takes a few microseconds; waking a worker and fetching an index costs
// well below one.
constexpr int64_t kElementsPerPiece = 16384;

// Calls body(first, last) over [0, rows). Only for work whose results do not depend on the pieces.
template <typename Body>
void parallel_rows(CpuStream& stream, int64_t rows, int64_t columns, Body&& body) {
  const int64_t piece = std::max<int64_t>(1, kElementsPerPiece / std::max<int64_t>(1, columns));
  stream.threads().parallel_for(divide_up(rows, piece), [&](int64_t index, int) {
    body(index * piece, std::min(rows, (index + 1) * piece));
  });
}

// The same over the elements of one long row, cut at multiples of 16.
template <typename Body>
void parallel_elements(CpuStream& stream, int64_t count, Body&& body) {
  parallel_rows(stream, divide_up(count, 16), 16,
                [&](int64_t first, int64_t last) { body(first * 16, std::min(count, last * 16)); });
}

}  // namespace dure::cpu
