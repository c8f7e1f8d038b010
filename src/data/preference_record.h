// data/preference_record.h: one row of preference data: a prompt, and responses that are worth more
// and less.
//
// The forms that TRL reads, and groups (docs/preferences.md): "chosen" and "rejected" with
// "prompt", or as whole conversations whose common beginning is the prompt; "prompt", "completion"
// and "label"; "prompt" (or "messages"), "responses" and "rewards"; and OpenAI's "input",
// "preferred_output" and "non_preferred_output". Texts or lists of messages; a
// text is one message of the user or of the assistant. "tools" beside each. Conversations are
// judged as those of fine-tuning are (chat_record.h). Not here: files, tokens (preference_data.h).
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"

namespace dure {

enum class PreferenceForm : uint8_t { kPair, kGroup, kLabel };

struct PreferenceRecord {
  PreferenceForm form = PreferenceForm::kPair;
  Json prompt;  // list of messages; answers among them have weight 0
  Json tools;   // list of declarations, or null
  // Each a list of messages that begins with one of the assistant and ends with one. A pair:
  // chosen, then rejected.
  std::vector<Json> responses;
  std::vector<double> rewards;  // of each; pair: 1 and 0; label: 1 or 0
};

// Throws kInvalidArgument: the field, what is wrong with it, what to write. `place` (FILE:LINE)
// names the record in warnings alone.
PreferenceRecord read_preference_record(const Json& record, const std::string& place);

// The conversation of one response: prompt, then response.
Json conversation_of(const Json& prompt, const Json& response);

}  // namespace dure
