// server/loopback_client.h: a raw HTTP client on a loopback socket, as well-behaved or as hostile
// as a test wants it. Tests only.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string>
#include <string_view>

#include "base/json.h"

namespace dure {

struct HttpAnswer {
  int status = 0;
  std::string head, body;  // the body with its chunks put together
  bool whole = false;      // as long as its head said, or its last chunk came
  std::string header(std::string_view name) const;
  Json json() const { return parse_json(body, "answer"); }
};

class LoopbackClient {
 public:
  explicit LoopbackClient(int64_t port) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  explicit LoopbackClient(const std::string& socket_path)
      : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~LoopbackClient() { close(); }
  LoopbackClient(const LoopbackClient&) = delete;
  LoopbackClient& operator=(const LoopbackClient&) = delete;

  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void half_close() const { ::shutdown(fd_, SHUT_WR); }
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // More bytes into received(); false at the end of the stream or after `seconds`.
  bool receive(double seconds = 20) {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, static_cast<int>(seconds * 1000)) <= 0) return false;
    char buffer[1 << 14];
    const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
    if (n <= 0) return false;
    received_.append(buffer, static_cast<size_t>(n));
    return true;
  }
  bool receive_until(std::string_view text, double seconds = 20) {
    const auto begin = std::chrono::steady_clock::now();
    while (received_.find(text) == std::string::npos) {
      const double left =
          seconds - std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
      if (left <= 0 || !receive(left)) return received_.find(text) != std::string::npos;
    }
    return true;
  }
  std::string& received() { return received_; }
  bool ended(double seconds = 20) {  // The server has closed; what came before it is kept.
    const auto begin = std::chrono::steady_clock::now();
    while (receive(seconds)) {
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() <
           seconds;
  }
  HttpAnswer answer(bool bodiless = false);  // The next one; takes it out of received().
  HttpAnswer ask(std::string_view request) {
    send(request);
    return answer();
  }

 private:
  void take_chunks(HttpAnswer& out);

  int fd_;
  bool connected_ = false;
  std::string received_;
};

inline std::string HttpAnswer::header(std::string_view name) const {
  for (size_t at = head.find("\r\n"); at != std::string::npos; at = head.find("\r\n", at + 2)) {
    const std::string_view line = std::string_view(head).substr(at + 2);
    if (line.size() > name.size() && line[name.size()] == ':' &&
        ::strncasecmp(line.data(), name.data(), name.size()) == 0) {
      const std::string_view value = line.substr(name.size() + 2);
      return std::string(value.substr(0, value.find("\r\n")));
    }
  }
  return "";
}

inline HttpAnswer LoopbackClient::answer(bool bodiless) {
  HttpAnswer out;
  if (!receive_until("\r\n\r\n")) return out;
  const size_t end = received_.find("\r\n\r\n") + 2;
  out.head = received_.substr(0, end);
  received_.erase(0, end + 2);
  out.status = std::atoi(out.head.c_str() + out.head.find(' '));
  if (bodiless || out.status == 204 || out.status == 100) {
    out.whole = true;
  } else if (out.header("Transfer-Encoding") == "chunked") {
    take_chunks(out);
  } else {
    const std::string length = out.header("Content-Length");
    const size_t size = length.empty() ? std::string::npos : std::stoul(length);
    while (received_.size() < size && receive()) {
    }
    out.whole = length.empty() || received_.size() >= size;
    out.body = received_.substr(0, size);
    received_.erase(0, out.body.size());
  }
  return out;
}

inline void LoopbackClient::take_chunks(HttpAnswer& out) {
  while (receive_until("\r\n")) {
    const size_t size = std::stoul(received_, nullptr, 16);
    const size_t line = received_.find("\r\n") + 2;
    while (received_.size() < line + size + 2) {
      if (!receive()) return;
    }
    out.body += received_.substr(line, size);
    received_.erase(0, line + size + 2);
    out.whole = size == 0;
    if (out.whole) return;
  }
}

inline std::string http_get(std::string_view path, std::string_view more = "") {
  return fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", path, more);
}
inline std::string http_post(std::string_view path, std::string_view body,
                             std::string_view more = "") {
  return fmt::format(
      "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Content-Length: {}\r\n{}\r\n{}",
      path, body.size(), more, body);
}

}  // namespace dure
