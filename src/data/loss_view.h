// data/loss_view.h: which tokens of a row are learnt, for a person to see before a run is started.
//
// Takes what training would take: conversations in any form, texts, preferences (a pair's, a
// group's or a labelled response). The tokens come from the code that training uses (sft.h);
// nothing is marked by a rule of its own. Not here: reading files (json_rows.h), colours
// (cli/verb_data.cc).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/chat_form.h"
#include "data/sft.h"
#include "data/token_document.h"

namespace dure {

// A stretch of tokens that are all learnt, or all not.
struct LossSegment {
  std::string text;
  int64_t tokens = 0;
  bool learnt = false;
};

// One document that training would see.
struct LossSample {
  std::string title;  // "sample 2 of 3", "chosen", "responses[1], reward 0.5"
  std::vector<LossSegment> segments;
  int64_t tokens() const;
  int64_t learnt() const;
};

// One message, over all samples of its conversation.
struct LossMessage {
  std::string role;
  int64_t learnt = 0;   // tokens; of an answer that is learnt twice, in two prompts, both times
  int64_t samples = 0;  // in which it is learnt
  bool masked = false;  // the row says that it is not to be learnt (weight: 0)
};

struct LossView {
  std::string form;                   // "Alpaca instructions", "a preference pair", "a text"
  std::vector<LossMessage> messages;  // of a conversation; empty for other rows
  std::vector<LossSample> samples;
  int64_t tokens() const;
  int64_t learnt() const;
};

// The formats of two kinds of runs: they differ in what answers without reasoning follow.
struct LossFormats {
  const TrainingFormat& conversations;
  const TrainingFormat& preferences;
};

// `where` (FILE:LINE) is in warnings alone. Throws kInvalidArgument saying what is wrong with the
// row, as training would.
LossView view_loss(const Json& row, const std::string& where, const LossFormats& formats,
                   RecordForm wanted = RecordForm::kAuto);

}  // namespace dure
