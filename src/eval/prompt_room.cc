// Bounds of a context: given, or the model's own.
#include "eval/prompt_room.h"

#include <algorithm>

namespace dure {
namespace {

constexpr int64_t kUnbounded = int64_t{1} << 40;

}  // namespace

PromptRoom largest_room(const PromptRoomOptions& options, const std::string& field) {
  const int64_t model = options.model_tokens > 0 ? options.model_tokens : kUnbounded;
  const int64_t given = options.context_tokens_max;
  if (given > model) {
    fail(ErrorCode::kInvalidArgument,
         "{}.context_tokens_max is {}, more than the model's own context of {} tokens", field,
         given, model);
  }
  const int64_t context = given > 0 ? given : model;
  if (options.new_tokens_max >= context) {
    fail(ErrorCode::kInvalidArgument,
         "{}.new_tokens_max is {}: no prompt fits before it in {} of {} tokens; lower it", field,
         options.new_tokens_max, given > 0 ? "context_tokens_max" : "the model's own context",
         context);
  }
  return {.prompt_tokens_max = context - options.new_tokens_max,
          .new_tokens_max = options.new_tokens_max};
}

void keep_last(std::vector<int32_t>& prompt, int64_t tokens) {
  const int64_t over = std::ssize(prompt) - tokens;
  if (over > 0) prompt.erase(prompt.begin(), prompt.begin() + over);
}

}  // namespace dure
