// Messages from the line editor (libedit) or plainly from a pipe.
#include "cli/message_reader.h"

#include <histedit.h>
#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cwchar>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "cli/stop_key.h"

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

constexpr wchar_t kStopKey = 3;  // ^C

// The next key. Ctrl-C, which comes as a signal, is a key too; a signal that ends the program ends
// the input.
int read_key(EditLine* editor, wchar_t* out) {
  std::mbstate_t state{};
  while (true) {
    if (stop_wanted()) {
      forget_stop();
      *out = kStopKey;
      return 1;
    }
    if (interrupted()) return 0;
    if (take_resize()) el_resize(editor);
    pollfd in{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
    if (::poll(&in, 1, -1) < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    char byte = 0;
    const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return static_cast<int>(n);
    const size_t made = std::mbrtowc(out, &byte, 1, &state);
    if (made == static_cast<size_t>(-1)) state = {};  // No character: it is passed over.
    if (made <= 1) return 1;
  }
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
  std::string file;        // of the history; empty: none
  bool continued = false;  // The prompt of a message's later lines.
  bool stopped = false;    // Ctrl-C: what was typed is no message.

  explicit Editor(std::string history_file) : file(std::move(history_file)) {
    HistEvent event;
    history(past, &event, H_SETSIZE, 1000);
    history(past, &event, H_SETUNIQUE, 1);
    if (!file.empty() && path_exists(file)) history(past, &event, H_LOAD, file.c_str());
    el_set(line, EL_CLIENTDATA, this);
    el_set(
        line, EL_PROMPT, +[](EditLine* editor) -> char* {
          static char first[] = "> ";
          static char later[] = "  ";
          return self(editor).continued ? later : first;
        });
    el_set(line, EL_EDITOR, "emacs");
    el_set(line, EL_HIST, history, past);
    el_set(line, EL_GETCFN, read_key);
    bind("\\e[200~", "dure-paste", "Insert what is pasted", insert_paste);
    bind("^@", "dure-end", "End of input, typed ahead", end_of_input);
    bind(
        "^C", "dure-stop", "Empty the line", +[](EditLine* editor, int) -> unsigned char {
          self(editor).stopped = true;
          return CC_NEWLINE;
        });
  }
  ~Editor() {
    history_end(past);
    el_end(line);
  }
  Editor(const Editor&) = delete;
  Editor& operator=(const Editor&) = delete;

  static Editor& self(EditLine* editor) {
    Editor* out = nullptr;
    el_get(editor, EL_CLIENTDATA, &out);
    return *out;
  }
  void bind(const char* keys, const char* name, const char* help,
            unsigned char (*act)(EditLine*, int)) {
    el_set(line, EL_ADDFN, name, help, act);
    el_set(line, EL_BIND, keys, name, nullptr);
  }

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
  std::optional<std::string> read_message(const std::string& draft) {
    stopped = false;
    // As a paste: its line breaks end nothing.
    if (!draft.empty()) el_push(line, ("\033[200~" + draft + "\033[201~").c_str());
    std::optional<std::string> message = read_line();
    while (message && !stopped && !message->starts_with('/') && more_arrives()) {
      const std::optional<std::string> more = read_later_line();
      if (!more) break;
      *message += '\n' + *more;
    }
    return stopped ? "" : message;
  }
  std::optional<std::string> read_later_line() {
    continued = true;
    std::optional<std::string> out = read_line();
    continued = false;
    return out;
  }

  void remember(const std::string& message) {
    HistEvent event;
    if (message.empty()) return;
    history(past, &event, H_ENTER, message.c_str());
    if (file.empty()) return;
    try {
      make_folders(Path(file).parent_path());
    } catch (const Error&) {
      return file.clear();  // A conversation goes on without.
    }
    history(past, &event, H_SAVE, file.c_str());
  }
};

MessageReader::MessageReader(std::string history_file) {
  if (::isatty(STDIN_FILENO) == 0) return;
  set_utf8_locale();
  editor_ = std::make_unique<Editor>(std::move(history_file));
}

MessageReader::~MessageReader() = default;

std::optional<std::string> MessageReader::read(const std::string& draft) {
  constexpr std::string_view kQuotes = "\"\"\"";
  std::optional<std::string> message =
      editor_ != nullptr ? editor_->read_message(draft) : piped_line();
  if (!message || !message->starts_with(kQuotes)) return message;
  std::string text = message->substr(kQuotes.size());
  size_t end = text.find(kQuotes);
  while (end == std::string::npos) {
    const std::optional<std::string> more =
        editor_ != nullptr ? editor_->read_later_line() : piped_line();
    if (editor_ != nullptr && editor_->stopped) return "";
    if (!more) break;
    text += (text.empty() ? "" : "\n") + *more;
    end = text.find(kQuotes);
  }
  return text.substr(0, end);
}

std::optional<std::string> MessageReader::next(const std::string& draft) {
  const bool shown = editor_ != nullptr && ::isatty(STDOUT_FILENO) == 1;
  if (shown) std::fputs(kPasteModeOn, stdout);
  std::optional<std::string> message = read(draft);
  if (shown) std::fputs(kPasteModeOff, stdout);
  if (editor_ != nullptr) std::fflush(stdout);
  if (!message) return std::nullopt;
  trim_end(*message);
  if (editor_ != nullptr) editor_->remember(*message);
  return message;
}

}  // namespace dure
