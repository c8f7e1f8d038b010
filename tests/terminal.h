// tests/terminal.h: the program with a terminal of its own, that types and reads. Tests only.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/file.h"

namespace dure {

inline constexpr int kPatienceMs = 60000;
inline constexpr int kStepMs = 5;

// The program with a terminal of its own. What it wrote is consumed by wait_for().
class Terminal {
 public:
  explicit Terminal(std::vector<std::string> arguments, const char* locale = nullptr,
                    const std::string& state_folder = "") {
    winsize size{.ws_row = 50, .ws_col = 200};
    child_ = ::forkpty(&master_, nullptr, nullptr, &size);
    if (child_ != 0) return;
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) ::unsetenv(name);
    if (locale != nullptr) ::setenv("LC_ALL", locale, 1);
    ::setenv("TERM", "xterm", 1);
    ::setenv("XDG_STATE_HOME",
             (state_folder.empty() ? state_.path().string() : state_folder).c_str(),
             1);  // of the history: its own
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

  TemporaryFolder state_;
  int master_ = -1;
  pid_t child_ = -1;
  bool ended_ = false;
  std::string written_;
};

inline constexpr const char* kReady = "\033[?2004h";  // Pastes are told from keys: it reads.

}  // namespace dure
