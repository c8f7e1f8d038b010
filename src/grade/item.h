// grade/item.h: one item of a benchmark: what is asked, what it is graded against, and its limits.
//
// The same item is measured by evaluation and rewarded by RL. Owns the struct and its JSON form
// (docs/evaluation.md). Not here: where items come from (suite/), what an answer is worth
// (grader.h), conversations of several turns (episode.h).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "text/chat.h"

namespace dure {

// 0: the task's own limit.
struct ItemLimits {
  int64_t new_tokens_max = 0;  // of one answer
  int64_t turns_max = 0;       // answers of one episode
  double seconds_max = 0;      // of grading
  bool operator==(const ItemLimits&) const = default;
};

struct Item {
  std::string id;     // unique in its task, and the same whenever the file is read
  std::string group;  // subject, category, language; empty: none
  std::vector<Message> messages;
  Json tools;  // list of tool declarations, or null
  // Not answered but scored: texts whose log-likelihood behind the messages is compared. Empty: an
  // answer is sampled.
  std::vector<std::string> continuations;
  Json reference;  // what the grader compares with, in the form its header says
  Json fields;     // of the row as it was published, for graders and reports; an object or null
  ItemLimits limits;
};

// {"id", "group", "messages", "tools", "continuations", "reference", "fields", "limits"}; what is
// empty is left out. Throws kInvalidArgument naming `source` and the field.
Json item_to_json(const Item& item);
Item item_from_json(const Json& json, std::string_view source);

}  // namespace dure
