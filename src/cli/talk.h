// cli/talk.h: a conversation on a terminal or a pipe: what was said, the commands, how answers are
// shown.
//
// Owns the messages and their file (/save, /load), settings, what is printed. Not here: who answers
// (chat_partner.h), keys and lines (message_reader.h), signals (stop_key.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/chat_partner.h"

namespace dure {

struct TalkOptions {
  std::string system;
  std::optional<bool> thinking;  // absent: as the model does by itself
  bool show_thinking = true, show_speed = false;
  bool colour = false;    // standard output is a terminal that shows it
  bool guarded = false;   // standard output is a terminal: no control character reaches it
  bool terminal = false;  // a person types
  ChatSettings settings;
};

class Talk {
 public:
  Talk(std::unique_ptr<ChatPartner> partner, TalkOptions options);

  // One message or command. Throws where it could not be done; the conversation is then as before.
  void take(const std::string& message);
  // What the next line should begin with, once: /edit.
  std::string take_draft();

 private:
  struct Command;
  static const std::vector<Command>& commands();
  void command(const std::string& line);
  void say(const std::string& text);
  ChatAnswer ask();
  void answer();
  void note_end(const ChatAnswer& answer) const;

  void help(const std::string& rest);
  void reset(const std::string& rest);
  void system(const std::string& text);
  void think(const std::string& choice);
  void set(const std::string& rest);
  void stats(const std::string& choice);
  void show(const std::string& rest);
  void save(const std::string& file);
  void load(const std::string& file);
  void regenerate(const std::string& rest);
  void edit(const std::string& text);

  bool has_system() const;
  // The question that was answered last, and what follows it, taken off. Throws where there is
  // none.
  std::vector<Message> take_last_turn(const char* command);

  std::unique_ptr<ChatPartner> partner_;
  TalkOptions options_;
  std::vector<Message> messages_;
  std::string draft_;
  int64_t answers_ = 0, tokens_ = 0;
  std::optional<ChatAnswer> last_;
};

bool is_farewell(const std::string& message, bool terminal);

}  // namespace dure
