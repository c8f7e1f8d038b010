// server/http_server.h: the HTTP/1.1 transport: listens, reads requests within limits, hands them
// to a handler, writes what it answers.
//
// Owns the sockets, a few threads, TLS, keep-alive and pipelining, timeouts, refusals of what is no
// HTTP. Not here: one connection (http_connection.cc), routes and keys (api.h).
//
// A slow or hostile client costs its own connection and nothing else: writes never wait, reads are
// bounded in bytes and time (HttpLimits).
#pragma once

#include <memory>
#include <string>

#include "server/http.h"

namespace dure {

struct HttpServerOptions {
  // A name or an address; "0.0.0.0" and "::" are all of them; "unix:PATH" is a socket in the file
  // system: who may write to it may ask. Its clients count as none of this machine's addresses'.
  std::string host = "127.0.0.1";
  int64_t port = 8000;  // 0: one that is free
  int64_t thread_count = 2;
  std::string tls_certificate, tls_key;  // PEM files; both or neither
  HttpLimits limits;
};

struct HttpStatistics {
  int64_t connections = 0, exchanges = 0;  // now
  int64_t accepted = 0, refused = 0;       // since the start; refused: by the transport itself
};

class HttpServer {
 public:
  // Binds and listens. Throws Error: kInvalidArgument (a host that is none, one half of TLS), kBusy
  // in words: a port that is taken (naming what to do), kPermission, kNotFound or kCorrupt for the
  // TLS files. `handler` must outlive it.
  HttpServer(HttpServerOptions options, HttpHandler& handler);
  ~HttpServer();  // stop()

  int64_t port() const;             // 0 at a socket in the file system
  std::string socket_path() const;  // of that; else empty
  std::string url() const;          // "http://127.0.0.1:8000", as a browser here can open it

  void start();
  // No new connections; those without a request are closed, the others as their answers end.
  void stop_accepting();
  // Whether all exchanges ended within `seconds`.
  bool wait_until_idle(double seconds);
  void stop();  // Cuts what is left; joins the threads.

  HttpStatistics statistics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace dure
