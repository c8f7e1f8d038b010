// eval/prompt_room.h: how many tokens prompts and their answers need, and what becomes of a prompt
// that needs more than there are.
//
// One rule for evaluation and reinforcement learning: the context is as long as the prompts ask,
// within the model's own bound or the field `context_tokens_max`. Not here: rendering a prompt
// (grader.h), the memory of a context (engine/kv_cache.h).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/too_long.h"

namespace dure {

struct PromptRoom {
  int64_t prompt_tokens_max = 0;  // of a prompt that is answered
  int64_t new_tokens_max = 0;
  int64_t context_tokens() const { return prompt_tokens_max + new_tokens_max; }
};

// The room there is at most. `context_tokens_max`: as given, 0: the model's own bound. Throws
// kInvalidArgument naming `field` where no prompt can fit before an answer of `new_tokens_max`.
struct PromptRoomOptions {
  int64_t context_tokens_max = 0;
  int64_t new_tokens_max = 0;
  int64_t model_tokens = 0;  // 0: the model names none
};
PromptRoom largest_room(const PromptRoomOptions& options, const std::string& field);

// The last `tokens` ids of `prompt`.
void keep_last(std::vector<int32_t>& prompt, int64_t tokens);

}  // namespace dure
