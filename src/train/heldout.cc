// Losses on held-out sets, a few rows of each.
#include "train/heldout.h"

#include <algorithm>
#include <array>
#include <numbers>

#include "train/step_passes.h"
#include "train/train_data.h"

namespace dure {
namespace {

struct Measured {
  double nats = 0;
  int64_t tokens = 0;  // predicted ones
  int64_t bytes = 0;   // of text that ordinary tokens stand for
  void operator+=(const Measured& other) {
    nats += other.nats;
    tokens += other.tokens;
    bytes += other.bytes;
  }
  double loss() const { return nats / static_cast<double>(std::max<int64_t>(1, tokens)); }
  double bits_per_byte() const {
    return nats / std::numbers::ln2 / static_cast<double>(std::max<int64_t>(1, bytes));
  }
};

int64_t predicted_bytes(const TrainBatch& batch, const Tokenizer& tokenizer) {
  int64_t bytes = 0;
  for (const int32_t id : batch.targets) {
    if (id != kIgnoredTarget && !tokenizer.is_special(id))
      bytes += static_cast<int64_t>(tokenizer.token_bytes(id).size());
  }
  return bytes;
}

// What the stage with the head measured.
Measured on_all_stages(const Measured& here, Learner& learner) {
  std::array<double, 3> values{here.nats, static_cast<double>(here.tokens),
                               static_cast<double>(here.bytes)};
  learner.link().pipeline().all_reduce(std::span<double>(values), "held-out losses");
  return {values[0], static_cast<int64_t>(values[1]), static_cast<int64_t>(values[2])};
}

Measured measure(const HeldoutSet& set, int64_t rows, const HeldoutOptions& options,
                 const Tokenizer& tokenizer, Learner& learner) {
  const int64_t together = std::min(rows, options.rows_together);
  EvalBatches batches(set.documents, {.row_count = together,
                                      .row_tokens = options.row_tokens,
                                      .overlap_tokens = 1,
                                      .pad_id = options.pad_id});
  Measured out;
  TrainBatch batch;
  for (int64_t done = 0; done < rows && batches.next(batch); done += together) {
    drop_padding(batch, options.pad_id);
    if (batch.ids.empty()) continue;
    if (!forward_through(input_of(batch), learner)) continue;
    const LossResult& result = learner.pass().losses({}, learner.stream());
    out += {result.loss_sum, result.valid, predicted_bytes(batch, tokenizer)};
  }
  return on_all_stages(out, learner);
}

}  // namespace

void measure_heldout(const std::vector<HeldoutSet>& sets, const HeldoutOptions& options,
                     const Tokenizer& tokenizer, Learner& learner, Json& row) {
  if (sets.empty()) return;
  const int64_t rows = std::max<int64_t>(1, options.rows / static_cast<int64_t>(sets.size()));
  Measured all;
  for (const HeldoutSet& set : sets) {
    const Measured one = measure(set, rows, options, tokenizer, learner);
    row["eval_loss_" + set.name] = one.loss();
    all += one;
  }
  row["eval_loss"] = all.loss();
  if (options.bits_per_byte) row["eval_bits_per_byte"] = all.bits_per_byte();
}

}  // namespace dure
