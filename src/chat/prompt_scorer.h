// chat/prompt_scorer.h: how likely a model finds the tokens of given prompts, and which it finds
// likelier.
//
// One at a time, on a stream of its own beside the engine's; made at the first use. For a server
// whose clients measure by it (echo with log-probabilities). Not here: the pass (engine/scorer.h).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "chat/open_model.h"
#include "engine/sampler.h"

namespace dure {

struct PromptScore {
  int32_t token = 0;
  float log_probability = 0;             // the model's own; of a prompt's first token 0: none
  std::vector<TokenLogProbability> top;  // likeliest first, ties by id
};

class PromptScorer {
 public:
  static constexpr int64_t kPassRows = 256;  // at most

  // `model` must outlive it. Prompts have at most `prompt_tokens_max` tokens: memory for that many
  // is taken at the first use. `adapter_rank`: of adapters given to score().
  PromptScorer(const OpenModel& model, int64_t prompt_tokens_max, int64_t adapter_rank = 0);
  ~PromptScorer();

  // One list a prompt, one score a token, with `adapter` added to the model (null: with nothing).
  // From any thread. Throws kInvalidArgument for an id outside the vocabulary. Checked: prompts of
  // 1 to context_tokens tokens.
  std::vector<std::vector<PromptScore>> score(const std::vector<std::vector<int32_t>>& prompts,
                                              int64_t top_count,
                                              const ModelAdapter* adapter = nullptr);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
