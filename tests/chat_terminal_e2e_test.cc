// `dure chat` at a terminal, through a pseudo-terminal that types: UTF-8 keys in any locale, pasted
// lines as one message, commands that confirm, and a way out of a full context; and the same from a
// pipe, where the exit code speaks.
#include <poll.h>
#include <pty.h>
#include <unistd.h>

#include <csignal>

#include "tiny_model.h"

namespace dure {
namespace {

constexpr int kPatienceMs = 60000;
constexpr int kStepMs = 5;

// The program with a terminal of its own. What it wrote is consumed by wait_for().
class Terminal {
 public:
  explicit Terminal(std::vector<std::string> arguments, const char* locale = nullptr) {
    winsize size{.ws_row = 50, .ws_col = 200};
    child_ = ::forkpty(&master_, nullptr, nullptr, &size);
    if (child_ != 0) return;
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) ::unsetenv(name);
    if (locale != nullptr) ::setenv("LC_ALL", locale, 1);
    ::setenv("TERM", "xterm", 1);
    std::vector<char*> argv{const_cast<char*>("dure")};
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    ::execv(DURE_BINARY, argv.data());
    ::_exit(127);
  }
  ~Terminal() {
    if (child_ > 0 && !ended_) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(master_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys) {
    ASSERT_EQ(::write(master_, keys.data(), keys.size()), std::ssize(keys));
  }
  // What the program wrote up to the end of `text`.
  std::string wait_for(const std::string& text) {
    while (written_.find(text) == std::string::npos) {
      if (!read_more()) {
        ADD_FAILURE() << "no '" << text << "' in: " << written_;
        return "";
      }
    }
    const size_t end = written_.find(text) + text.size();
    const std::string out = written_.substr(0, end);
    written_.erase(0, end);
    return out;
  }
  // All that is still to come, until the program has ended by itself.
  std::string rest() {
    while (read_more()) {
    }
    return std::move(written_);
  }
  // -1 where it did not end by itself.
  int exit_code() {
    int status = 0;
    for (int waited = 0; ::waitpid(child_, &status, WNOHANG) == 0; waited += kStepMs) {
      if (waited >= kPatienceMs) return -1;
      ::usleep(kStepMs * 1000);
    }
    ended_ = true;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  bool read_more() {
    pollfd in{.fd = master_, .events = POLLIN, .revents = 0};
    if (::poll(&in, 1, kPatienceMs) != 1) return false;
    char buffer[4096];
    const ssize_t n = ::read(master_, buffer, sizeof(buffer));
    if (n > 0) written_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }

  int master_ = -1;
  pid_t child_ = -1;
  bool ended_ = false;
  std::string written_;
};

constexpr const char* kReady = "\033[?2004h";  // Pastes are told from keys: it reads.

size_t count_of(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

class ChatTerminal : public TinyModel {
 protected:
  static std::vector<std::string> chat(std::vector<std::string> flags = {}) {
    std::vector<std::string> all = {"chat", at("model"), "--temperature", "0", "--threads", "1",
                                    "-n",   "4"};
    all.insert(all.end(), flags.begin(), flags.end());
    return all;
  }
  static void leave(Terminal& terminal) {
    terminal.type("/quit\r");
    terminal.rest();
    EXPECT_EQ(terminal.exit_code(), 0);
  }
};

TEST_F(ChatTerminal, EveryLetterCanBeTypedWhateverTheLocale) {
  for (const char* locale : {static_cast<const char*>(nullptr), "C", "POSIX", "C.UTF-8",
                             "ko_KR.EUC-KR", "no_SUCH.locale"}) {
    SCOPED_TRACE(locale == nullptr ? "none" : locale);
    Terminal terminal(chat(), locale);
    terminal.wait_for(kReady);
    const std::string text = "마을 größer Việt 日本 🌾";
    terminal.type("/system " + text + "\r");
    terminal.wait_for("the system message is set");
    terminal.wait_for(kReady);
    terminal.type("/system\r");
    terminal.wait_for("(the system message: " + text + ";");
    leave(terminal);
  }
}

TEST_F(ChatTerminal, KeysCanBeTakenBackAsWholeLetters) {
  Terminal terminal(chat());
  terminal.wait_for(kReady);
  terminal.type("/system 마을물\x7f\r");
  terminal.wait_for("the system message is set");
  terminal.wait_for(kReady);
  terminal.type("/system\r");
  terminal.wait_for("(the system message: 마을;");
  leave(terminal);
}

TEST_F(ChatTerminal, PastedLinesAreOneMessage) {
  // One answer shows its speed once; both ways in which a terminal pastes.
  for (const std::string paste :
       {"\033[200~the village\rshares\r\r마을\033[201~\r", "the village\rshares\r\r마을\r"}) {
    Terminal terminal(chat({"--draft", "1"}));
    terminal.wait_for(kReady);
    terminal.type(paste);
    std::string shown = terminal.wait_for("tokens/s");
    terminal.wait_for(kReady);
    terminal.type("exit\r");
    shown += terminal.rest();
    EXPECT_EQ(count_of(shown, "tokens/s"), 1u) << shown;
    EXPECT_EQ(terminal.exit_code(), 0);
  }
}

TEST_F(ChatTerminal, APasteKeepsItsLineBreaks) {
  Terminal terminal(chat());
  terminal.wait_for(kReady);
  terminal.type("\033[200~/system first\r\tsecond\nthird\033[201~\r");
  terminal.wait_for("the system message is set");
  terminal.wait_for(kReady);
  terminal.type("/system\r");
  terminal.wait_for("(the system message: first\r\n");
  EXPECT_NE(terminal.wait_for("third;").find("second\r\n"), std::string::npos);
  leave(terminal);
}

TEST_F(ChatTerminal, CommandsConfirmOrExplain) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/system", "there is no system message; /system TEXT sets one"},
      {"/system be brief", "the system message is set"},
      {"/think", "(reasoning is on; /think on or /think off changes it)"},
      {"/think off", "(reasoning is off)"},
      {"/think on", "(reasoning is on)"},
      {"/think maybe", "give on or off"},
      {"/reset", "(the conversation is forgotten)"},
      {"/rest", "did you mean /reset?"},
      {"/nonsense", "/help lists them"},
      {"/help", "/reset "},
  };
  for (const char* end : {"/quit", "/exit", "exit", "quit", "\x04"}) {
    Terminal terminal(chat());
    terminal.wait_for("/help lists the commands, /quit leaves.");
    for (const auto& [typed, said] : cases) {
      terminal.wait_for(kReady);
      terminal.type(typed + "\r");
      terminal.wait_for(said);
    }
    terminal.wait_for(kReady);
    terminal.type(std::string(end) + (*end == 4 ? "" : "\r"));
    terminal.rest();
    EXPECT_EQ(terminal.exit_code(), 0) << end;
  }
}

TEST_F(ChatTerminal, TheEndCanBeTypedAheadOfThePrompt) {
  Terminal terminal(chat());
  terminal.type("\x04");  // The terminal is not raw yet: the program still opens the model.
  terminal.wait_for(kReady);
  terminal.rest();
  EXPECT_EQ(terminal.exit_code(), 0);
}

TEST_F(ChatTerminal, AFullContextOffersReset) {
  Terminal terminal(chat({"-c", "40"}));
  std::string shown;
  for (int turn = 0; turn < 12 && shown.find("/reset forgets it") == std::string::npos; ++turn) {
    terminal.wait_for(kReady);
    terminal.type("the work\r");
    shown = terminal.wait_for("\033[?2004l");  // Read; the answer follows.
    shown = terminal.wait_for(kReady);
    terminal.type("\x15\r");  // An empty line, so that the next turn finds the reader anew.
  }
  EXPECT_NE(shown.find("the conversation is full"), std::string::npos) << shown;
  terminal.wait_for(kReady);
  terminal.type("/reset\r");
  terminal.wait_for("forgotten");
  terminal.wait_for(kReady);
  terminal.type("the work\r");
  terminal.wait_for("(cut at 4 tokens");
  terminal.wait_for(kReady);
  leave(terminal);
}

TEST_F(ChatTerminal, FromAPipeTheExitCodeSaysWhatWasNotAnswered) {
  const std::string verb = "chat " + at("model") + " -n 4 --temperature 0";
  const Outcome good = run_program(verb, {.input = "the work?\n"});
  EXPECT_EQ(good.code, 0) << good.error;
  EXPECT_NE(good.error.find("(cut at 4 tokens"), std::string::npos) << good.error;
  std::string many;
  for (int i = 0; i < 12; ++i) many += "the work\n";
  const Outcome full = run_program(verb + " -c 40", {.input = many});
  EXPECT_EQ(full.code, 2);
  EXPECT_NE(full.error.find("/reset forgets it"), std::string::npos) << full.error;
  const Outcome reset = run_program(verb + " -c 40", {.input = "the work\n/reset\nthe work\n"});
  EXPECT_EQ(reset.code, 0) << reset.error;
  const Outcome large = run_program(verb + " -c 6", {.input = "the work\n"});
  EXPECT_EQ(large.code, 2);
  EXPECT_NE(large.error.find("the message does not fit"), std::string::npos) << large.error;
  EXPECT_EQ(run_program(verb, {.input = "/nonsense\n"}).code, 2);
}

TEST_F(ChatTerminal, AContextBeyondTheModelsOwnIsSaid) {
  for (const std::string verb : {"chat", "generate"}) {
    const std::string command = verb + " " + at("model") + " -n 4 -c 99999999";
    const Outcome said = run_program(command, {.input = "x\n", .environment = "DURE_LOG=warn"});
    EXPECT_EQ(said.code, 0) << said.error;
    EXPECT_NE(said.error.find("--context 99999999: the model's own limit of"), std::string::npos)
        << said.error;
  }
  const Outcome silent =
      run_program("generate " + at("model") + " -n 4 -p x", {.environment = "DURE_LOG=warn"});
  EXPECT_EQ(silent.error.find("own limit"), std::string::npos) << silent.error;
}

}  // namespace
}  // namespace dure
