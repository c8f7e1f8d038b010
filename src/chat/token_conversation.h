// chat/token_conversation.h: a conversation of several answers as one sequence of ids, for those
// who learn from what was really drawn.
//
// Owns the ids: the first prompt, an answer as it was drawn, what the chat format puts between it
// and the next answer, and so on. Ids never come from an answer's text: an answer stays as it is,
// its reasoning included, and is the exact prefix of what follows. Not here: prompts made anew from
// messages each time (conversation.h), sampling, who speaks between answers (grade/episode.h).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "chat/conversation.h"

namespace dure {

class TokenConversation {
 public:
  // The first prompt. `texts` must outlive it. Throws as Conversation::prompt().
  TokenConversation(const ChatTexts& texts, ConversationOptions options,
                    std::vector<Message> messages);

  const std::vector<int32_t>& ids() const { return ids_; }
  const std::vector<Message>& messages() const { return conversation_.messages(); }

  // The answer to ids(), with the token that ended it.
  struct Said {
    Message message;
    bool stopped = false;           // else it was cut by its length
    bool reasoning_closed = false;  // else all of it is reasoning
  };
  Said read(std::span<const int32_t> answer) const;
  // As it was drawn. `message`: what was read of it.
  void add_answer(std::span<const int32_t> answer, Message message);
  // What others say behind an answer, up to the opening of the next one. Throws kUnsupported where
  // the chat template does not write the answer before them.
  void add(const std::vector<Message>& messages);

 private:
  std::string text_behind_answer(const std::vector<Message>& more, std::string& rendered) const;
  std::string after_end_of_turn(std::string text, bool calls) const;

  const ChatTexts* texts_;
  Conversation conversation_;
  std::vector<int32_t> ids_;
  std::string rendered_;  // the latest prompt: says how its answer begins
};

}  // namespace dure
