// server/served_model.h: what the API knows of the model it answers with: names, texts, defaults
// and limits. No weights.
//
// Not here: opening it (cli/verb_serve.cc), running it (engine/).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/answer_masks.h"
#include "chat/chat_texts.h"
#include "chat/prompt_scorer.h"
#include "engine/expert_front.h"

namespace dure {

// What is added to the model for requests that name it.
struct ServedAdapter {
  std::string name, path;
  std::shared_ptr<const ModelAdapter> adapter;
};

struct ServedModel {
  std::vector<std::string> names;  // the first is what answers say
  std::vector<ServedAdapter> adapters;
  std::string root;  // the MODEL argument
  ChatTexts texts;
  SamplingOptions defaults;  // where a request is silent
  int64_t context_tokens = 0;
  int64_t vocab_size = 0;
  int64_t parameter_count = 0;
  int64_t created_s = 0;                              // when it was loaded, in Unix time
  bool any_name = false;                              // every `model` means this one
  bool thinking = true;                               // where a request is silent
  std::optional<int64_t> thinking_tokens;             // where a request is silent; absent: no limit
  std::string reasoning_field = "reasoning_content";  // where a chat's answer has its reasoning
  // Scores given prompts (echo with logprobs), of an adapter or of the model alone: waits for its
  // turn. Empty: that is refused.
  std::function<std::vector<std::vector<PromptScore>>(
      const std::vector<std::vector<int32_t>>& prompts, int64_t top_count,
      const ModelAdapter* adapter)>
      score_prompts;
  // Masks of answers that must have a form. Null: such requests are refused.
  std::shared_ptr<AnswerMasks> masks;
  // Of ranks that hold the model together; empty: one process has all of it.
  std::function<ExpertStatistics()> ranks;
  // For who looks at the engine: name to value (text or number), name to bytes.
  Json facts = Json::object(), memory = Json::object();
  int64_t choices_max = 16, top_logprobs_max = 20;

  const std::string& name() const { return names.front(); }
  const ServedAdapter* find_adapter(std::string_view adapter) const;  // null: there is none
};

inline const ServedAdapter* ServedModel::find_adapter(std::string_view adapter) const {
  for (const ServedAdapter& known : adapters) {
    if (known.name == adapter) return &known;
  }
  return nullptr;
}

}  // namespace dure
