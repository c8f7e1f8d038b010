// Addresses, events cut in every place, and requests to a socket that answers well or badly.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "base/error.h"
#include "base/testing.h"
#include "client/http_client.h"
#include "client/sse_reader.h"

namespace dure {
namespace {

TEST(WebAddress, ReadsWhatPeopleWrite) {
  const WebAddress a = parse_web_address("http://127.0.0.1:8000/v1/");
  EXPECT_EQ(a.host, "127.0.0.1");
  EXPECT_EQ(a.port, 8000);
  EXPECT_EQ(a.path, "/v1");
  EXPECT_EQ(a.text(), "http://127.0.0.1:8000/v1");
  const WebAddress b = parse_web_address("https://[::1]:8443");
  EXPECT_TRUE(b.tls);
  EXPECT_EQ(b.host, "::1");
  EXPECT_EQ(b.host_text(), "[::1]:8443");
  EXPECT_EQ(parse_web_address("https://example.org/api?x=1#y").text(), "https://example.org/api");
  EXPECT_EQ(parse_web_address("https://example.org").port, 443);
  for (const char* bad : {"", "localhost:8000", "ftp://x", "http://", "http://:80", "http://x:0",
                          "http://x:70000", "http://x:", "http://key@x", "http://a b"})
    EXPECT_NE(message_of([&] { parse_web_address(bad); }), "(no error)") << bad;
}

TEST(SseReader, EveryCutGivesTheSameEvents) {
  const std::string text =
      "\xEF\xBB\xBF: ping\n\ndata: one\r\n\r\nevent: e\rdata:two\rdata: lines\r\revent: none\n\n"
      "id: 7\ndata\n\ndata: 마을\n\ndata: cut";
  const auto read = [&](size_t first, size_t step) {
    SseReader reader;
    std::string out;
    const auto say = [&](const SseEvent& e) { out += "[" + e.name + "|" + e.data + "]"; };
    reader.push(std::string_view(text).substr(0, first), say);
    for (size_t at = first; at < text.size(); at += step)
      reader.push(std::string_view(text).substr(at, step), say);
    return out;
  };
  const std::string whole = "[|one][e|two\nlines][|][|마을]";
  for (size_t cut = 0; cut < text.size(); ++cut) EXPECT_EQ(read(cut, text.size()), whole) << cut;
  EXPECT_EQ(read(0, 1), whole);
}

// Takes one connection, reads a request, says what it was told to say, and closes.
class OneAnswer {
 public:
  explicit OneAnswer(std::string answer) : fd_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(::listen(fd_, 1), 0);
    socklen_t size = sizeof(address);
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, answer = std::move(answer)] { serve(answer); });
  }
  ~OneAnswer() {
    thread_.join();
    ::close(fd_);
  }
  WebAddress address() const { return {.host = "127.0.0.1", .port = port_, .path = "/v1"}; }
  const std::string& request() const { return request_; }

 private:
  void serve(const std::string& answer) {
    const int client = ::accept(fd_, nullptr, nullptr);
    char buffer[4096];
    while (request_.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = ::recv(client, buffer, sizeof(buffer), 0);
      if (n <= 0) break;
      request_.append(buffer, static_cast<size_t>(n));
    }
    for (const char c : answer) ::send(client, &c, 1, MSG_NOSIGNAL);
    if (answer.find("wait") != std::string::npos) ::recv(client, buffer, 1, 0);
    ::close(client);
  }

  int fd_;
  int64_t port_ = 0;
  std::string request_;
  std::thread thread_;
};

TEST(HttpClient, TellsABodyAsItComes) {
  OneAnswer server(
      "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n");
  std::string told;
  const WebAnswer answer = HttpClient(server.address())
                               .ask({.method = "POST", .path = "/chat", .body = "{}"},
                                    [&](std::string_view piece) { told += piece; });
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.content_type, "text/event-stream");
  EXPECT_EQ(told, "hello!");
  EXPECT_TRUE(server.request().starts_with("POST /v1/chat HTTP/1.1\r\n"));
  EXPECT_NE(server.request().find("Content-Length: 2\r\n"), std::string::npos);
}

TEST(HttpClient, KeepsTheBodyOfAnError) {
  OneAnswer server("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope");
  const WebAnswer answer =
      HttpClient(server.address()).ask({}, [](std::string_view) { FAIL() << "told"; });
  EXPECT_EQ(answer.status, 404);
  EXPECT_EQ(answer.body, "nope");
}

TEST(HttpClient, SaysWhatWentWrong) {
  const auto error_of = [](const std::string& answer) {
    OneAnswer server(answer);
    return message_of([&] { HttpClient(server.address()).ask({}); });
  };
  EXPECT_NE(error_of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort").find("closed before"),
            std::string::npos);
  EXPECT_NE(error_of("").find("closed before"), std::string::npos);
  EXPECT_NE(error_of("SSH-2.0-OpenSSH\r\n\r\n").find("does not speak HTTP"), std::string::npos);
  EXPECT_NE(message_of([] {
              HttpClient({.host = "127.0.0.1", .port = 1}).ask({});
            }).find("Connection refused"),
            std::string::npos);
}

TEST(HttpClient, CanBeStopped) {
  OneAnswer server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nwait");
  std::string told;
  const WebAnswer answer = HttpClient(server.address())
                               .ask(
                                   {}, [&](std::string_view piece) { told += piece; },
                                   [&] { return told.find("wait") == std::string::npos; });
  EXPECT_TRUE(answer.stopped);
  EXPECT_EQ(told, "wait");
}

}  // namespace
}  // namespace dure
