// cli/loss_inspect.h: `dure data inspect PATH --loss`: what of a file's rows is learnt, printed.
//
// Not here: which tokens those are (data/loss_view.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace dure {

struct LossInspectOptions {
  std::string path;               // JSONL or .json of any form, a prepared corpus, or preferences
  std::string model;              // whose tokenizer and chat template decide
  std::string without_reasoning;  // as data.without_reasoning of a run; empty: each kind's default
  std::string format = "auto";    // of records
  int64_t rows = 3;               // the first ones
  std::optional<int64_t> line;    // this one alone
  bool json = false;
};

// In colour on a terminal, learnt stretches between [[ and ]] elsewhere. Throws what is wrong with
// a row, FILE:LINE first.
void inspect_loss(const LossInspectOptions& options);

}  // namespace dure
