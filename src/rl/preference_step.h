// rl/preference_step.h: a step of preference learning once its items are drawn: log-probabilities
// of all responses, the loss, one update; and the same numbers without an update.
//
// Owns how compared responses become batches, and the metrics. An item counts the same whatever its
// length and however the step is split. Not here: the losses (preference.h), what is drawn
// (preference_stage.h), one update (train/learner.h).
#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/preference_data.h"
#include "rl/preference.h"
#include "train/step.h"

namespace dure {

// An item and what the reference model makes of it; sums of log-probabilities, empty (0) where the
// objective needs none.
struct ComparedItem {
  const PreferenceItem* item = nullptr;
  std::vector<double> reference = {};  // of each response
  double mismatched_reference = 0;
};

struct PreferenceStepOptions {
  PreferenceOptions objective;
  int64_t rows_max = 0;  // of a forward and backward; at least unit_rows() of each item
};

// The shape of data that an objective learns from.
PreferenceShape shape_of(PreferenceObjective objective);

// Rows of the largest part of an item that a pass must hold together: a pair, else a response.
int64_t unit_rows(PreferenceShape shape, const PreferenceItem& item);

// What learns from preferences: the router (matrix and bias) frozen, the MTP layer left out.
LearnerOptions preference_learner_options(const OptimiserOptions& optimiser, int64_t rows_max);

// Tokens that count: trained ones that something predicts.
int64_t response_tokens(const TokenDocument& document);

// The sum of each document's response under the learner's weights; 0 for an empty document. The
// bits do not depend on what is computed together.
std::vector<double> response_sums(std::span<const TokenDocument* const> documents, int64_t rows_max,
                                  Learner& learner, Stream& stream);

// Means over the items; "chosen" and "rejected": of a group its best and its worst response; of kto
// those with label true and false.
struct PreferenceStats {
  double loss = 0, nll_loss = 0;
  double chosen_reward = 0, rejected_reward = 0, margin = 0;
  double accuracy = 0;  // share with the chosen's reward above the rejected's; kto: on the right
                        // side of the zero point
  double chosen_sum = 0, rejected_sum = 0;        // log-probabilities
  double chosen_tokens = 0, rejected_tokens = 0;  // lengths
  double zero_point = 0;                          // kto: "kl"
  int64_t chosen_count = 0, rejected_count = 0;
  bool has_nll = false, is_kto = false;

  // TRL's names, each behind `prefix` ("eval_"). A side that has no response (kto) is left out.
  void add_to(Json& row, const std::string& prefix) const;
};

struct PreferenceLearnt {
  PreferenceStats stats;
  StepUpdates updates;
  int64_t tokens = 0;  // that went through the model
};

// One update on the mean over `items`. Throws kDiverged where the loss or gradient is not finite,
// with nothing moved.
PreferenceLearnt learn_from_preferences(std::span<const ComparedItem> items,
                                        const PreferenceStepOptions& options,
                                        const StepContext& context, Learner& learner,
                                        Stream& stream);

// The same numbers of items that are not learnt from. Forward passes alone.
PreferenceStats measure_preferences(std::span<const ComparedItem> items,
                                    const PreferenceStepOptions& options, Learner& learner,
                                    Stream& stream);

}  // namespace dure
