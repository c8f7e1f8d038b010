// `dure chat MODEL`: a conversation on the terminal, with reasoning shown dim.
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/options.h"
#include "chat/conversation.h"
#include "cli/args.h"
#include "cli/message_reader.h"
#include "cli/sampling_flags.h"
#include "cli/verbs.h"
#include "data/input.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

struct Given {
  std::string model;
  std::optional<std::string> system;
  bool no_thinking = false, hide_thinking = false;
  SamplingFlags sampling;
};

constexpr const char* kHelp =
    "  /help            this text\n"
    "  /reset           forget the conversation\n"
    "  /system TEXT     set the system message and start afresh; alone: show it\n"
    "  /think on|off    reason before answering, or not; alone: show which\n"
    "  /quit            leave (also exit, Ctrl-D)\n"
    "Ctrl-C stops an answer. Pasted lines are one message. Begin with a space to say a line that "
    "starts with /.\n";

constexpr int kExitUnanswered = 2;

volatile std::sig_atomic_t g_stop = 0;
void on_interrupt(int) { g_stop = 1; }

// Shows one answer as it comes.
class AnswerDisplay {
 public:
  AnswerDisplay(bool show_thinking, bool colour) : show_thinking_(show_thinking), colour_(colour) {}

  void show(const OutputDelta& delta) {
    if (show_thinking_ && !delta.reasoning.empty()) {
      std::printf(colour_ ? "\033[2m%s\033[0m" : "%s", delta.reasoning.c_str());
      reasoning_shown_ = true;
    }
    if (!delta.content.empty() && !content_shown_) {
      if (reasoning_shown_) std::puts("");
      content_shown_ = true;
    }
    std::fputs(delta.content.c_str(), stdout);
    for (const ToolCall& call : delta.tool_calls)
      std::printf("[calls %s %s]", call.name.c_str(), call.arguments.dump().c_str());
    std::fflush(stdout);
  }

 private:
  bool show_thinking_, colour_;
  bool reasoning_shown_ = false, content_shown_ = false;
};

// "/think off" as its two halves.
struct Command {
  std::string name, rest;
};

Command split_command(const std::string& line) {
  const size_t space = line.find(' ');
  if (space == std::string::npos) return {.name = line, .rest = ""};
  const size_t rest = line.find_first_not_of(' ', space);
  return {.name = line.substr(0, space),
          .rest = rest == std::string::npos ? "" : line.substr(rest)};
}

// The conversation of one terminal, or of one pipe.
class Talk {
 public:
  Talk(const Given& given, const OpenModel& model, Stream& stream)
      : options_(given.sampling.speaker_options(model)),
        speaker_(model, options_, stream),
        conversation_(model.texts, {.thinking = !given.no_thinking}),
        show_thinking_(!given.hide_thinking),
        colour_(isatty(STDOUT_FILENO) == 1),
        show_speed_(options_.draft_tokens > 0) {
    conversation_.reset(given.system.value_or(""));
  }

  // Throws kInvalidArgument on a command that there is not.
  void command(const Command& given) {
    if (given.name == "/system") return system(given.rest);
    if (given.name == "/think") return think(given.rest);
    if (given.name == "/help") {
      std::fputs(kHelp, stdout);
    } else if (given.name == "/reset") {
      conversation_.reset();
      std::puts("(the conversation is forgotten)");
    } else {
      const std::string near =
          nearest_name(given.name, {"/help", "/reset", "/system", "/think", "/quit"});
      fail(ErrorCode::kInvalidArgument, "there is no command {}{}; /help lists them", given.name,
           near.empty() ? "" : fmt::format(", did you mean {}?", near));
    }
  }

  // Throws where it cannot be answered; the conversation is then as before.
  void say(const std::string& text) {
    require_utf8(text, "the message");
    conversation_.add({.role = Role::kUser, .content = text});
    AnswerStream answer = conversation_.answer();
    Speaker::Result result;
    try {
      result = answer_into(answer);
    } catch (...) {
      conversation_.remove_last();
      throw;
    }
    std::puts("");
    std::fflush(stdout);
    if (show_speed_) std::fprintf(stderr, "(%s)\n", result.speed_text().c_str());
    note_end(result.generation);
    conversation_.add(answer.message());
  }

 private:
  Speaker::Result answer_into(AnswerStream& answer) {
    std::vector<int32_t> prompt = conversation_.prompt();
    prompt_tokens_ = std::ssize(prompt);
    require_room();
    AnswerDisplay display(show_thinking_, colour_);
    g_stop = 0;
    return speaker_.answer(
        std::move(prompt), answer, [&](const OutputDelta& delta) { display.show(delta); },
        [] { return g_stop == 0 && !interrupted(); });
  }

  void require_room() const {
    if (prompt_tokens_ < options_.context_tokens) return;
    size_t said = conversation_.messages().size();
    if (conversation_.messages().front().role == Role::kSystem) --said;
    if (said > 1) {
      fail(ErrorCode::kInvalidArgument,
           "the conversation is full: {} tokens, and the context holds {}; /reset forgets it and "
           "starts afresh",
           prompt_tokens_, options_.context_tokens);
    }
    fail(ErrorCode::kInvalidArgument,
         "the message does not fit: {} tokens, and the context holds {}; shorten it, or start with "
         "a larger --context where the model allows it",
         prompt_tokens_, options_.context_tokens);
  }

  // An answer that was cut says by what; on standard error, as it is no part of the answer.
  void note_end(const Generation& generation) const {
    if (generation.finish == FinishReason::kCancelled) std::fputs("(stopped)\n", stderr);
    if (generation.finish != FinishReason::kLength) return;
    if (std::ssize(generation.tokens) >= options_.new_tokens_max) {
      std::fprintf(stderr, "(cut at %lld tokens, the longest answer; --max-tokens raises it)\n",
                   static_cast<long long>(options_.new_tokens_max));
    } else {
      std::fprintf(stderr, "(cut: the context of %lld tokens is full; /reset starts afresh)\n",
                   static_cast<long long>(options_.context_tokens));
    }
  }

  void system(const std::string& text) {
    if (!text.empty()) {
      conversation_.reset(text);
      std::puts("(the system message is set; the conversation starts afresh)");
      return;
    }
    const std::vector<Message>& messages = conversation_.messages();
    const bool any = !messages.empty() && messages.front().role == Role::kSystem;
    std::printf("(%s%s; /system TEXT sets one and starts afresh)\n",
                any ? "the system message: " : "there is no system message",
                any ? messages.front().content.c_str() : "");
  }

  void think(const std::string& choice) {
    if (choice == "on" || choice == "off") {
      conversation_.set_thinking(choice == "on");
    } else if (!choice.empty()) {
      fail(ErrorCode::kInvalidArgument, "/think {}: give on or off", choice);
    }
    std::printf("(reasoning is %s%s)\n", conversation_.options().thinking ? "on" : "off",
                choice.empty() ? "; /think on or /think off changes it" : "");
  }

  SpeakerOptions options_;
  Speaker speaker_;
  Conversation conversation_;
  int64_t prompt_tokens_ = 0;  // Of the last prompt.
  bool show_thinking_, colour_, show_speed_;
};

bool is_farewell(const std::string& message, bool terminal) {
  if (message == "/quit" || message == "/exit") return true;
  // From a pipe these words are for the model.
  return terminal && (message == "exit" || message == "quit");
}

// False where it was not done: the reason is on standard error.
bool handle(Talk& talk, const std::string& message) {
  try {
    message.starts_with('/') ? talk.command(split_command(message)) : talk.say(message);
    return true;
  } catch (const Error& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "dure: %s\n", error.what());
    return false;
  }
}

int run(const Given& given) {
  if (given.system) require_utf8(*given.system, "--system");
  const OpenModel model = open_model(given.model, given.sampling.arithmetic.wanted());
  CpuStream stream;
  Talk talk(given, model, stream);
  given.sampling.preload.run(model.weights, model.texts.source, stream);
  MessageReader reader;
  std::optional<InterruptScope> scope;
  if (reader.terminal()) {  // A pipe has nobody to say more: there the first signal ends it all.
    scope.emplace();
    std::signal(SIGINT, on_interrupt);
  }
  if (reader.terminal())
    std::printf("%s. /help lists the commands, /quit leaves.\n", given.model.c_str());
  bool all_done = true;
  while (const auto message = reader.next()) {
    if (interrupted()) break;
    if (message->empty()) continue;
    if (is_farewell(*message, reader.terminal())) break;
    all_done = handle(talk, *message) && all_done;
    std::fflush(stdout);
  }
  if (interrupted()) return interrupt_exit_code();
  // A person has seen what went wrong; a program that reads a pipe has the exit code.
  return all_done || reader.terminal() ? 0 : kExitUnanswered;
}

}  // namespace

std::function<int()> declare_chat(Args& args) {
  auto given = std::make_shared<Given>();
  args.positional("MODEL", given->model,
                  "model folder, GGUF file, checkpoint, or repo id in the Hugging Face cache");
  args.option("--system", given->system, "system message");
  args.flag("--no-thinking", given->no_thinking, "answer without reasoning first");
  args.flag("--hide-thinking", given->hide_thinking, "do not show the reasoning");
  given->sampling.declare(args);
  args.examples(
      "  dure chat runs/nano/rl/model\n"
      "  dure chat LGAI-EXAONE/K-EXAONE-236B-A23B --system 'You are a helpful assistant.'\n"
      "  echo '47+85=?' | dure chat runs/nano/rl/model --temperature 0\n");
  return [given] { return run(*given); };
}

}  // namespace dure
