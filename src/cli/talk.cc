// One table of commands; a turn that fails leaves no trace.
#include "cli/talk.h"

#include <cstdio>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "cli/stop_key.h"
#include "cli/terminal_text.h"
#include "data/input.h"

namespace dure {
namespace {

// Shows one answer as it comes.
class AnswerDisplay {
 public:
  explicit AnswerDisplay(const TalkOptions& options) : options_(options) {}
  ~AnswerDisplay() { dim(false); }
  AnswerDisplay(const AnswerDisplay&) = delete;
  AnswerDisplay& operator=(const AnswerDisplay&) = delete;

  void show(const OutputDelta& delta) {
    if (options_.show_thinking && !delta.reasoning.empty()) {
      dim(true);
      std::fputs(shown(delta.reasoning).c_str(), stdout);
      reasoning_shown_ = true;
    }
    if (!delta.content.empty() && !content_shown_) {
      dim(false);
      if (reasoning_shown_) std::puts("");
      content_shown_ = true;
    }
    std::fputs(shown(delta.content).c_str(), stdout);
    for (const ToolCall& call : delta.tool_calls)
      std::printf("[calls %s %s]", shown(call.name).c_str(), shown(call.arguments.dump()).c_str());
    std::fflush(stdout);
  }

 private:
  void dim(bool on) {
    if (options_.colour && on != dim_) std::fputs(on ? "\033[2m" : "\033[0m", stdout);
    dim_ = on;
  }
  std::string shown(const std::string& text) const {
    return options_.guarded ? harmless(text) : text;
  }

  const TalkOptions& options_;
  bool dim_ = false, reasoning_shown_ = false, content_shown_ = false;
};

std::pair<std::string, std::string> split(const std::string& line) {
  const size_t space = line.find_first_of(" \t\n");
  if (space == std::string::npos) return {line, ""};
  const size_t rest = line.find_first_not_of(" \t", space);
  return {line.substr(0, space), rest == std::string::npos ? "" : line.substr(rest)};
}

// "~/a" as shells read it.
std::string file_of(const std::string& given, const char* command) {
  if (given.empty()) fail(ErrorCode::kInvalidArgument, "{}: name a file", command);
  const char* home = std::getenv("HOME");
  if (!given.starts_with("~/") || home == nullptr) return given;
  return home + given.substr(1);
}

std::vector<Message> messages_in(const std::string& file) {
  const Json json = parse_json(read_file(file), file);
  const Json* list = json.is_object() ? json.find("messages") : &json;
  if (list == nullptr)
    fail(ErrorCode::kInvalidArgument, "{}: holds no \"messages\"; /save writes such files", file);
  return messages_from_json(*list, file);
}

void require_conversation_or_nothing(const std::string& file) {
  if (!path_exists(file)) return;
  try {
    messages_in(file);
  } catch (const Error&) {
    fail(ErrorCode::kInvalidArgument,
         "{}: is there already and holds no conversation; name another file", file);
  }
}

}  // namespace

struct Talk::Command {
  const char* name;
  const char* other;  // name of the same; or null
  void (Talk::*run)(const std::string& rest);
  const char* shown;  // in /help
  const char* what;
};

const std::vector<Talk::Command>& Talk::commands() {
  static const std::vector<Command> table = {
      {"/help", "/?", &Talk::help, "/help", "this text"},
      {"/reset", "/clear", &Talk::reset, "/reset", "forget the conversation"},
      {"/system", nullptr, &Talk::system, "/system TEXT",
       "set the system message and start afresh; alone: show it"},
      {"/think", nullptr, &Talk::think, "/think on|off",
       "reason before answering, or not; alone: show which"},
      {"/regen", "/retry", &Talk::regenerate, "/regen", "answer the last question again"},
      {"/edit", nullptr, &Talk::edit, "/edit [TEXT]",
       "put the last question back to be changed; TEXT: ask that instead"},
      {"/show", nullptr, &Talk::show, "/show", "the conversation so far"},
      {"/save", nullptr, &Talk::save, "/save FILE", "write the conversation (JSON)"},
      {"/load", nullptr, &Talk::load, "/load FILE", "go on with a conversation that was saved"},
      {"/set", nullptr, &Talk::set, "/set NAME VALUE",
       "temperature, top_p, top_k, max_tokens, ...; alone: show them"},
      {"/stats", nullptr, &Talk::stats, "/stats [on|off]",
       "tokens and speed; on: after every answer"},
  };
  return table;
}

Talk::Talk(std::unique_ptr<ChatPartner> partner, TalkOptions options)
    : partner_(std::move(partner)), options_(std::move(options)) {
  if (!options_.system.empty())
    messages_.push_back({.role = Role::kSystem, .content = options_.system});
  if (options_.terminal)
    std::printf("%s. /help lists the commands, /quit leaves.\n", partner_->name().c_str());
}

void Talk::take(const std::string& message) {
  message.starts_with('/') ? command(message) : say(message);
}

std::string Talk::take_draft() { return std::exchange(draft_, ""); }

void Talk::command(const std::string& line) {
  const auto [name, rest] = split(line);
  std::vector<std::string> names = {"/quit"};
  for (const Command& known : commands()) {
    if (name == known.name || (known.other != nullptr && name == known.other))
      return (this->*known.run)(rest);
    names.emplace_back(known.name);
  }
  const std::string near = nearest_name(name, names);
  fail(ErrorCode::kInvalidArgument, "there is no command {}{}; /help lists them", name,
       near.empty() ? "" : fmt::format(", did you mean {}?", near));
}

void Talk::say(const std::string& text) {
  require_utf8(text, "the message");
  messages_.push_back({.role = Role::kUser, .content = text});
  try {
    answer();
  } catch (...) {
    messages_.pop_back();
    throw;
  }
}

ChatAnswer Talk::ask() {
  AnswerDisplay display(options_);
  forget_stop();
  return partner_->answer(
      {messages_, options_.thinking, options_.settings},
      [&](const OutputDelta& delta) { display.show(delta); },
      [] { return !stop_wanted() && !interrupted(); });
}

void Talk::answer() {
  ChatAnswer answer = ask();
  forget_stop();
  std::puts("");
  std::fflush(stdout);
  note_end(answer);
  if (options_.show_speed) std::fprintf(stderr, "(%s)\n", answer.speed_text().c_str());
  ++answers_;
  tokens_ += answer.tokens;
  messages_.push_back(answer.message);
  last_ = std::move(answer);
}

// An answer that was cut says by what; on standard error, as it is no part of the answer.
void Talk::note_end(const ChatAnswer& answer) const {
  const auto most = static_cast<long long>(answer.tokens_max);
  switch (answer.end) {
    case ChatAnswer::End::kSaid:
      return;
    case ChatAnswer::End::kStopped:
      std::fputs("(stopped)\n", stderr);
      return;
    case ChatAnswer::End::kLength:
      if (most == 0) {
        std::fputs("(cut by the server's limit; /set max_tokens may raise it)\n", stderr);
        return;
      }
      std::fprintf(
          stderr,
          "(cut at %lld tokens, the longest answer; --max-tokens or /set max_tokens raises "
          "it)\n",
          most);
      return;
    case ChatAnswer::End::kContextFull:
      std::fprintf(stderr, "(cut: the context of %lld tokens is full; /reset starts afresh)\n",
                   most);
  }
}

bool Talk::has_system() const {
  return !messages_.empty() && messages_.front().role == Role::kSystem;
}

void Talk::help(const std::string&) {
  for (const Command& one : commands()) std::printf("  %-16s %s\n", one.shown, one.what);
  std::printf("  %-16s %s\n", "/quit", "leave (also exit, /bye, Ctrl-D)");
  std::puts(
      "Ctrl-C stops an answer, or empties the line. Pasted lines are one message, and so are lines "
      "between \"\"\" and \"\"\".\nBegin with a space to say a line that starts with /.");
}

void Talk::reset(const std::string&) {
  messages_.resize(has_system() ? 1 : 0);
  std::puts("(the conversation is forgotten)");
}

void Talk::system(const std::string& text) {
  if (!text.empty()) {
    require_utf8(text, "the system message");
    messages_.assign(1, {.role = Role::kSystem, .content = text});
    std::puts("(the system message is set; the conversation starts afresh)");
    return;
  }
  std::printf("(%s%s; /system TEXT sets one and starts afresh)\n",
              has_system() ? "the system message: " : "there is no system message",
              has_system() ? messages_.front().content.c_str() : "");
}

void Talk::think(const std::string& choice) {
  if (choice == "on" || choice == "off") {
    options_.thinking = choice == "on";
  } else if (!choice.empty()) {
    fail(ErrorCode::kInvalidArgument, "/think {}: give on or off", choice);
  }
  std::printf("(reasoning is %s%s)\n", options_.thinking.value_or(true) ? "on" : "off",
              choice.empty() ? "; /think on or /think off changes it" : "");
}

void Talk::set(const std::string& rest) {
  const auto [name, value] = split(rest);
  if (!name.empty() && value.empty())
    fail(ErrorCode::kInvalidArgument, "/set {}: give a value, or \"default\"", name);
  if (!name.empty()) options_.settings.set(name, value);
  std::printf("(%s)\n", options_.settings.text().c_str());
}

void Talk::stats(const std::string& choice) {
  if (choice == "on" || choice == "off") {
    options_.show_speed = choice == "on";
    std::printf("(the speed is %s after every answer)\n", choice == "on" ? "told" : "not told");
    return;
  }
  if (!choice.empty()) fail(ErrorCode::kInvalidArgument, "/stats {}: give on or off", choice);
  std::printf("(%s: %s)\n", partner_->name().c_str(), partner_->facts().c_str());
  std::printf("(%lld answers, %lld tokens", static_cast<long long>(answers_),
              static_cast<long long>(tokens_));
  if (last_) {
    std::printf("; the last: %s behind a prompt of %lld tokens", last_->speed_text().c_str(),
                static_cast<long long>(last_->prompt_tokens));
  }
  std::puts(")");
}

void Talk::show(const std::string&) {
  if (messages_.empty()) std::puts("(nothing was said yet)");
  for (const Message& message : messages_)
    std::printf("[%s] %s\n", role_name(message.role), message.content.c_str());
}

void Talk::save(const std::string& given) {
  const std::string file = file_of(given, "/save");
  require_conversation_or_nothing(file);
  Json out = Json::object();
  out["model"] = partner_->name();
  out["messages"] = messages_to_json(messages_);
  write_file(file, out.dump(1) + "\n");
  std::printf("(%zu messages are in %s)\n", messages_.size(), file.c_str());
}

void Talk::load(const std::string& given) {
  const std::string file = file_of(given, "/load");
  std::vector<Message> messages = messages_in(file);
  // A question that waits for its answer is asked again.
  if (!messages.empty() && messages.back().role == Role::kUser) {
    draft_ = messages.back().content;
    messages.pop_back();
  }
  messages_ = std::move(messages);
  std::printf("(%zu messages; /show tells them)\n", messages_.size());
}

std::vector<Message> Talk::take_last_turn(const char* command) {
  size_t at = messages_.size();
  while (at > 0 && messages_[at - 1].role != Role::kUser) --at;
  if (at == 0) fail(ErrorCode::kInvalidArgument, "{}: nothing was asked yet", command);
  const auto first = messages_.begin() + static_cast<int64_t>(at) - 1;
  std::vector<Message> out(first, messages_.end());
  messages_.erase(first, messages_.end());
  return out;
}

void Talk::regenerate(const std::string&) {
  const std::vector<Message> turn = take_last_turn("/regen");
  try {
    say(turn.front().content);
  } catch (...) {
    messages_.insert(messages_.end(), turn.begin(), turn.end());
    throw;
  }
}

void Talk::edit(const std::string& text) {
  const std::vector<Message> turn = take_last_turn("/edit");
  if (text.empty()) {
    draft_ = turn.front().content;
    if (options_.terminal) return;
    messages_.insert(messages_.end(), turn.begin(), turn.end());
    fail(ErrorCode::kInvalidArgument, "/edit: from a pipe, give the new question: /edit TEXT");
  }
  try {
    say(text);
  } catch (...) {
    messages_.insert(messages_.end(), turn.begin(), turn.end());
    throw;
  }
}

bool is_farewell(const std::string& message, bool terminal) {
  if (message == "/quit" || message == "/exit" || message == "/bye") return true;
  // From a pipe these words are for the model.
  return terminal && (message == "exit" || message == "quit");
}

}  // namespace dure
