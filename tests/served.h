// tests/served.h: `dure serve` in a process of its own, at a port that was free, and what it said.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "base/file.h"
#include "server/loopback_client.h"

namespace dure {

class Served {
 public:
  Served(const std::string& model, const std::string& flags, int64_t port = 0)
      : out_((folder_.path() / "out").string()) {
    const std::string command = "exec env DURE_LOG=info DURE_PROGRESS=off '" DURE_BINARY
                                "' serve " +
                                (model.empty() ? "" : "'" + model + "'") + " --port " +
                                std::to_string(port) + " " + flags + " > '" + out_ + "' 2>&1";
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(99);
    }
    bool ready = false;
    for (int i = 0; i < 2000 && !ready; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      const std::string text = said();
      port_ = port_in(text);
      ready = port_ > 0 || text.find("--unix-socket") != std::string::npos;
      ended_ = ::waitpid(pid_, &status_, WNOHANG) != 0;
      if (ended_) break;
    }
    EXPECT_TRUE(ready) << said();
  }
  ~Served() {
    if (!ended_) ::kill(pid_, SIGKILL);
    wait();
  }
  std::string said() const { return path_exists(out_) ? read_file(out_) : ""; }
  int64_t port() const { return port_; }
  pid_t pid() const { return pid_; }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  void signal(int number) const { ::kill(pid_, number); }
  int wait() {  // The exit code; 1000 where a signal ended it.
    if (!ended_) ::waitpid(pid_, &status_, 0);
    ended_ = true;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 1000;
  }
  HttpAnswer get(std::string_view path) const { return LoopbackClient(port_).ask(http_get(path)); }
  HttpAnswer post(std::string_view path, std::string_view body, std::string_view more = "") const {
    return LoopbackClient(port_).ask(http_post(path, body, more));
  }

 private:
  // Of the line "  page  http://127.0.0.1:8000"; 0 where it has not come whole.
  static int64_t port_in(const std::string& said) {
    const size_t at = said.find("  page  http");
    const size_t end = at == std::string::npos ? at : said.find('\n', at);
    if (end == std::string::npos) return 0;
    return std::atol(said.c_str() + said.rfind(':', end) + 1);
  }

  TemporaryFolder folder_;
  std::string out_;
  pid_t pid_ = 0;
  int status_ = 0;
  int64_t port_ = 0;
  bool ended_ = false;
};

}  // namespace dure
