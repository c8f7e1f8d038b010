// server/http.h: HTTP as those who answer requests see it: a request, an exchange to answer it
// through, limits. Free of any HTTP library.
//
// Owns the contract between the transport (http_server.h) and the application (api.h). Not here:
// sockets, parsing, timeouts (http_connection.cc), what any request means.
//
// One exchange belongs to one of the transport's threads for its whole life: handle(), all of
// ExchangeListener and every member of Exchange but wake() run there, so an application needs no
// lock of its own for one exchange. Others (the engine's thread) only wake(); they never wait.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dure {

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;   // as sent: "GET"
  std::string path;     // percent-decoded, without the query
  std::string query;    // as sent, without the '?'
  HttpHeaders headers;  // names in lower case
  std::string body;
  std::string peer;      // "127.0.0.1:53412"
  std::string id;        // of X-Request-Id where it is one; else made
  bool loopback = true;  // it came to a loopback address of ours
  bool tls = false;

  // The first with that (lower-case) name; null where there is none.
  const std::string* header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  HttpHeaders headers;  // Content-Type among them; Content-Length and Connection are added
  std::string body;
};

// Text for a status: "Not Found".
std::string_view http_reason(int status);

// What happens to an exchange after handle() returned.
class ExchangeListener {
 public:
  virtual ~ExchangeListener() = default;
  virtual void on_wake() = 0;   // after wake(); once for any number of them
  virtual void on_drained() {}  // unsent_bytes() fell below the low mark
  virtual void on_tick() {}     // about twice a second
  // The client sends no more; perhaps it still reads. Only writing tells: whoever has a byte that
  // means nothing writes it, and on_closed() follows where nobody takes it. May come several times.
  virtual void on_input_end() {}
  virtual void on_closed() = 0;  // the client is gone before the answer was whole; the last call
};

// One request and its answer: send() once, or begin_stream(), write()..., end().
class Exchange {
 public:
  virtual ~Exchange() = default;
  virtual const HttpRequest& request() const = 0;
  // The connection keeps the listener until the answer is whole or the client is gone.
  virtual void listen(std::shared_ptr<ExchangeListener> listener) = 0;

  virtual void send(HttpResponse response) = 0;
  virtual void begin_stream(int status, HttpHeaders headers) = 0;
  virtual void write(std::string_view bytes) = 0;  // Never waits; without effect once closed.
  virtual void end() = 0;
  virtual void abort() = 0;  // Cuts the connection: a stream that cannot be finished.

  // Written and not yet taken by the socket. Above HttpLimits::unsent_high_bytes a writer should
  // wait for on_drained(); at unsent_bytes_max the connection is cut.
  virtual int64_t unsent_bytes() const = 0;
  virtual bool above_high_mark() const = 0;

  // From any thread, at any time: on_wake() follows on the exchange's own thread, unless it is over
  // by then.
  virtual void wake() = 0;
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // After the header, before the body is read: an answer here refuses the request (its body unread,
  // the connection closed).
  virtual std::optional<HttpResponse> screen(const HttpRequest& request) = 0;
  virtual void handle(std::shared_ptr<Exchange> exchange) = 0;
  // What the transport itself refuses (malformed, too large, too slow), as the API says it.
  virtual HttpResponse refusal(int status, std::string_view message) = 0;
};

struct HttpLimits {
  int64_t header_bytes_max = 64 << 10;
  int64_t body_bytes_max = int64_t{32} << 20;
  int64_t bodies_bytes_max = int64_t{256} << 20;  // of all connections together
  int64_t connections_max = 4096;
  double header_seconds = 15;  // from its first byte (or the connection's begin) to its last
  double idle_seconds = 75;    // between two requests
  double body_grace_seconds = 20;
  double body_bytes_per_second_min = 4096;  // after the grace
  double write_seconds = 60;                // without the client taking a byte
  double linger_seconds = 2;                // for a refused client to read why
  int64_t unsent_high_bytes = 256 << 10;
  int64_t unsent_bytes_max = int64_t{64} << 20;
};

}  // namespace dure
