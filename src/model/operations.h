// model/operations.h: the arithmetic of a forward and of a training step, counted exactly from the
// configuration: what a layer's window and its experts save, whatever machine runs it.
//
// An operation is a multiplication or an addition, two a multiply-add: of every product with a
// weight (K experts and the shared one a token), and of attention's two inner products, 4 Q H a
// (row, key) pair in sight. Norms, softmax, rotations, routing's choice, sampling and copies count
// for nothing. A backward is twice its forward. Not here: bytes (engine/work.h, engine/kv_cache.h),
// what a machine can do (kernels/peak.h).
//
// Symbols: T rows, Q query heads, H head width, W window, D hidden width, V vocabulary.
#pragma once

#include "formats/model_config.h"

namespace dure {

// Rows of one sequence.
struct OperationRows {
  int64_t first_position = 0;  // rows already there
  int64_t rows = 1;            // T
  int64_t head_rows = 0;       // that have logits
  int64_t mtp_rows = 0;        // that go through the MTP layer and its use of the head
};

struct Operations {
  double projections = 0;   // q, k, v and output products
  double attention = 0;     // scores and sums over values
  double feed_forward = 0;  // dense ones, experts, routers
  double head = 0;          // logits
  double total() const { return projections + attention + feed_forward + head; }
};

// Positions that rows [first, first + rows) see together, themselves included; window 0: all.
double keys_in_sight(int64_t window_tokens, int64_t first_position, int64_t rows);

Operations forward_operations(const ModelConfig& config, const OperationRows& rows);

// Forward and backward of one document of `tokens` rows, each with a next token to learn, and with
// the MTP loss where `mtp` (the model has that layer).
enum class MtpLoss : uint8_t { kWithout, kWith };
Operations training_operations(const ModelConfig& config, int64_t tokens, MtpLoss mtp);

}  // namespace dure
