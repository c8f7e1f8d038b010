// train/heldout.h: losses on data that is never learnt from, as metrics of a step.
//
// Owns the means over sets and the bits per byte. Not here: which sets a run has (train_data.h),
// when they are measured (run.h), graded answers (eval/).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/packing.h"
#include "text/tokenizer.h"
#include "train/learner.h"

namespace dure {

struct HeldoutSet {
  std::string name;  // A language, "tasks" or "chat".
  std::shared_ptr<const DocumentSource> documents;
};

struct HeldoutOptions {
  int64_t rows = 0;           // measured in all, shared by the sets; at least one of each
  int64_t rows_together = 0;  // in one forward
  int64_t row_tokens = 0;
  int32_t pad_id = 0;
  bool bits_per_byte = false;  // of the predicted tokens' text too
};

// Adds "eval_loss_NAME" of each set, "eval_loss" over all of them, and "eval_bits_per_byte" where
// wanted. Nothing where there are no sets. Forward passes alone: the learner stays as it is.
void measure_heldout(const std::vector<HeldoutSet>& sets, const HeldoutOptions& options,
                     const Tokenizer& tokenizer, Learner& learner, Json& row);

}  // namespace dure
