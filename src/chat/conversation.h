// chat/conversation.h: a conversation with a model: what was said, as the prompt of the next
// answer.
//
// Owns the messages and how they are put to the model: thinking, tools, the model's own format; the
// one place that renders and encodes a prompt. Not here: the text of a template
// (text/chat_template.h), documents to train on (data/sft.h), sampling the answer (speaker.h,
// Generator), reading it (answer_stream.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/options.h"
#include "chat/answer_stream.h"
#include "chat/chat_texts.h"

namespace dure {

// The switch as a field of a configuration; `--no-thinking` of a verb is `off`.
enum class Thinking : uint8_t { kOn, kOff };
constexpr auto enum_names(Thinking) {
  return std::to_array<EnumName<Thinking>>({{Thinking::kOn, "on"}, {Thinking::kOff, "off"}});
}

struct ConversationOptions {
  bool thinking = true;        // The answer begins with reasoning.
  Json tools;                  // List of tool declarations, or null.
  bool read_calls = true;      // Else calls in the answer stay in its content.
  bool call_pieces = false;    // Calls are told while they are written (OutputDelta).
  bool opens_turn = true;      // The prompt ends with the opening of the assistant's turn.
  bool continue_last = false;  // The answer goes on with the last message, which has content.
  Json variables;              // Further variables of the template: an object, or null.
};

class Conversation {
 public:
  // `texts` must outlive it.
  explicit Conversation(const ChatTexts& texts, ConversationOptions options = {})
      : texts_(&texts), options_(std::move(options)) {}

  const std::vector<Message>& messages() const { return messages_; }
  void add(Message message) { messages_.push_back(std::move(message)); }
  void remove_last() { messages_.pop_back(); }  // Such as a message that could not be answered.

  // Forgets everything but the system message that it may open with.
  void reset();
  // Forgets everything; opens with this system message (empty: with none).
  void reset(const std::string& system);

  const ConversationOptions& options() const { return options_; }
  void set_thinking(bool thinking) { options_.thinking = thinking; }

  // The prompt of the assistant's next turn. Throws what the template cannot do with the messages;
  // prompt() throws kNotFound where the model brings no tokenizer.
  std::string render() const;
  std::vector<int32_t> prompt() const;
  // The ids of what render() gave.
  std::vector<int32_t> encode(const std::string& rendered) const;
  // Reads the answer to that prompt. What is rendered decides whether the answer begins inside the
  // reasoning, or may begin with <think>, whatever was asked for: a template may know nothing of
  // thinking. answer() renders (without messages, one of its own).
  AnswerStream answer() const;
  AnswerStream answer_to(const std::string& rendered) const;

 private:
  struct Opening {
    bool thinking = false, opens_reasoning = false;
  };
  AnswerStream answer(Opening opening) const;

  const ChatTexts* texts_;
  ConversationOptions options_;
  std::vector<Message> messages_;
};

}  // namespace dure
