// Asio's operations one at a time, each run in short turns so that the caller can end it; Beast
// reads the answer.
#include "client/http_client.h"

#include <openssl/err.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/host_name_verification.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <optional>

#include "base/error.h"

namespace dure {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kTurn(50);

struct Stopped {};

// One request on its way.
class Conversation {
 public:
  Conversation(const WebAddress& address, const HttpClientOptions& options,
               const std::function<bool()>& keep_on)
      : address_(address), options_(options), keep_on_(keep_on) {}

  template <typename Stream>
  void connect(Stream& stream) {
    tcp::resolver resolver(context_);
    tcp::resolver::results_type found;
    run("find", options_.connect_seconds, [&](const auto& done) {
      resolver.async_resolve(address_.host, std::to_string(address_.port),
                             [&, done](error_code ec, tcp::resolver::results_type results) {
                               found = std::move(results);
                               done(ec);
                             });
    });
    run("reach", options_.connect_seconds, [&](const auto& done) {
      asio::async_connect(stream.lowest_layer(), found,
                          [done](error_code ec, const tcp::endpoint&) { done(ec); });
    });
    error_code ignored;
    stream.lowest_layer().set_option(tcp::no_delay(true), ignored);
  }
  void greet(asio::ssl::stream<tcp::socket>& stream) {
    SSL_set_tlsext_host_name(stream.native_handle(), address_.host.c_str());
    stream.set_verify_mode(asio::ssl::verify_peer);
    stream.set_verify_callback(asio::ssl::host_name_verification(address_.host));
    run("trust", options_.connect_seconds,
        [&](const auto& done) { stream.async_handshake(asio::ssl::stream_base::client, done); });
  }
  template <typename Stream>
  void send(Stream& stream, const std::string& bytes) {
    run("write to", options_.silent_seconds, [&](const auto& done) {
      asio::async_write(stream, asio::buffer(bytes), [done](error_code ec, size_t) { done(ec); });
    });
  }
  template <typename Stream>
  WebAnswer receive(Stream& stream, const std::function<void(std::string_view)>& on_body) {
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(std::numeric_limits<uint64_t>::max());
    WebAnswer out;
    while (!parser.is_done()) {
      run("read from", options_.silent_seconds, [&](const auto& done) {
        http::async_read_some(stream, buffer, parser, [done](error_code ec, size_t) { done(ec); });
      });
      if (!parser.is_header_done()) continue;
      out.status = parser.get().result_int();
      const std::string piece = std::exchange(parser.get().body(), "");
      const bool good = out.status >= 200 && out.status < 300;
      if (good && on_body) {
        if (!piece.empty()) on_body(piece);
      } else {
        out.body += piece;
      }
      if (out.body.size() > options_.body_bytes_max)
        fail(ErrorCode::kCorrupt, "{}: the answer is longer than {} MiB", address_.text(),
             options_.body_bytes_max >> 20);
    }
    out.content_type = std::string(parser.get()[http::field::content_type]);
    const std::string after(parser.get()[http::field::retry_after]);
    if (after.find_first_not_of("0123456789") == std::string::npos)
      out.retry_after_s = std::strtod(after.c_str(), nullptr);
    return out;
  }

  asio::io_context& context() { return context_; }
  std::function<void()> close;  // the socket: what waits for it ends

 private:
  // Runs the operation that `begin` starts; it calls `done` when it has ended.
  template <typename Begin>
  void run(const char* what, double seconds, const Begin& begin) {
    if (keep_on_ && !keep_on_()) throw Stopped{};
    std::optional<error_code> result;
    begin([&result](error_code ec) { result = ec; });
    const auto end = Clock::now() + std::chrono::duration<double>(seconds);
    bool stopped = false, late = false;
    while (!result) {
      context_.restart();
      context_.run_for(kTurn);
      if (result || stopped || late) continue;
      stopped = keep_on_ && !keep_on_();
      late = Clock::now() > end;
      if (stopped || late) close();
    }
    if (stopped) throw Stopped{};
    if (late) fail_because(what, fmt::format("nothing came for {:.0f} seconds", seconds));
    if (*result) fail_because(what, reason(*result));
  }
  static std::string reason(const error_code& ec) {
    if (ec == http::error::end_of_stream || ec == http::error::partial_message ||
        ec == asio::error::eof)
      return "the connection was closed before the answer had ended";
    if (ec == http::error::bad_version || ec == http::error::bad_status)
      return "what answers there does not speak HTTP; is the address right, and http or https?";
    if (ec.category() == asio::error::get_ssl_category())
      return fmt::format("{}; is it https, and is its certificate known here (SSL_CERT_FILE)?",
                         ec.message());
    return ec.message();
  }
  [[noreturn]] void fail_because(const char* what, const std::string& why) const {
    fail(ErrorCode::kIo, "cannot {} {}: {}", what, address_.text(), why);
  }

  const WebAddress& address_;
  const HttpClientOptions& options_;
  const std::function<bool()>& keep_on_;
  asio::io_context context_{1};
};

std::string bytes_of(const WebAddress& address, const WebRequest& request) {
  std::string out = fmt::format(
      "{} {}{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", request.method, address.path,
      address.path.empty() && request.path.empty() ? "/" : request.path, address.host_text());
  for (const auto& [name, value] : request.headers) out += fmt::format("{}: {}\r\n", name, value);
  if (!request.body.empty() || request.method == "POST")
    out += fmt::format("Content-Length: {}\r\n", request.body.size());
  return out + "\r\n" + request.body;
}

}  // namespace

void HttpClient::reach() const {
  const std::function<bool()> keep_on;
  Conversation talk(address_, options_, keep_on);
  tcp::socket socket(talk.context());
  talk.close = [&] { socket.close(); };
  talk.connect(socket);
}

WebAnswer HttpClient::ask(const WebRequest& request,
                          const std::function<void(std::string_view)>& on_body,
                          const std::function<bool()>& keep_on) const {
  Conversation talk(address_, options_, keep_on);
  const std::string bytes = bytes_of(address_, request);
  const auto converse = [&](auto& stream) {
    talk.send(stream, bytes);
    return talk.receive(stream, on_body);
  };
  try {
    if (!address_.tls) {
      tcp::socket socket(talk.context());
      talk.close = [&] { socket.close(); };
      talk.connect(socket);
      return converse(socket);
    }
    asio::ssl::context tls(asio::ssl::context::tls_client);
    tls.set_default_verify_paths();
    asio::ssl::stream<tcp::socket> stream(talk.context(), tls);
    talk.close = [&] { stream.lowest_layer().close(); };
    talk.connect(stream);
    talk.greet(stream);
    return converse(stream);
  } catch (const Stopped&) {
    return {.stopped = true};
  }
}

}  // namespace dure
