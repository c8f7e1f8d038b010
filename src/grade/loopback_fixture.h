// grade/loopback_fixture.h: a server as one would write it in Python, on the loopback device, for
// as long as the object lives. Tests only.
#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "client/http_client.h"

namespace dure::testing_grade {

class Loopback {
 public:
  // `answer`: the lines of do_POST(self) behind `body = ...`, indented by 8.
  Loopback(const Path& folder, const std::string& answer) {
    const Path script = folder / "server.py";
    write_file(script, kHead + answer + kTail);
    pipe_ = ::popen(("exec python3 '" + script.string() + "'").c_str(), "r");
    int port = 0;
    EXPECT_EQ(std::fscanf(pipe_, "%d", &port), 1);
    url_ = fmt::format("http://127.0.0.1:{}/", port);
  }
  ~Loopback() {
    try {
      HttpClient(parse_web_address(url_), {}).ask({.method = "POST", .body = "quit"}, nullptr);
    } catch (const Error&) {
      // It has ended without a word, as it should.
    }
    ::pclose(pipe_);
  }
  Loopback(const Loopback&) = delete;
  const std::string& url() const { return url_; }

 private:
  inline static const std::string kHead = R"(import http.server, json, os, time
state = {}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length'] or 0))
        if body == b'quit': os._exit(0)
)";
  inline static const std::string kTail = R"(
    def log_message(self, *ignored): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
)";
  std::FILE* pipe_ = nullptr;
  std::string url_;
};

}  // namespace dure::testing_grade
