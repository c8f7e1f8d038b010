// kernels/cpu/attention_simd.h: one tile of attention (some consecutive rows, one key head), the
// unit that a worker runs.
//
// The tiles only share out the work: bits follow from kernels/attention.h alone. A tile that sees
// several partitions may be shared out too: parts of it leave the state of each partition, and who
// comes last merges them. Bodies:
// attention_simd.cc (forward), attention_backward_simd.cc, attention-inl.h (what both use).
#pragma once

#include <algorithm>
#include <cstddef>

#include "kernels/attention.h"

namespace dure::cpu {

// A KvView as addresses.
struct KvBlocks {
  const char *keys = nullptr, *values = nullptr;
  const int32_t* blocks = nullptr;  // null: block b lies at place b
  int64_t first_block = 0, block_stride_bytes = 0;
  KvLayout layout = KvLayout::kRows;
  int64_t row_stride = 0;
  DType dtype = DType::kF32;

  explicit KvBlocks(const KvView& view)
      : keys(static_cast<const char*>(view.keys.data)),
        values(static_cast<const char*>(view.values.data)),
        blocks(view.blocks ? view.blocks.i32() : nullptr),
        first_block(view.first_block),
        block_stride_bytes(view.block_stride_bytes),
        layout(view.layout),
        row_stride(view.row_stride),
        dtype(view.dtype()) {}
  const void* key_block(int64_t block) const { return keys + offset(block); }
  const void* value_block(int64_t block) const { return values + offset(block); }

 private:
  int64_t offset(int64_t block) const {
    return (blocks != nullptr ? blocks[block - first_block] : block) * block_stride_bytes;
  }
};

// Symbols: N query heads of one key head (Q / G), H head width, S rows stride in elements.
struct AttentionTile {
  AttentionShape shape;
  KvBlocks kv;
  int64_t kv_head = 0;
  int64_t first_position = 0;
  int64_t row_count = 0;
  const float* q = nullptr;      // [row_count, Q, H], already at the first of the N heads
  float* out = nullptr;          // likewise
  float* log_sum_exp = nullptr;  // [row_count, Q], likewise; or null
  const float* sinks = nullptr;  // [N] of the N heads; or null
  // What some row sees.
  int64_t first_key() const {
    return shape.window_tokens > 0 ? std::max<int64_t>(0, first_position - shape.window_tokens + 1)
                                   : 0;
  }
  int64_t last_key() const { return first_position + row_count - 1; }
  int64_t first_partition() const { return first_key() / kPartitionTokens; }
  int64_t partition_count() const { return last_key() / kPartitionTokens - first_partition() + 1; }
};
size_t attention_scratch_bytes(const AttentionTile& tile);
void attention_tile(const AttentionTile& tile, float* scratch);

// The same in parts. Of one partition of one tile, N row_count rows: output before its division
// [rows, P], then sum [rows], then maximum [rows]; P: H in whole lanes.
int64_t attention_state_floats(const AttentionTile& tile);
// Partitions [first, last) counted from the tile's first one; `states`: of the tile, from its first
// partition on.
void attention_partitions(const AttentionTile& tile, int64_t first, int64_t last, float* states,
                          float* scratch);
// After all partitions; `states` is used up.
void attention_merge(const AttentionTile& tile, float* states);

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

// One head's sink over all rows. Pointers are at the head in the first row; rows are Q * H (out,
// dout) and Q (log_sum_exp) apart.
struct AttentionSinkHead {
  int64_t row_count = 0, head_count = 0, head_width = 0;
  float sink = 0;
  const float *out = nullptr, *dout = nullptr, *log_sum_exp = nullptr;
  float* dsink = nullptr;  // +=
};
void attention_sink_head(const AttentionSinkHead& head);

}  // namespace dure::cpu
