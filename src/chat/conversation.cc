// Messages to prompt text and ids, and the parser's options that belong to that prompt.
#include "chat/conversation.h"

#include "base/python_text.h"

namespace dure {

void Conversation::reset() {
  const bool has_system = !messages_.empty() && messages_[0].role == Role::kSystem;
  messages_.resize(has_system ? 1 : 0);
}

void Conversation::reset(const std::string& system) {
  messages_.clear();
  if (!system.empty()) messages_.push_back({.role = Role::kSystem, .content = system});
}

std::string Conversation::render() const {
  return texts_->chat_template.render(messages_, {.format = texts_->chat_template.format(),
                                                  .add_generation_prompt = true,
                                                  .enable_thinking = options_.thinking,
                                                  .tools = options_.tools,
                                                  .variables = options_.variables});
}

std::vector<int32_t> Conversation::encode(const std::string& rendered) const {
  return texts_->require_tokenizer().encode(rendered, {.add_special_tokens = false});
}

std::vector<int32_t> Conversation::prompt() const { return encode(render()); }

AnswerStream Conversation::answer() const { return answer(options_.thinking); }

AnswerStream Conversation::answer_to(const std::string& rendered) const {
  return answer(python_strip(rendered, StripSide::kRight).ends_with("<think>"));
}

AnswerStream Conversation::answer(bool thinking) const {
  return AnswerStream(*texts_, {.format = texts_->chat_template.format(),
                                .thinking = thinking,
                                .calls = options_.read_calls,
                                .tools = options_.tools});
}

}  // namespace dure
