// Messages to prompt text and ids, and the parser's options that belong to that prompt.
#include "chat/conversation.h"

#include "base/error.h"
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
  std::string out = texts_->chat_template.render(
      messages_, {.format = texts_->chat_template.format(),
                  .add_generation_prompt = options_.opens_turn && !options_.continue_last,
                  .enable_thinking = options_.thinking,
                  .tools = options_.tools,
                  .variables = options_.variables});
  if (!options_.continue_last) return out;
  // Up to the end of what was said: templates close the turn, and most strip it.
  const std::string_view said = python_strip(messages_.back().content);
  const size_t at = out.rfind(said);
  if (at == std::string::npos || said.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "the last message cannot be gone on with: the template does not write it as it is");
  }
  out.resize(at + said.size());
  return out;
}

std::vector<int32_t> Conversation::encode(const std::string& rendered) const {
  return texts_->require_tokenizer().encode(rendered, {.add_special_tokens = false});
}

std::vector<int32_t> Conversation::prompt() const { return encode(render()); }

AnswerStream Conversation::answer() const {
  Conversation probe = *this;
  if (probe.messages_.empty()) probe.add({.role = Role::kUser, .content = "?"});
  try {
    return answer_to(probe.render());
  } catch (const Error&) {  // The prompt says why; who reads an answer alone needs no prompt.
    return answer({.thinking = options_.thinking && !options_.continue_last});
  }
}

AnswerStream Conversation::answer_to(const std::string& rendered) const {
  const std::string_view prompt = python_strip(rendered, StripSide::kRight);
  const bool thinking = prompt.ends_with("<think>");
  return answer({.thinking = thinking,
                 .opens_reasoning = !thinking && !options_.continue_last && options_.opens_turn &&
                                    !prompt.ends_with("</think>")});
}

AnswerStream Conversation::answer(Opening opening) const {
  return AnswerStream(*texts_, {.format = texts_->chat_template.format(),
                                .thinking = opening.thinking,
                                .opens_reasoning = opening.opens_reasoning,
                                .calls = options_.read_calls,
                                .call_pieces = options_.call_pieces,
                                .continues = options_.continue_last,
                                .tools = options_.tools});
}

}  // namespace dure
