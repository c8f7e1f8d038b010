// server/http_io.h: the transport's insides, shared by its two sources alone: byte channels, a
// thread with its connections, what all connections count together.
//
// Includes Asio, which costs seconds a file: nothing else may include it. Not here: the contract
// (http.h, http_server.h).
#pragma once

#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/system/error_code.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "server/http.h"

namespace dure {

using HttpClock = std::chrono::steady_clock;

// A connected socket, plain or under TLS. One read and one write may be under way together; the
// buffers must live until their handlers are called, on the channel's thread.
class ByteChannel {
 public:
  using Done = std::function<void(boost::system::error_code, size_t)>;
  virtual ~ByteChannel() = default;
  virtual void start(std::function<void(boost::system::error_code)> done) = 0;  // The handshake.
  virtual void read_some(boost::asio::mutable_buffer into, Done done) = 0;
  virtual void write_some(boost::asio::const_buffer from, Done done) = 0;
  // Once the connection is broken (reset, or closed here): beside a read's end, which a client that
  // only sends no more reaches too.
  virtual void wait_broken(std::function<void()> done) = 0;
  virtual void shutdown_send() = 0;
  virtual void close() = 0;
};

struct HttpShared {
  HttpLimits limits;
  HttpHandler& handler;
  std::atomic<bool> draining = false;
  std::atomic<int64_t> connections = 0, exchanges = 0, accepted = 0, refused = 0;
  std::atomic<int64_t> bodies_bytes = 0;
  std::atomic<uint64_t> next_id = 0;
};

class HttpConnection;

// An exchange that was woken, as its thread sees it.
class WokenExchange {
 public:
  virtual ~WokenExchange() = default;
  virtual void run_wake() = 0;
};

// One thread: its event loop, its connections. Lives as long as any exchange of its.
class IoThread {
 public:
  boost::asio::io_context context{1};
  std::set<std::shared_ptr<HttpConnection>> connections;  // touched on the thread alone

  void start();
  void stop();  // Cuts its connections; joins.
  // From any thread. Many wakes between two turns of the loop cost one post.
  void wake(std::shared_ptr<WokenExchange> exchange);
  void drain();
  bool is_stopping() const { return !guard_; }  // on the thread alone

 private:
  void tick();
  void run_woken();

  boost::asio::steady_timer timer_{context};
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> guard_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<WokenExchange>> woken_;
  bool stopped_ = false;
  std::thread thread_;
};

struct ConnectionFacts {
  std::string peer;
  bool loopback = true;
  bool tls = false;
};

// Makes a connection and starts it; on its thread.
void open_connection(std::unique_ptr<ByteChannel> channel, ConnectionFacts facts,
                     std::shared_ptr<IoThread> thread, HttpShared& shared);

}  // namespace dure
