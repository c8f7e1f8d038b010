// `dure chat MODEL`: a conversation on the terminal, with reasoning shown dim.
#include <histedit.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "chat/conversation.h"
#include "cli/args.h"
#include "cli/sampling_flags.h"
#include "cli/verbs.h"
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
    "  /system TEXT     set the system message and start afresh\n"
    "  /think on|off    reason before answering, or not\n"
    "  /quit            leave (also Ctrl-D)\n"
    "Ctrl-C stops an answer.\n";

volatile std::sig_atomic_t g_stop = 0;
void on_interrupt(int) { g_stop = 1; }

// Lines from the terminal with editing and history, or plainly from a pipe.
class LineReader {
 public:
  LineReader() {
    if (isatty(STDIN_FILENO) == 0) return;
    editor_ = el_init("dure", stdin, stdout, stderr);
    history_ = history_init();
    HistEvent event;
    history(history_, &event, H_SETSIZE, 1000);
    el_set(
        editor_, EL_PROMPT, +[](EditLine*) -> char* {
          static char prompt[] = "> ";
          return prompt;
        });
    el_set(editor_, EL_EDITOR, "emacs");
    el_set(editor_, EL_HIST, history, history_);
  }
  ~LineReader() {
    if (editor_ == nullptr) return;
    history_end(history_);
    el_end(editor_);
  }
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  std::optional<std::string> next() {
    std::string line;
    if (editor_ != nullptr) {
      int count = 0;
      const char* text = el_gets(editor_, &count);
      if (text == nullptr || count <= 0) return std::nullopt;
      line = text;
      HistEvent event;
      if (line.find_first_not_of(" \n") != std::string::npos)
        history(history_, &event, H_ENTER, text);
    } else {
      int c = 0;
      while ((c = std::getchar()) != EOF && c != '\n') line += static_cast<char>(c);
      if (c == EOF && line.empty()) return std::nullopt;
    }
    while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
    return line;
  }

 private:
  EditLine* editor_ = nullptr;
  History* history_ = nullptr;
};

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

// The conversation of one terminal.
class Talk {
 public:
  Talk(const Given& given, const OpenModel& model, Stream& stream)
      : speaker_(model, given.sampling.speaker_options(model), stream),
        conversation_(model.texts, {.thinking = !given.no_thinking}),
        show_thinking_(!given.hide_thinking),
        colour_(isatty(STDOUT_FILENO) == 1),
        show_speed_(given.sampling.draft_tokens > 0) {
    conversation_.reset(given.system.value_or(""));
  }

  // False to leave.
  bool command(const std::string& line) {
    if (line == "/quit" || line == "/exit") return false;
    if (line == "/reset") {
      conversation_.reset();
      std::puts("(the conversation is forgotten)");
    } else if (line.rfind("/system ", 0) == 0) {
      conversation_.reset(line.substr(8));
    } else if (line == "/think on" || line == "/think off") {
      conversation_.set_thinking(line == "/think on");
    } else {
      if (line != "/help") std::printf("unknown command %s\n", line.c_str());
      std::fputs(kHelp, stdout);
    }
    return true;
  }

  void say(const std::string& text) {
    conversation_.add({.role = Role::kUser, .content = text});
    AnswerStream answer = conversation_.answer();
    AnswerDisplay display(show_thinking_, colour_);
    g_stop = 0;
    Speaker::Result result;
    try {
      result = speaker_.answer(
          conversation_.prompt(), answer, [&](const OutputDelta& delta) { display.show(delta); },
          [] { return g_stop == 0; });
    } catch (...) {
      conversation_.remove_last();  // What could not be answered is not part of the conversation.
      throw;
    }
    std::puts("");
    if (show_speed_) {
      std::fflush(stdout);
      std::fprintf(stderr, "(%s)\n", result.speed_text().c_str());
    }
    conversation_.add(answer.message());
  }

 private:
  Speaker speaker_;
  Conversation conversation_;
  bool show_thinking_, colour_, show_speed_;
};

int run(const Given& given) {
  const OpenModel model = open_model(given.model);
  CpuStream stream;
  Talk talk(given, model, stream);
  std::signal(SIGINT, on_interrupt);
  if (isatty(STDIN_FILENO) == 1)
    std::printf("%s. /help lists the commands.\n", given.model.c_str());
  LineReader reader;
  while (const auto line = reader.next()) {
    if (line->empty()) continue;
    if ((*line)[0] == '/') {
      if (!talk.command(*line)) break;
      continue;
    }
    try {
      talk.say(*line);
    } catch (const Error& error) {
      std::fprintf(stderr, "dure: %s\n", error.what());
    }
  }
  return 0;
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
