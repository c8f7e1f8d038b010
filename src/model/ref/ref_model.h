// model/ref/ref_model.h: the whole model and its losses in double, one plain loop a sum, from the
// equations alone.
//
// The twin of model/: it shares no kernel, no layout and no order of work with it. Tests compare
// values with it, and differentiate it numerically to judge the hand-written backward. Sources: the
// reference facts of exaone_moe, sections 2.1-2.9 and 7; transformers, gpt_oss and qwen3_moe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "formats/model_config.h"

namespace dure::ref {

using Row = std::vector<double>;
using Rows = std::vector<Row>;
using WeightTable = std::map<std::string, Row>;  // names and shapes of model/tensors.h, row-major

struct RefInput {
  std::vector<int32_t> ids, targets;      // [T]; target -100: none
  std::vector<int64_t> document_lengths;  // sum to T
  double mtp_coefficient = 0, balance_coefficient = 0;
  std::vector<double> row_coefficients;  // [T] or empty, as LossOptions has them
};

struct RefRouting {
  Rows probabilities, weights;            // [T][E], [T][K]
  std::vector<std::vector<int>> experts;  // [T][K] ascending
};

struct RefOutput {
  std::vector<Rows> hidden;  // [L+1][T][D]: after the embedding, after each layer
  Rows final_hidden, logits,
      mtp_logits;  // [T][D], [T][V], [T][V] (rows without a next token: empty)
  std::map<int64_t, RefRouting> routing;  // by sparse layer
  Row log_probability;                    // [T]; 0 where there is no target
  double loss_sum = 0, mtp_loss_sum = 0, balance_loss = 0;
  int64_t valid = 0, mtp_valid = 0;
  double objective = 0;  // what LossOptions describes
};

RefOutput run_model(const ModelConfig& config, const WeightTable& weights, const RefInput& input);

}  // namespace dure::ref
