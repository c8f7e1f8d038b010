// model/head_rows.h: the head of a training pass, over chunks of rows: logits, log-probabilities,
// gradients; internal to model/.
//
// No [T, V] stands in memory, and rows without a target skip the head. Where the log-probabilities
// are known from a run before, only gradients are made. Not here: what the rows are (train_pass.h).
#pragma once

#include <span>

#include "model/train_pass.h"
#include "tensor/buffer.h"
#include "tensor/host_array.h"

namespace dure {

// One head over rows of hidden states: which rows, their targets, and what was learnt of each.
struct HeadRows {
  HostArray<int32_t> rows;                           // those with a target, ascending
  HostArray<int32_t> targets;                        // of each
  HostArray<float> coefficients;                     // of each
  TensorView log_probability, log_sum_exp, entropy;  // [T], by place in `rows`
  bool known = false;                                // log_sum_exp holds this pass's values

  void lay_out(int64_t rows_max, Arena& arena);
  void reserve(int64_t rows_max, Device device);
  void clear();
  void add(size_t row, int32_t target);
  int64_t count() const { return static_cast<int64_t>(rows.size()); }
};

// Of one chunk of rows; passes use it one after another.
struct HeadRoom {
  TensorView logits;           // [head_rows, V]
  TensorView packed, dpacked;  // [head_rows, D]: hidden rows with a target, side by side

  void lay_out(const ModelConfig& config, const TrainPassOptions& options, Arena& arena);
};

struct HeadPass {
  bool entropy = false;
  const ModelGradients* gradients = nullptr;  // null: losses alone
  const ModelAdapterGradients* adapter = nullptr;
};

// What a run of the head works with.
struct HeadContext {
  const ModelWeights& weights;
  HeadRoom& room;
  TensorView adapter_inner, dadapter;  // as Activations and LayerScratch have them
  Stream& stream;
};

// hidden: [T, D]; dhidden: [T, D] = with gradients, 0 in rows without a target.
void run_head(const HeadContext& context, HeadRows& head, ConstTensorView hidden,
              TensorView dhidden, const HeadPass& pass);

}  // namespace dure
