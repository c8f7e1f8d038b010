// Messages from the line editor (libedit) or plainly from a pipe.
#include "cli/message_reader.h"

#include <histedit.h>
#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <string_view>

namespace dure {
namespace {

// Longer than the pause between two pieces of one paste, shorter than between a person's keys.
constexpr int kTogetherMs = 30;

// The line editor turns keys into characters by the locale, and the C locale knows ASCII only. A
// model speaks UTF-8 whatever the user's locale says, and a bare container has none but C.UTF-8.
void set_utf8_locale() {
  std::setlocale(LC_CTYPE, "");
  if (std::string_view(::nl_langinfo(CODESET)) != "UTF-8") std::setlocale(LC_CTYPE, "C.UTF-8");
}

bool more_arrives() {
  pollfd in{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  return ::poll(&in, 1, kTogetherMs) == 1 && (in.revents & POLLIN) != 0;
}

// Between ESC[200~ and ESC[201~ a terminal sends what is pasted: line breaks there end no message.
constexpr const char* kPasteModeOn = "\033[?2004h";
constexpr const char* kPasteModeOff = "\033[?2004l";
constexpr std::wstring_view kPasteEnd = L"\033[201~";

bool is_printed(wchar_t c) { return c == L'\n' || c == L'\t' || (c >= 0x20 && c != 0x7f); }

unsigned char insert_paste(EditLine* editor, int) {
  std::wstring pasted;
  for (wchar_t c = 0; el_wgetc(editor, &c) == 1;) {
    pasted += c == L'\r' ? L'\n' : c;
    if (!pasted.ends_with(kPasteEnd)) continue;
    pasted.resize(pasted.size() - kPasteEnd.size());
    break;
  }
  std::erase_if(pasted, [](wchar_t c) { return !is_printed(c); });
  if (pasted.empty()) return CC_NORM;
  return el_winsertstr(editor, pasted.c_str()) == 0 ? CC_REFRESH : CC_ERROR;
}

// A terminal that is not raw yet keeps a typed end of input (^D) as a zero byte for whoever reads
// raw next. Typed ahead of the prompt it still means the end, unless a line was begun.
unsigned char end_of_input(EditLine* editor, int) {
  const LineInfo* line = el_line(editor);
  return line->lastchar == line->buffer ? CC_EOF : CC_NORM;
}

void trim_end(std::string& text) {
  const size_t last = text.find_last_not_of(" \n\r");
  text.resize(last == std::string::npos ? 0 : last + 1);
}

std::optional<std::string> piped_line() {
  std::string line;
  int c = 0;
  while ((c = std::getchar()) != EOF && c != '\n') line += static_cast<char>(c);
  if (c == EOF && line.empty()) return std::nullopt;
  return line;
}

}  // namespace

struct MessageReader::Editor {
  EditLine* line = el_init("dure", stdin, stdout, stderr);
  History* past = history_init();
  bool continued = false;  // The prompt of a message's later lines.

  Editor() {
    HistEvent event;
    history(past, &event, H_SETSIZE, 1000);
    el_set(line, EL_CLIENTDATA, this);
    el_set(
        line, EL_PROMPT, +[](EditLine* editor) -> char* {
          static char first[] = "> ";
          static char later[] = "  ";
          Editor* self = nullptr;
          el_get(editor, EL_CLIENTDATA, &self);
          return self->continued ? later : first;
        });
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_HIST, history, past);
    el_set(line, EL_ADDFN, "dure-paste", "Insert what is pasted", insert_paste);
    el_set(line, EL_BIND, "\\e[200~", "dure-paste", nullptr);
    el_set(line, EL_ADDFN, "dure-end", "End of input, typed ahead", end_of_input);
    el_set(line, EL_BIND, "^@", "dure-end", nullptr);
  }
  ~Editor() {
    history_end(past);
    el_end(line);
  }
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;

  // Without its line break.
  std::optional<std::string> read_line() {
    int count = 0;
    el_set(line, EL_PREP_TERM, 1);  // Raw before the prompt invites keys; libedit asks in reverse.
    const char* text = el_gets(line, &count);
    if (text == nullptr || count <= 0) return std::nullopt;
    std::string out(text, static_cast<size_t>(count));
    if (out.back() == '\n') out.pop_back();
    return out;
  }

  // Commands stand alone: what is typed ahead of an answer may end in /quit.
  std::optional<std::string> read_message() {
    std::optional<std::string> message = read_line();
    while (message && !message->starts_with('/') && more_arrives()) {
      continued = true;
      const std::optional<std::string> more = read_line();
      continued = false;
      if (!more) break;
      *message += '\n' + *more;
    }
    return message;
  }

  void remember(const std::string& message) {
    HistEvent event;
    if (!message.empty()) history(past, &event, H_ENTER, message.c_str());
  }
};

MessageReader::MessageReader() {
  if (::isatty(STDIN_FILENO) == 0) return;
  set_utf8_locale();
  editor_ = std::make_unique<Editor>();
}

MessageReader::~MessageReader() = default;

std::optional<std::string> MessageReader::next() {
  std::optional<std::string> message;
  if (editor_ == nullptr) {
    message = piped_line();
  } else {
    const bool shown = ::isatty(STDOUT_FILENO) == 1;
    if (shown) std::fputs(kPasteModeOn, stdout);
    message = editor_->read_message();
    if (shown) std::fputs(kPasteModeOff, stdout);
    std::fflush(stdout);
  }
  if (!message) return std::nullopt;
  trim_end(*message);
  if (editor_ != nullptr) editor_->remember(*message);
  return message;
}

}  // namespace dure
