// model/train_pass.h: forward, losses and backward over one packed batch; what training and RL
// steps are made of.
//
//   pass.forward(weights, input, stream);
//   pass.token_log_probabilities(false, stream);  // Optional: RL reads them, chooses coefficients.
//   const LossResult& r = pass.backward(options, gradients, stream);  // gradients +=
//
// The head runs over chunks of rows, so no [T, V] stands in memory; rows without a target skip it.
// Without the middle call the head is computed once. Everything is allocated by the constructor.
// A stage of a pipeline has a run of the layers (TrainPassOptions::holding) and several passes in
// flight; what it takes from other stages and gives to them are rows of this pass. Not here:
// optimisers, schedules, data, the order of stages (train/).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/cross_entropy.h"  // kIgnore
#include "model/holding.h"
#include "model/model.h"

namespace dure {

// Rows are numbered in 32 bits.
constexpr int64_t kPassRowsMax = int64_t{1} << 31;

// count * each, the rows of one pass. Throws kInvalidArgument above kPassRowsMax; `where` names
// both numbers ("--rows x --tokens").
int64_t pass_rows(int64_t count, int64_t each, std::string_view where);

struct TrainPassOptions {
  int64_t rows_max = 0;            // T
  int64_t documents_max = 0;       // documents in a batch; 0: rows_max
  bool recompute = false;          // keep only the layers' inputs
  bool mtp = true;                 // room for the MTP loss (where the model has the layer)
  int64_t head_rows = 0;           // rows of logits at a time; 0: about 4 MiB of them
  int64_t adapter_rank = 0;        // of the weights' adapter, 0: none
  bool experts_elsewhere = false;  // the weights reach their experts by an exchange
  Holding holding = {};            // layers and ends of a stage
  int64_t in_flight = 1;           // passes between their forward and their backward
};

struct TrainInput {
  std::span<const int32_t> ids;      // [T]
  std::span<const int32_t> targets;  // [T] what row t should predict; kIgnore: nothing
  // sum to T; no document sees another, positions restart at 0
  std::span<const int64_t> document_lengths;
};

// Rows with a target, and rows whose MTP prediction has one: what a step adds up over its
// micro-batches.
struct TargetCounts {
  int64_t valid = 0, mtp_valid = 0;
};
TargetCounts count_targets(const TrainInput& input);

// Objective: sum over rows of -log p / valid_count (or, with row_coefficients, the sum of
// row_coefficients[t] * log p_t)
//   + mtp_coefficient * sum of the MTP layer's -log p / mtp_valid_count
//   + sum over sparse layers of sequence_balance(balance_coefficient) * documents here /
//   document_count.
// The counts are of the whole step, so that micro-batches add up to it; 0: of this batch.
struct LossOptions {
  double mtp_coefficient = 0;
  double balance_coefficient = 0;
  int64_t valid_count = 0, mtp_valid_count = 0, document_count = 0;
  // [T], if given: what stands before each row's log p, held constant. The mean negative
  // log-likelihood has -1 / valid_count in each. Rows without a target count for nothing.
  std::span<const float> row_coefficients;
  bool want_entropy = false;  // fill entropy() too
  double balance_before = 0;  // of later stages' layers: this one's are added to it
};

// Called by a backward as soon as nothing more is added to the gradients of `layer`; first of all
// with the number of layers: those of the final norm, the head and the MTP layer are complete. The
// embedding's, which may be the head's, are when the backward is done.
using GradientsComplete = std::function<void(int64_t layer)>;

// Of a stage without the head all losses but the balance loss are 0.
struct LossResult {
  double loss_sum = 0;      // sum of -log p over rows with a target
  double mtp_loss_sum = 0;  // the same for the MTP layer; 0 where mtp_coefficient is 0
  double balance_loss = 0;  // as it enters the objective
  int64_t valid = 0, mtp_valid = 0;
  // [L, expert_count_max()]: tokens of this batch routed to each; 0 where a layer has none
  std::vector<int64_t> expert_counts;
};

// The counts of one layer's experts, out of such a list.
inline std::span<const int64_t> counts_of_layer(std::span<const int64_t> expert_counts,
                                                const ModelConfig& config, int64_t layer) {
  return expert_counts.subspan(static_cast<size_t>(layer * config.expert_count_max()),
                               static_cast<size_t>(config.layer(layer).experts.count));
}

class TrainPass {
 public:
  // Allocates bytes(config, options) on the device of the streams it will run on. Throws
  // kOutOfMemory.
  TrainPass(const ModelConfig& config, const TrainPassOptions& options,
            Device device = Device::kCpu);
  ~TrainPass();
  static int64_t bytes(const ModelConfig& config, const TrainPassOptions& options);

  // Throws kInvalidArgument (an id or target outside the vocabulary). Checked: lengths agree, T <=
  // rows_max.
  void forward(const ModelWeights& weights, const TrainInput& input, Stream& stream);

  // The same in steps, for passes in flight. begin() takes the input at a place, of `in_flight`,
  // and works on it from then on, as select() does on one that stands there; run() does the layers.
  void begin(const ModelWeights& weights, const TrainInput& input, int64_t place = 0);
  void run(Stream& stream);
  void select(int64_t place);
  const TrainPassOptions& options() const;

  // Between stages, of the pass that is worked on:
  TensorView rows_in();   // [T, D] what the first layer here reads: written before run()
  TensorView rows_out();  // [T, D] what the last one gave; until the next run()
  // [T, D] of what the last layer gave: written before backward(); then of what the first one read.
  TensorView gradient();
  // The MTP layer reads the embedding of next tokens: [T, D], where the embedding stands made by
  // embed_next(), where the layer stands written before its losses.
  TensorView next_rows();
  void embed_next(Stream& stream);
  // And its gradient: [T, D], written before backward() where the embedding stands, made by
  // backward() where the layer stands.
  TensorView next_gradient();

  TensorView hidden();  // [T, D] after the final norm
  Activations& activations();

  // Fills log_probability(), of each row's target, and entropy() where wanted. backward() and
  // losses() fill them too.
  void token_log_probabilities(bool want_entropy, Stream& stream);
  std::span<const float> log_probability() const;  // [T]; 0 for ignored rows
  std::span<const float> entropy() const;          // [T], natural log; 0 for ignored rows

  // Losses, and gradients added to `gradients` (empty for a matrix that is frozen; the gradient
  // still flows through it). The weights are those of forward(). Uses up what forward() left: once
  // each. `adapter`: of the weights' adapter's factors, null: frozen.
  const LossResult& backward(const LossOptions& options, const ModelGradients& gradients,
                             Stream& stream, const ModelAdapterGradients* adapter = nullptr,
                             const GradientsComplete& complete = {});
  // Losses alone; a backward() may follow.
  const LossResult& losses(const LossOptions& options, Stream& stream);

  // What forward() and backward() do for others where there are no rows of this rank's own and the
  // weights reach their experts by an exchange; else nothing.
  void idle_forward(const ModelWeights& weights, Stream& stream);
  void idle_backward(const ModelWeights& weights, Stream& stream,
                     const GradientsComplete& complete = {});

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
