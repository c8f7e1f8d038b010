// engine/work.h: what one forward reads and multiplies, counted from the model's tensors: the
// numerators of bytes per second and operations per second.
//
// Counted: every matrix, router and norm of the main layers once a forward, the head once where
// some row has logits, a row of the embedding for each row, and of experts those that T rows choose
// under even routing, E (1 - (1 - K/E)^T) of E. Operations are two for each multiply-add of a
// product with a weight; attention's own are left out, as are sampling and the MTP layer. Keys and
// values: the positions that a sequence's rows can see, once a forward. Not here: what the machine
// can do (kernels/peak.h), how long it took (throughput.h).
#pragma once

#include <cstdint>

#include "model/weights.h"

namespace dure {

struct ForwardRows {
  int64_t sequence_count = 1;
  int64_t rows_each = 1;       // of one sequence, from `first_position` on
  int64_t first_position = 0;  // rows already in the cache
  int64_t head_rows = 0;       // that have logits, of all sequences together
  DType kv_dtype = DType::kF32;
};

struct Work {
  double weight_bytes = 0, kv_bytes = 0, operations = 0;
  void add(const Work& other);
};

// Of the main layers: what the rows can see, read once.
double kv_bytes_read(const ModelConfig& config, const ForwardRows& rows);

Work forward_work(const ModelWeights& weights, const ForwardRows& rows);

}  // namespace dure
