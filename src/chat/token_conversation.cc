// What stands between two answers is what the template writes behind a stand-in of the first.
#include "chat/token_conversation.h"

#include "base/error.h"

namespace dure {
namespace {

// Letters that no template changes, and nobody says.
constexpr const char* kStandIn = "dureStandInOfAnAnswer";

// Without its reasoning and arguments: neither changes what is written behind it, and templates
// drop the one and may refuse the other.
Message stand_in_of(const Message& answer) {
  Message out{.role = Role::kAssistant, .content = kStandIn};
  for (const ToolCall& call : answer.tool_calls)
    out.tool_calls.push_back({.id = call.id, .name = call.name, .arguments = Json::object()});
  return out;
}

}  // namespace

TokenConversation::TokenConversation(const ChatTexts& texts, ConversationOptions options,
                                     std::vector<Message> messages)
    : texts_(&texts), conversation_(texts, std::move(options)) {
  for (Message& message : messages) conversation_.add(std::move(message));
  rendered_ = conversation_.render();
  ids_ = conversation_.encode(rendered_);
}

TokenConversation::Said TokenConversation::read(std::span<const int32_t> answer) const {
  AnswerStream stream = conversation_.answer_to(rendered_);
  stream.read(answer);
  return {.message = stream.message(),
          .stopped = stream.stopped(),
          .reasoning_closed = !stream.in_reasoning()};
}

void TokenConversation::add_answer(std::span<const int32_t> answer, Message message) {
  ids_.insert(ids_.end(), answer.begin(), answer.end());
  conversation_.add(std::move(message));
}

void TokenConversation::add(const std::vector<Message>& messages) {
  const std::vector<int32_t> more = conversation_.encode(text_behind_answer(messages, rendered_));
  ids_.insert(ids_.end(), more.begin(), more.end());
  for (const Message& message : messages) conversation_.add(message);
}

std::string TokenConversation::text_behind_answer(const std::vector<Message>& more,
                                                  std::string& rendered) const {
  Conversation with(*texts_, conversation_.options());
  const std::vector<Message>& before = messages();
  for (size_t i = 0; i + 1 < before.size(); ++i) with.add(before[i]);
  with.add(stand_in_of(before.back()));
  for (const Message& message : more) with.add(message);
  rendered = with.render();
  const size_t at = rendered.rfind(kStandIn);
  if (at == std::string::npos) {
    fail(ErrorCode::kUnsupported,
         "the chat template writes no answer before what follows it: a conversation of several "
         "turns cannot go on");
  }
  return after_end_of_turn(rendered.substr(at + std::string_view(kStandIn).size()),
                           !before.back().tool_calls.empty());
}

// The answer brought the token that ended it, or what the template writes in its place.
std::string TokenConversation::after_end_of_turn(std::string text, bool calls) const {
  const Tokenizer& tokenizer = texts_->require_tokenizer();
  size_t first = std::string::npos, end = 0;
  for (const int32_t stop : texts_->stops.tokens) {
    const std::string word = tokenizer.decode(std::vector<int32_t>{stop});
    const size_t at = word.empty() ? std::string::npos : text.find(word);
    if (at >= first) continue;
    first = at;
    end = at + word.size();
  }
  // Behind calls their text comes first; without any, the end stands at once.
  const bool found =
      first != std::string::npos && (calls || text.find_first_not_of(" \t\r\n") >= first);
  if (found) return text.substr(end);
  const std::vector<int32_t> ids = conversation_.encode(text);
  if (!ids.empty() && tokenizer.is_special(ids.front()))
    text.erase(0, tokenizer.decode(std::vector<int32_t>{ids.front()}).size());
  return text;
}

}  // namespace dure
