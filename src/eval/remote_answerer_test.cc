// A server that refuses, breaks off, counts its context, or answers: what is asked again and what
// is read.
#include "eval/remote_answerer.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace dure {
namespace {

// Answers each connection with the next of its texts, whole HTTP responses; an empty one hangs up.
class FakeServer {
 public:
  explicit FakeServer(std::deque<std::string> answers) : answers_(std::move(answers)) {
    listen_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ::bind(listen_, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    ::listen(listen_, 16);
    socklen_t size = sizeof(address);
    ::getsockname(listen_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeServer() {
    ::shutdown(listen_, SHUT_RDWR);
    thread_.join();
    ::close(listen_);
  }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  std::vector<std::string> asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  static std::string read_request(int connection) {
    std::string text;
    char buffer[4096];
    size_t wanted = std::string::npos;
    while (wanted == std::string::npos || text.size() < wanted) {
      const ssize_t n = ::recv(connection, buffer, sizeof(buffer), 0);
      if (n <= 0) break;
      text.append(buffer, static_cast<size_t>(n));
      const size_t head = text.find("\r\n\r\n");
      const size_t length = text.find("Content-Length: ");
      if (head == std::string::npos) continue;
      wanted = head + 4;
      if (length < head) wanted += static_cast<size_t>(std::atol(text.c_str() + length + 16));
    }
    return text;
  }
  void serve() {
    while (true) {
      const int connection = ::accept(listen_, nullptr, nullptr);
      if (connection < 0) return;
      std::string request = read_request(connection);
      {
        const std::lock_guard lock(mutex_);
        asked_.push_back(std::move(request));
        if (!answers_.empty()) {
          const std::string& answer = answers_.front();
          ::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
          answers_.pop_front();
        }
      }
      ::close(connection);
    }
  }

  int listen_ = -1, port_ = 0;
  std::mutex mutex_;
  std::deque<std::string> answers_;
  std::vector<std::string> asked_;
  std::thread thread_;
};

std::string response(int status, const std::string& body) {
  return fmt::format(
      "HTTP/1.1 {} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: "
      "close\r\n\r\n{}",
      status, body.size(), body);
}

const std::string kSaid =
    R"({"choices":[{"message":{"content":"<think>hm</think>\n4","tool_calls":[{"id":"c1","function":)"
    R"({"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"stop"}],)"
    R"("usage":{"prompt_tokens":7,"completion_tokens":3}})";
const std::string kTooLong =
    R"({"error":{"message":"This model's maximum context length is 10 tokens.","code":400}})";

Said ask(FakeServer& server, RemoteAnswererOptions options = {}) {
  options.address = server.url();
  options.model = "m";
  options.pause_s = 0.01;
  RemoteAnswerer answerer(options);
  const std::vector<Message> messages = {{.role = Role::kUser, .content = "2+2?"}};
  const AskSettings settings{.temperature = 0.5};
  const std::vector<std::string> stop;
  return answerer.answer({.messages = messages,
                          .tools = Json(),
                          .settings = settings,
                          .stop = stop,
                          .new_tokens_max = 9,
                          .seed = 1,
                          .stream = 2});
}

TEST(RemoteAnswerer, ReadsAnAnswer) {
  FakeServer server({response(200, kSaid)});
  const Said said = ask(server);
  EXPECT_EQ(said.answer.content, "4");
  EXPECT_EQ(said.answer.reasoning, "hm");
  ASSERT_EQ(said.answer.tool_calls.size(), 1u);
  EXPECT_EQ(said.answer.tool_calls[0].arguments.at("a"), Json(1));
  EXPECT_EQ(said.tokens, 3);
  EXPECT_EQ(said.end, SaidEnd::kStop);
  const std::string request = server.asked().at(0);
  for (const char* part : {"\"max_tokens\":9", "\"temperature\":0.5", "\"seed\":", "\"2+2?\""})
    EXPECT_NE(request.find(part), std::string::npos) << part << "\n" << request;
}

TEST(RemoteAnswerer, AsksAgainWhatMayPass) {
  FakeServer server({response(429, "{}"), response(503, "{}"), "", response(200, kSaid)});
  EXPECT_EQ(ask(server).answer.content, "4");
  EXPECT_EQ(server.asked().size(), 4u);
}

TEST(RemoteAnswerer, GivesUpWhatDoesNotPass) {
  FakeServer server({response(500, "{}"), response(500, "{}"), response(500, "{}")});
  EXPECT_THROW(ask(server, {.tries_max = 2}), Error);
  EXPECT_EQ(server.asked().size(), 2u);
  FakeServer refusing({response(400, R"({"error":{"message":"no such field"}})")});
  EXPECT_THROW(ask(refusing), Error);
  EXPECT_EQ(refusing.asked().size(), 1u);
}

std::string said_as(const std::string& content, const std::string& usage = "{}") {
  return R"({"choices":[{"message":{"content":")" + content +
         R"("},"finish_reason":"stop"}],"usage":)" + usage + "}";
}

TEST(RemoteAnswerer, MendsWhatIsNoText) {
  FakeServer server({response(200, said_as("\xff 42 \\ud800 \\ud83d\\ude00 \\\\ud800"))});
  EXPECT_EQ(ask(server).answer.content, "\uFFFD 42 \uFFFD \U0001F600 \\ud800");
}

TEST(RemoteAnswerer, CountsThatCannotBeAreNone) {
  FakeServer server({response(
      200, said_as("4", R"({"prompt_tokens":-5,"completion_tokens":9223372036854775807})"))});
  const Said said = ask(server);
  EXPECT_EQ(said.prompt_tokens, 0);
  EXPECT_EQ(said.tokens, 0);
}

TEST(RemoteAnswerer, WaitsAsLongAsItIsAskedTo) {
  std::string busy = response(429, "{}");
  busy.insert(busy.find("\r\n") + 2, "Retry-After: 1\r\n");
  FakeServer server({busy, response(200, kSaid)});
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(ask(server).answer.content, "4");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST(RemoteAnswerer, WhatIsNoAnswerIsNotAskedForAgain) {
  FakeServer server({response(200, "{\"choices\": [{"), response(200, kSaid)});
  EXPECT_THROW(ask(server), Error);
  EXPECT_EQ(server.asked().size(), 1u);
}

// A server that takes the connection and never answers: the kernel does as much without it.
TEST(RemoteAnswerer, DoesNotWaitForEver) {
  const int silent = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::bind(silent, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  ::listen(silent, 16);
  socklen_t size = sizeof(address);
  ::getsockname(silent, reinterpret_cast<sockaddr*>(&address), &size);
  RemoteAnswerer answerer({.address = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)),
                           .model = "m",
                           .answer_s = 0.1});
  try {
    answerer.reply({{.role = Role::kUser, .content = "2+2?"}});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("no answer within 0.1 seconds (--timeout)"),
              std::string::npos)
        << error.what();
  }
  ::close(silent);
}

// A simulated user has tools; a judge has none.
TEST(RemoteAnswerer, RepliesWithToolsWhereThereAreSome) {
  const char* calls = R"({"choices": [{"message": {"content": null, "tool_calls": [{"id": "c1",
      "function": {"name": "toggle_data", "arguments": "{}"}}]}, "finish_reason": "tool_calls"}]})";
  FakeServer server({response(200, calls), response(200, kSaid)});
  RemoteAnswerer answerer({.address = server.url(), .model = "m"});
  const std::vector<Message> said = {{.role = Role::kUser, .content = "2+2?"}};
  const Answer answer = answerer.reply(
      said, parse_json(R"([{"type": "function", "function": {"name": "toggle_data"}}])", "tools"));
  ASSERT_EQ(answer.tool_calls.size(), 1u);
  EXPECT_EQ(answer.tool_calls[0].name, "toggle_data");
  EXPECT_EQ(answer.tool_calls[0].arguments, Json::object());
  EXPECT_NE(server.asked().at(0).find("\"tools\""), std::string::npos);
  EXPECT_EQ(answerer.reply(said).content, "4");
  EXPECT_EQ(server.asked().at(1).find("\"tools\""), std::string::npos);
}

TEST(RemoteAnswerer, LeavesTheLengthToAServerThatRefusesIt) {
  FakeServer server({response(400, kTooLong), response(200, kSaid)});
  EXPECT_EQ(ask(server).answer.content, "4");
  EXPECT_EQ(server.asked().at(1).find("\"max_tokens\":9"), std::string::npos);
  FakeServer full({response(400, kTooLong), response(400, kTooLong)});
  EXPECT_EQ(ask(full).end, SaidEnd::kTooLong);
}

TEST(RemoteAnswerer, WritesCallsAsTheApiDoes) {
  const Json json = api_messages(
      {{.role = Role::kAssistant,
        .reasoning = "hidden",
        .tool_calls = {{.id = "c", .name = "f", .arguments = parse_json(R"({"a":1})", "a")}}},
       {.role = Role::kTool, .content = "r", .tool_call_id = "c"}});
  EXPECT_EQ(json.dump().find("hidden"), std::string::npos);
  EXPECT_EQ(json.at(size_t{0}).at("tool_calls").at(size_t{0}).at("function").at("arguments"),
            Json(R"({"a":1})"));
  EXPECT_EQ(json.at(size_t{1}).at("tool_call_id"), Json("c"));
}

}  // namespace
}  // namespace dure
