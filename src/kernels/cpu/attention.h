// kernels/cpu/attention.h: one tile of attention (some consecutive rows, one key head), the unit
// that a worker runs.
//
// The tiles only share out the work: bits follow from kernels/attention.h alone. Bodies:
// attention.cc (forward), attention_backward.cc, attention-inl.h (what both use).
#pragma once

#include <cstddef>

#include "kernels/attention.h"

namespace dure::cpu {

// Symbols: N query heads of one key head (Q / G), H head width, S rows stride in elements.
struct AttentionTile {
  AttentionShape shape;
  KvView kv;
  int64_t kv_head = 0;
  int64_t first_position = 0;
  int64_t row_count = 0;
  const float* q = nullptr;      // [row_count, Q, H], already at the first of the N heads
  float* out = nullptr;          // likewise
  float* log_sum_exp = nullptr;  // [row_count, Q], likewise; or null
};
size_t attention_scratch_bytes(const AttentionShape& shape, int64_t row_count);
void attention_tile(const AttentionTile& tile, float* scratch);

// One document and key head. Pointers are at the document's first row (position 0) and the first of
// the N heads (q-like) or the key head (k-like): q-like rows are Q * H apart, k-like rows G * H.
struct AttentionBackwardHead {
  AttentionShape shape;
  int64_t row_count = 0;
  const float *q = nullptr, *k = nullptr, *v = nullptr, *out = nullptr, *log_sum_exp = nullptr,
              *dout = nullptr;
  float *dq = nullptr, *dk = nullptr, *dv = nullptr;
};
// What to compute of it. Rows and keys are ranges of positions; first_row and first_key are
// multiples of 64.
struct AttentionBackwardPart {
  int64_t first_row = 0, last_row = 0;
  int64_t first_key = 0, last_key = 0;
  bool query_gradient = true;  // dq of the rows: needs all keys they see
  bool key_gradient = true;    // dk, dv of the keys: needs all rows that see them
};
size_t attention_backward_scratch_bytes(const AttentionShape& shape);
void attention_backward_part(const AttentionBackwardHead& head, const AttentionBackwardPart& part,
                             float* scratch);

}  // namespace dure::cpu
