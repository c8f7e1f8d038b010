// engine/verify_cost.h: what it takes to check drafts: a pass of 2, 3, ... rows of one sequence
// beside one of a single row, and what that allows drafts to gain.
//
// Each pass is the model's forward over the rows behind a depth of others and the logits of all of
// them, as the generator makes it to check drafts; drawing tokens is left out. Passes of all
// numbers of rows take turns, and a ratio is the median of those of each turn, so that what
// disturbs the machine for a while disturbs both sides. Ids are random: neighbours choose experts
// as unrelated tokens do, the dearest case. Not here: what drafting itself takes, whole answers
// (throughput.h), tables (cli/).
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "engine/work.h"

namespace dure {

struct VerifyCostOptions {
  std::vector<int64_t> rows = {2, 3, 4};  // each at least 1; one row is measured in any case
  int64_t depth_tokens = 0;               // at least 0: in the cache before
  int64_t repetitions = 5;
  DType kv_dtype = DType::kF32;
  uint64_t seed = 1;
};

struct VerifyCost {
  int64_t rows = 1;
  double median_ns = 0;
  double ratio = 1;       // to one row, the median of all turns'
  double byte_ratio = 1;  // of what is read, by work.h: a bound where reading is what takes time
  // Tokens a pass for every token of a plain one, where each of its rows - 1 drafts stands with
  // this probability, drafting costs nothing: (1 + a + ... + a^(rows - 1)) / ratio.
  double gain(double acceptance) const;
  // The acceptance from which it gains; 1 where it never does.
  double break_even() const;
};

// One row first, then as asked. `progress` gets the passes made. Throws kInvalidArgument beyond the
// model's context, kInterrupted between passes, kOutOfMemory.
std::vector<VerifyCost> measure_verify_cost(const ModelWeights& weights,
                                            const VerifyCostOptions& options, Stream& stream,
                                            const std::function<void(int64_t)>& progress);
int64_t verify_cost_passes(const VerifyCostOptions& options);

}  // namespace dure
