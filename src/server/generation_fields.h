// server/generation_fields.h: the fields that all generating endpoints share, from JSON to what the
// engine and the answer stream take.
//
// Owns their names, aliases, ranges and defaults (docs/api.md): a request's value, else the model's
// own. Not here: messages and tools (chat_request.h), prompts (completion_request.h), sampling
// itself (engine/sampler.h).
#pragma once

#include <optional>

#include "chat/answer_stream.h"
#include "grammar/answer_form.h"
#include "server/api_fields.h"
#include "server/served_model.h"

namespace dure {

struct GenerationFields {
  const ServedAdapter* adapter = nullptr;  // that `model` names; null: the model alone
  SamplingOptions sampling;
  std::optional<int64_t> seed;
  std::optional<int64_t> tokens_max;           // absent: all the room the context leaves
  std::string tokens_max_name = "max_tokens";  // the field that gave it
  AnswerStops stops;
  int64_t choice_count = 1;
  bool logprobs = false;
  int64_t top_logprobs = 0;
  std::optional<AnswerForm> form;          // of the answer (answer_fields.h)
  std::optional<int64_t> thinking_tokens;  // after so many the reasoning ends; absent: no limit
  std::string prompt_name = "messages";    // the field that the prompt comes from
  std::string cache_salt;                  // prefixes are shared among requests of one salt alone
  bool stream = false, include_usage = false, continuous_usage = false;
  std::vector<std::string> unknown;  // fields of objects inside the body that nobody knows

  void note_unknown(const ApiFields& inner);
};

// All that nobody read: of the body and of objects inside it.
std::vector<std::string> unknown_fields(const ApiFields& body, const GenerationFields& generation);

// The adapter that `model` names, null for the model itself, which an absent name means too.
// Refuses any other name: 404.
const ServedAdapter* check_model(ApiFields& fields, const ServedModel& model);
// 404: names the model and the adapters that there are.
[[nodiscard]] ApiError no_such_model(const std::string& name, const ServedModel& model);

// Everything but logprobs, whose forms differ, into `out`.
void read_generation(ApiFields& fields, const ServedModel& model, GenerationFields& out);

// Strings at which the answer stops: one, a list of at most `count_max`, or none.
std::vector<std::string> read_stops(ApiFields& fields, const char* name, size_t count_max);

// How many tokens the answer to a prompt may have. Throws where the prompt fills the context, or
// more was asked for than it leaves.
int64_t answer_room(const GenerationFields& fields, int64_t prompt_tokens,
                    const ServedModel& model);

// One line in the log for the fields that nobody read and that were not told before: a client
// sends the same ones with every request.
void warn_of_unknown(const std::vector<std::string>& names, const std::string& request_id);

}  // namespace dure
