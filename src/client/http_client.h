// client/http_client.h: one request to a server over HTTP or HTTPS, its answer as it comes.
//
// Blocks the caller, and asks it now and then whether to go on. Each request has a connection of
// its own; redirects are told, not followed (a key would go along). Certificates are checked
// against the system's (SSL_CERT_FILE: another file). Not here: addresses (web_address.h), events
// in an answer (sse_reader.h).
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "client/web_address.h"

namespace dure {

struct WebRequest {
  std::string method = "GET";
  std::string path;  // behind the address's own
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
};

struct WebAnswer {
  int status = 0;
  std::string content_type;
  double retry_after_s = 0;  // what the server asks for; 0: nothing, or no number of seconds
  std::string body;          // what was not told piece by piece
  bool stopped = false;      // by `keep_on`
};

struct HttpClientOptions {
  double connect_seconds = 10;
  double silent_seconds = 660;  // without a byte
  size_t body_bytes_max = size_t{64} << 20;
};

class HttpClient {
 public:
  explicit HttpClient(WebAddress address, HttpClientOptions options = {})
      : address_(std::move(address)), options_(options) {}

  const WebAddress& address() const { return address_; }
  // Connects, and lets go. Throws kIo: it cannot be reached.
  void reach() const;
  // `on_body` gets the pieces of a body whose status is 2xx. Ends early, the connection closed,
  // when `keep_on` (if given) says false. Throws kIo: it cannot be reached, or broke off;
  // kCorrupt: longer than body_bytes_max.
  WebAnswer ask(const WebRequest& request,
                const std::function<void(std::string_view)>& on_body = nullptr,
                const std::function<bool()>& keep_on = nullptr) const;

 private:
  WebAddress address_;
  HttpClientOptions options_;
};

}  // namespace dure
