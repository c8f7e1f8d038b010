// cli/message_reader.h: what a person types into a terminal, or a program pipes in, message by
// message.
//
// Owns the line editor, its history, the locale it reads keys in (UTF-8 always), and what counts as
// one message: a line; pasted lines together; lines that arrive while no one could have typed them.
// From a pipe every line is a message. Not here: what a message means (verb_chat.cc).
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace dure {

class MessageReader {
 public:
  MessageReader();
  ~MessageReader();
  MessageReader(const MessageReader&) = delete;
  MessageReader& operator=(const MessageReader&) = delete;

  bool terminal() const { return editor_ != nullptr; }  // Standard input is one.
  // The next message, without spaces and line breaks at its end; nothing at the end of the input.
  std::optional<std::string> next();

 private:
  struct Editor;
  std::unique_ptr<Editor> editor_;
};

}  // namespace dure
