// The transport alone, against clients of every temper: a handler that echoes, streams or waits.
#include "server/http_server.h"

#include <gtest/gtest.h>
#include <netinet/tcp.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rng.h"
#include "server/loopback_client.h"

namespace dure {
namespace {

// Writes `count` lines, waiting where the client does not read.
class Streamer final : public ExchangeListener {
 public:
  Streamer(std::shared_ptr<Exchange> exchange, int64_t count)
      : exchange_(std::move(exchange)), left_(count) {}
  void on_wake() override {
    while (left_ > 0 && !exchange_->above_high_mark()) {
      exchange_->write(std::string(1000, 'x') + "\n");
      peak = std::max(peak.load(), exchange_->unsent_bytes());
      --left_;
    }
    if (left_ == 0) exchange_->end();
  }
  void on_drained() override { on_wake(); }
  void on_closed() override { ++closed; }
  inline static std::atomic<int> closed = 0;
  inline static std::atomic<int64_t> peak = 0;

 private:
  std::shared_ptr<Exchange> exchange_;
  int64_t left_;
};

class Waiter final : public ExchangeListener {
 public:
  explicit Waiter(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  void on_wake() override {
    if (!probed_) return exchange_->send({.body = "woken"});
    exchange_->write("woken");
    exchange_->end();
  }
  void on_input_end() override {
    if (std::exchange(probed_, true)) return;
    exchange_->begin_stream(200, {});
    exchange_->write(" ");
  }
  void on_closed() override { ++closed; }
  inline static std::atomic<int> closed = 0;

 private:
  std::shared_ptr<Exchange> exchange_;
  bool probed_ = false;
};

class TestHandler final : public HttpHandler {
 public:
  std::optional<HttpResponse> screen(const HttpRequest& request) override {
    if (request.path == "/refused") return refusal(401, "no");
    return std::nullopt;
  }
  void handle(std::shared_ptr<Exchange> exchange) override {
    const HttpRequest& request = exchange->request();
    if (request.path == "/throw") throw std::runtime_error("thrown");
    if (request.path.starts_with("/stream")) {
      const auto streamer =
          std::make_shared<Streamer>(exchange, request.path == "/stream/long" ? 20000 : 5);
      exchange->listen(streamer);
      exchange->begin_stream(200, {{"Content-Type", "text/plain"}});
      return streamer->on_wake();
    }
    if (request.path == "/wait") {
      exchange->listen(std::make_shared<Waiter>(exchange));
      const std::lock_guard lock(mutex);
      waiting.push_back(exchange);
      return;
    }
    if (request.path == "/block") {
      blocked = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(700));
    }
    exchange->send({.headers = {{"Content-Type", "text/plain"}},
                    .body = fmt::format("{} {} {} {}", request.method, request.path, request.query,
                                        request.body)});
  }
  HttpResponse refusal(int status, std::string_view message) override {
    return {.status = status, .body = std::string(message)};
  }
  std::mutex mutex;
  std::vector<std::shared_ptr<Exchange>> waiting;
  std::atomic<bool> blocked = false;
};

class HttpServerTest : public testing::Test {
 protected:
  void start(HttpLimits limits = {}) {
    server.emplace(HttpServerOptions{.port = 0, .limits = limits}, handler);
    server->start();
  }
  template <typename Condition>
  static bool soon(const Condition& holds, double seconds = 10) {
    for (int i = 0; i < seconds * 100; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return holds();
  }
  int64_t port() const { return server->port(); }
  TestHandler handler;
  std::optional<HttpServer> server;
};

TEST_F(HttpServerTest, AnswersAndKeepsTheConnection) {
  start();
  LoopbackClient client(port());
  for (int i = 0; i < 3; ++i) {
    const HttpAnswer answer = client.ask(http_get("/a%20b?c=d", "X-Request-Id: mine\r\n"));
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.body, "GET /a b c=d ");
    EXPECT_EQ(answer.header("X-Request-Id"), "mine");
  }
  EXPECT_EQ(client.ask(http_post("/p", "{}")).body, "POST /p  {}");
  EXPECT_EQ(client.ask("GET http://host/abs HTTP/1.1\r\nHost: h\r\n\r\n").body, "GET /abs  ");
}

TEST_F(HttpServerTest, ASocketInTheFileSystem) {
  const TemporaryFolder folder;
  const std::string path = (folder.path() / "dure.sock").string();
  const auto start_at = [&](const std::string& where) {
    server.emplace(HttpServerOptions{.host = "unix:" + where}, handler);
    server->start();
  };
  start_at(path);
  EXPECT_EQ(server->socket_path(), path);
  EXPECT_EQ(server->url(), "http://localhost");
  for (int i = 0; i < 3; ++i) {
    LoopbackClient client(path);
    EXPECT_EQ(client.ask(http_post("/p", "{}")).body, "POST /p  {}");
    EXPECT_EQ(client.ask(http_get("/stream")).status, 200);
  }
  // One at a time; what is no socket is left alone.
  EXPECT_THROW(HttpServer({.host = "unix:" + path}, handler), Error);
  write_file(folder.path() / "text", "mine");
  EXPECT_THROW(HttpServer({.host = "unix:" + (folder.path() / "text").string()}, handler), Error);
  EXPECT_EQ(read_file(folder.path() / "text"), "mine");
  EXPECT_THROW(HttpServer({.host = "unix:"}, handler), Error);
  EXPECT_THROW(HttpServer({.host = "unix:" + std::string(200, 'x')}, handler), Error);
  EXPECT_THROW(HttpServer({.host = "unix:" + (folder.path() / "no/where").string()}, handler),
               Error);
  EXPECT_TRUE(LoopbackClient(path).connected());
  server->stop_accepting();
  EXPECT_TRUE(soon([&] { return !path_exists(path); }));
  server.reset();
  // What a killed server left is in nobody's way.
  const int left = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(left, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  ::close(left);
  start_at(path);
  EXPECT_EQ(LoopbackClient(path).ask(http_get("/a")).status, 200);
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  LoopbackClient client(port());
  std::string all;
  for (int i = 0; i < 50; ++i)
    all += i % 3 == 0 ? http_get("/stream") : http_post(fmt::format("/{}", i), "x");
  client.send(all);
  for (int i = 0; i < 50; ++i) {
    const HttpAnswer answer = client.answer();
    ASSERT_EQ(answer.status, 200) << i;
    EXPECT_TRUE(answer.whole);
    if (i % 3 == 0) continue;
    EXPECT_EQ(answer.body, fmt::format("POST /{}  x", i));
  }
}

TEST_F(HttpServerTest, ChunkedBodiesAndExpectations) {
  start();
  LoopbackClient client(port());
  const HttpAnswer chunked = client.ask(
      "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
  EXPECT_EQ(chunked.body, "POST /c  abcde");
  client.send("POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(client.answer().status, 100);
  EXPECT_EQ(client.ask("ok").body, "POST /e  ok");
}

// Every place where a request can be torn, and every byte alone.
TEST_F(HttpServerTest, TornRequestsAreWholeInTheEnd) {
  start();
  const std::string chunked = "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::pair<std::string, std::string> requests[] = {
      {chunked + "0\r\n\r\n", "POST /c  "},
      {chunked + "3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nTrailer: t\r\n\r\n", "POST /c  abcd"},
      {chunked + "000\r\n\r\n", "POST /c  "},
      {http_post("/p", "{}"), "POST /p  {}"},
  };
  const auto pause = [] { std::this_thread::sleep_for(std::chrono::microseconds(500)); };
  for (const auto& [request, body] : requests) {
    LoopbackClient client(port());
    const int on = 1;
    ::setsockopt(client.fd(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    for (size_t at = 1; at < request.size(); ++at) {
      client.send(request.substr(0, at));
      pause();
      EXPECT_EQ(client.ask(request.substr(at)).body, body) << at;
    }
    for (const char byte : request) {
      client.send({&byte, 1});
      pause();
    }
    EXPECT_EQ(client.answer().body, body);
  }
}

TEST_F(HttpServerTest, HeadHasNoBodyAndOldClientsGetTheirEnd) {
  start();
  LoopbackClient client(port());
  client.send("HEAD /h HTTP/1.1\r\nHost: h\r\n\r\n");
  const HttpAnswer head = client.answer(true);
  EXPECT_EQ(head.status, 200);
  EXPECT_NE(head.header("Content-Length"), "");
  EXPECT_EQ(client.ask(http_get("/next")).body, "GET /next  ");
  LoopbackClient old(port());
  old.send("GET /stream HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.ended());
  EXPECT_EQ(old.received().find("chunked"), std::string::npos);
  EXPECT_TRUE(old.received().ends_with(std::string(1000, 'x') + "\n"));
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeOrNoHttp) {
  start({.header_bytes_max = 4096, .body_bytes_max = 1000});
  const auto status_of = [&](const std::string& request) {
    LoopbackClient client(port());
    client.send(request);
    const HttpAnswer answer = client.answer();
    EXPECT_TRUE(client.ended()) << request.substr(0, 60);
    return answer.status;
  };
  EXPECT_EQ(status_of(http_post("/", std::string(1001, 'x'))), 413);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n800\r\n" +
                      std::string(2048, 'x')),
            413);
  EXPECT_EQ(status_of(http_get("/", "X: " + std::string(5000, 'y') + "\r\n")), 431);
  EXPECT_EQ(status_of("nonsense\r\n\r\n"), 400);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 400);  // no Host
  EXPECT_EQ(status_of("GET / HTTP/3.7\r\nHost: h\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -5\r\n\r\n"), 400);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(status_of(http_post("/refused", std::string(900, 'x'))), 401);
  LoopbackClient client(port());
  EXPECT_EQ(client.ask(http_get("/throw")).status, 500);
  EXPECT_EQ(client.ask(http_get("/after")).status, 200);
}

TEST_F(HttpServerTest, RandomBytesHarmNobody) {
  start({.header_seconds = 0.6});
  Rng rng(11);
  for (int i = 0; i < 40; ++i) {
    LoopbackClient client(port());
    std::string bytes = i % 2 == 0 ? "POST / HTTP/1.1\r\nHost: h\r\n" : "";
    for (int n = 0; n < 300; ++n) bytes += static_cast<char>(rng.below(256));
    client.send(bytes);
    if (i % 3 == 0) client.half_close();
  }
  LoopbackClient client(port());
  EXPECT_EQ(client.ask(http_get("/")).status, 200);
  client.close();
  EXPECT_TRUE(soon([&] { return server->statistics().connections == 0; }));
}

TEST_F(HttpServerTest, SlowHeadersAndBodiesEnd) {
  start({.header_seconds = 0.5, .idle_seconds = 0.5, .body_grace_seconds = 0.5});
  LoopbackClient header(port()), body(port()), silent(port()), kept(port());
  header.send("GET / HTTP/1.1\r\nHost: h\r\nX: ");
  body.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nx");
  EXPECT_EQ(kept.ask(http_get("/")).status, 200);
  EXPECT_EQ(header.answer().status, 408);
  EXPECT_EQ(body.answer().status, 408);
  EXPECT_TRUE(silent.ended());
  EXPECT_TRUE(kept.ended());
  EXPECT_EQ(silent.received(), "");
  EXPECT_EQ(kept.received(), "");
}

TEST_F(HttpServerTest, ASlowReaderHoldsNoMemoryAndNobodyElse) {
  start({.write_seconds = 1});
  Streamer::peak = 0;
  const int closed = Streamer::closed;
  LoopbackClient slow(port());
  slow.send(http_get("/stream/long"));  // 20 MB, unread
  LoopbackClient other(port());
  for (int i = 0; i < 20; ++i) EXPECT_EQ(other.ask(http_get("/")).status, 200);
  EXPECT_TRUE(soon([&] { return Streamer::closed > closed; }));
  EXPECT_LT(Streamer::peak, HttpLimits{}.unsent_high_bytes + 2000);
  LoopbackClient reader(port());
  const HttpAnswer whole = reader.ask(http_get("/stream/long"));
  EXPECT_TRUE(whole.whole);
  EXPECT_EQ(whole.body.size(), 20000u * 1001);
}

TEST_F(HttpServerTest, PipeliningWithoutReadingIsBounded) {
  start({.write_seconds = 1});
  LoopbackClient client(port());
  ::fcntl(client.fd(), F_SETFL, O_NONBLOCK);
  std::string all;
  for (int i = 0; i < 4000; ++i) all += http_post("/echo", std::string(10000, 'x'));
  std::string_view rest = all;  // As much as is taken: until the server stands still.
  for (pollfd wait{client.fd(), POLLOUT, 0}; !rest.empty() && ::poll(&wait, 1, 500) > 0;) {
    const ssize_t n = ::send(client.fd(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (n <= 0) break;
    rest.remove_prefix(static_cast<size_t>(n));
  }
  EXPECT_FALSE(rest.empty());
  LoopbackClient other(port());
  EXPECT_EQ(other.ask(http_get("/")).status, 200);
  EXPECT_TRUE(soon([&] { return server->statistics().connections == 1; }));
}

TEST_F(HttpServerTest, WakesFromOtherThreadsAndClosedClientsAreNoticed) {
  start();
  std::vector<std::unique_ptr<LoopbackClient>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<LoopbackClient>(port()));
    clients.back()->send(http_get("/wait"));
  }
  ASSERT_TRUE(soon([&] {
    const std::lock_guard lock(handler.mutex);
    return handler.waiting.size() == 20;
  }));
  EXPECT_EQ(server->statistics().exchanges, 20);
  const int closed = Waiter::closed;
  for (int i = 0; i < 10; ++i) clients[static_cast<size_t>(i)]->close();
  EXPECT_TRUE(soon([&] { return Waiter::closed == closed + 10; }));
  std::thread waker([&] {
    for (const auto& exchange : handler.waiting) exchange->wake();
  });
  waker.join();
  for (size_t i = 10; i < 20; ++i) EXPECT_EQ(clients[i]->answer().body, "woken");
  EXPECT_EQ(server->statistics().exchanges, 0);
  server->stop();
  for (const auto& exchange : handler.waiting) exchange->wake();  // Long over: nothing happens.
}

TEST_F(HttpServerTest, AHalfClosedClientGetsItsAnswers) {
  start();
  LoopbackClient waiting(port()), pipelined(port()), cut_short(port()), silent(port());
  waiting.send(http_get("/wait"));
  ASSERT_TRUE(soon([&] {
    const std::lock_guard lock(handler.mutex);
    return handler.waiting.size() == 1;
  }));
  waiting.half_close();
  EXPECT_TRUE(waiting.receive_until("\r\n \r\n"));              // The byte that means nothing.
  std::this_thread::sleep_for(std::chrono::milliseconds(700));  // A tick.
  handler.waiting[0]->wake();
  const HttpAnswer answer = waiting.answer();
  EXPECT_EQ(answer.body, " woken");
  EXPECT_TRUE(answer.whole);
  EXPECT_TRUE(waiting.ended());

  pipelined.send(http_get("/stream") + http_post("/1", "x") + http_get("/stream/long"));
  pipelined.half_close();
  EXPECT_EQ(pipelined.answer().status, 200);
  EXPECT_EQ(pipelined.answer().body, "POST /1  x");
  EXPECT_EQ(pipelined.answer().body.size(), 20000u * 1001);
  EXPECT_TRUE(pipelined.ended());

  cut_short.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
  cut_short.half_close();
  EXPECT_EQ(cut_short.answer().status, 400);
  EXPECT_TRUE(cut_short.ended());
  silent.half_close();
  EXPECT_TRUE(silent.ended());
  EXPECT_EQ(silent.received(), "");
  EXPECT_TRUE(soon([&] { return server->statistics().connections == 0; }));
}

TEST_F(HttpServerTest, DrainFinishesWhatIsUnderWay) {
  start();
  LoopbackClient idle(port()), busy(port());
  EXPECT_EQ(idle.ask(http_get("/")).status, 200);
  busy.send(http_get("/wait"));
  ASSERT_TRUE(soon([&] { return server->statistics().exchanges == 1; }));
  server->stop_accepting();
  EXPECT_TRUE(idle.ended());
  EXPECT_FALSE(server->wait_until_idle(0.1));
  EXPECT_TRUE(soon([&] { return !LoopbackClient(port()).connected(); }));
  handler.waiting[0]->wake();
  const HttpAnswer answer = busy.answer();
  EXPECT_EQ(answer.body, "woken");
  EXPECT_EQ(answer.header("Connection"), "close");
  busy.close();
  EXPECT_TRUE(server->wait_until_idle(5));
}

// The loop's half-second timer ends while its thread does something else, and so before the order
// to stop is read: it must not go on with another round.
TEST_F(HttpServerTest, StopsThoughItsThreadIsBusy) {
  start();
  LoopbackClient client(port());
  client.send("GET /block HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(soon([&] { return handler.blocked.load(); }));
  std::atomic<bool> stopped = false;
  std::thread stopping([&] {
    server->stop();
    stopped = true;
  });
  if (!soon([&] { return stopped.load(); })) {
    std::fprintf(stderr, "the server does not stop\n");
    std::_Exit(1);  // Nothing ends its thread.
  }
  stopping.join();
}

TEST_F(HttpServerTest, ConnectionsHaveALimit) {
  start({.connections_max = 3});
  std::vector<std::unique_ptr<LoopbackClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<LoopbackClient>(port()));
    EXPECT_EQ(clients.back()->ask(http_get("/")).status, 200);
  }
  LoopbackClient more(port());
  EXPECT_EQ(more.answer().status, 503);
  clients.clear();
  EXPECT_TRUE(soon([&] { return LoopbackClient(port()).ask(http_get("/")).status == 200; }));
}

TEST_F(HttpServerTest, ABusyPortIsOneClearLine) {
  start();
  try {
    HttpServer second({.port = port()}, handler);
    FAIL() << "bound twice";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("the port is taken"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("--port"), std::string::npos);
  }
  EXPECT_THROW(HttpServer({.host = "no.such.host.invalid", .port = 0}, handler), Error);
  EXPECT_THROW(HttpServer({.port = 70000}, handler), Error);
  EXPECT_THROW(HttpServer({.port = 0, .tls_certificate = "x"}, handler), Error);
}

}  // namespace
}  // namespace dure
