// tests/served.h: `dure serve` as a process of its own: its port, what it said, signals, its end.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <string>
#include <thread>

#include "program.h"
#include "server/loopback_client.h"

namespace dure {

// A server in a process of its own, at a port that was free.
class Served {
 public:
  Served(const std::string& model, const std::string& flags)
      : out_((folder_.path() / "out").string()) {
    const std::string command = "exec env DURE_LOG=info DURE_PROGRESS=off '" DURE_BINARY
                                "' serve '" +
                                model + "' --port 0 " + flags + " > '" + out_ + "' 2>&1";
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
      ::_exit(99);
    }
    for (int i = 0; i < 2000 && port_ == 0; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      const std::string text = said();
      const size_t at = text.find("  page  http://127.0.0.1:");
      if (at != std::string::npos && text.find('\n', at) != std::string::npos)
        port_ = std::atol(text.c_str() + at + std::string_view("  page  http://127.0.0.1:").size());
      if (::waitpid(pid_, &status_, WNOHANG) != 0) break;
    }
    EXPECT_GT(port_, 0) << said();
  }
  ~Served() {
    if (!ended_) ::kill(pid_, SIGKILL);
    wait();
  }
  std::string said() const { return path_exists(out_) ? read_file(out_) : ""; }
  int64_t port() const { return port_; }
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
  TemporaryFolder folder_;
  std::string out_;
  pid_t pid_ = 0;
  int status_ = 0;
  int64_t port_ = 0;
  bool ended_ = false;
};

}  // namespace dure
