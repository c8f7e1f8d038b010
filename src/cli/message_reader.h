// cli/message_reader.h: what a person types into a terminal, or a program pipes in, message by
// message.
//
// Owns the line editor, its history and the file that keeps it, the locale it reads keys in (UTF-8
// always), Ctrl-C at the prompt (it empties the line), and what counts as one message: a line;
// pasted lines together; lines that arrive while no one could have typed them; lines between """
// and """. From a pipe every other line is a message. Not here: what a message means (talk.h).
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace dure {

class MessageReader {
 public:
  // `history_file`: where typed lines are kept from one start to the next; empty: nowhere.
  explicit MessageReader(std::string history_file = "");
  ~MessageReader();
  MessageReader(const MessageReader&) = delete;
  MessageReader& operator=(const MessageReader&) = delete;

  bool terminal() const { return editor_ != nullptr; }  // Standard input is one.
  // The next message, without spaces and line breaks at its end; nothing at the end of the input.
  // `draft`: what the line begins with, to be changed.
  std::optional<std::string> next(const std::string& draft = "");

 private:
  struct Editor;
  std::optional<std::string> read(const std::string& draft);

  std::unique_ptr<Editor> editor_;
};

}  // namespace dure
