// Listening, accepting, TLS: sockets become channels, and channels connections, dealt out to the
// threads in turn.
#include "server/http_server.h"

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "server/http_io.h"

namespace dure {
namespace asio = boost::asio;
using asio::ip::tcp;
using local = asio::local::stream_protocol;
using boost::system::error_code;

namespace {

template <typename Socket>
class PlainChannel final : public ByteChannel {
 public:
  explicit PlainChannel(Socket socket) : socket_(std::move(socket)) {}
  void start(std::function<void(error_code)> done) override { done({}); }
  void read_some(asio::mutable_buffer into, Done done) override {
    socket_.async_read_some(into, std::move(done));
  }
  void write_some(asio::const_buffer from, Done done) override {
    socket_.async_write_some(from, std::move(done));
  }
  void wait_broken(std::function<void()> done) override {
    socket_.async_wait(Socket::wait_error, [done = std::move(done)](error_code) { done(); });
  }
  void shutdown_send() override {
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
  }
  void close() override {
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  Socket socket_;
};

class TlsChannel final : public ByteChannel {
 public:
  TlsChannel(tcp::socket socket, asio::ssl::context& context)
      : stream_(std::move(socket), context) {}
  void start(std::function<void(error_code)> done) override {
    stream_.async_handshake(asio::ssl::stream_base::server, std::move(done));
  }
  void read_some(asio::mutable_buffer into, Done done) override {
    stream_.async_read_some(into, std::move(done));
  }
  void write_some(asio::const_buffer from, Done done) override {
    stream_.async_write_some(from, std::move(done));
  }
  void wait_broken(std::function<void()> done) override {
    stream_.lowest_layer().async_wait(tcp::socket::wait_error,
                                      [done = std::move(done)](error_code) { done(); });
  }
  // No goodbye of TLS's own: lengths and chunks say where an answer ends.
  void shutdown_send() override {
    error_code ignored;
    stream_.lowest_layer().shutdown(tcp::socket::shutdown_send, ignored);
  }
  void close() override {
    error_code ignored;
    stream_.lowest_layer().close(ignored);
  }

 private:
  asio::ssl::stream<tcp::socket> stream_;
};

std::string address_text(const tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return endpoint.address().is_v6() ? fmt::format("[{}]:{}", host, endpoint.port())
                                    : fmt::format("{}:{}", host, endpoint.port());
}

tcp::endpoint resolve(asio::io_context& context, const std::string& host, int64_t port) {
  if (port < 0 || port > 65535)
    fail(ErrorCode::kInvalidArgument, "--port {}: give 0 to 65535 (0: one that is free)", port);
  error_code ec;
  const auto number = static_cast<unsigned short>(port);
  const asio::ip::address address = asio::ip::make_address(host, ec);
  if (!ec) return {address, number};
  const auto found = tcp::resolver(context).resolve(host, std::to_string(port), ec);
  if (ec || found.empty()) {
    fail(ErrorCode::kInvalidArgument,
         "--host {}: no address of this machine ({}); 127.0.0.1 serves this machine alone, 0.0.0.0 "
         "all that reach it",
         host, ec.message());
  }
  return *found.begin();
}

[[noreturn]] void fail_to_bind(const error_code& ec, const tcp::endpoint& endpoint) {
  const std::string where = address_text(endpoint);
  const int port = endpoint.port();
  if (ec == asio::error::address_in_use) {
    fail(ErrorCode::kInvalidArgument,
         "{}: the port is taken by another program; choose another (--port {}), or end that one "
         "(`ss -ltnp 'sport = :{}'` names it)",
         where, port < 65535 ? port + 1 : 8000, port);
  }
  if (ec == asio::error::access_denied) {
    fail(ErrorCode::kPermission,
         "{}: ports below 1024 are for the system's own services; choose another (--port 8000)",
         where);
  }
  fail(ErrorCode::kInvalidArgument, "{}: cannot be listened on ({}); --host 127.0.0.1 always can",
       where, ec.message());
}

constexpr std::string_view kUnix = "unix:";

// A socket that a killed server left is removed; one that somebody listens at, or any other file,
// is not.
void make_room_for_socket(asio::io_context& context, const std::string& path) {
  struct stat there {};
  if (::lstat(path.c_str(), &there) != 0) return;
  if (!S_ISSOCK(there.st_mode))
    fail(ErrorCode::kInvalidArgument, "--host unix:{0}: {0} is there and is no socket", path);
  error_code ec;
  local::socket probe(context);
  if (!probe.connect(local::endpoint(path), ec)) {
    fail(ErrorCode::kInvalidArgument, "--host unix:{}: another program listens there", path);
  }
  ::unlink(path.c_str());
}

void open_socket(local::acceptor& acceptor, asio::io_context& context, const std::string& path) {
  constexpr size_t kPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;
  if (path.empty() || path.size() > kPathBytesMax) {
    fail(ErrorCode::kInvalidArgument, "--host unix:{}: give a path of 1 to {} bytes", path,
         kPathBytesMax);
  }
  make_room_for_socket(context, path);
  error_code ec;
  acceptor.open(local(), ec);
  if (!ec) acceptor.bind(local::endpoint(path), ec);
  if (!ec) acceptor.listen(asio::socket_base::max_listen_connections, ec);
  if (ec)
    fail(ErrorCode::kInvalidArgument, "--host unix:{}: cannot be listened on ({})", path,
         ec.message());
}

std::optional<asio::ssl::context> make_tls(const HttpServerOptions& options) {
  const std::string &certificate = options.tls_certificate, &key = options.tls_key;
  if (certificate.empty() && key.empty()) return std::nullopt;
  if (certificate.empty() || key.empty())
    fail(ErrorCode::kInvalidArgument, "TLS wants both a certificate and its key (PEM files)");
  if (options.host.starts_with(kUnix)) {
    fail(ErrorCode::kInvalidArgument,
         "--host {}: TLS is for addresses; leave --tls-certificate and --tls-key away",
         options.host);
  }
  read_file(certificate);  // For the errors of files.
  read_file(key);
  asio::ssl::context context(asio::ssl::context::tls_server);
  context.set_options(asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1);
  error_code ec;
  if (context.use_certificate_chain_file(certificate, ec))
    fail(ErrorCode::kCorrupt, "{}: no certificate in PEM form ({})", certificate, ec.message());
  if (context.use_private_key_file(key, asio::ssl::context::pem, ec))
    fail(ErrorCode::kCorrupt, "{}: no private key of {} in PEM form ({})", key, certificate,
         ec.message());
  return context;
}

}  // namespace

struct HttpServer::State {
  HttpServerOptions options;
  HttpShared shared;
  std::vector<std::shared_ptr<IoThread>> threads;
  std::optional<asio::ssl::context> tls;
  std::optional<tcp::acceptor> acceptor;          // on the first thread; or
  std::optional<local::acceptor> local_acceptor;  // this
  std::string socket_path;                        // of that
  std::optional<asio::steady_timer> pause;
  tcp::endpoint endpoint;
  size_t next = 0;

  State(HttpServerOptions o, HttpHandler& handler)
      : options(std::move(o)),
        shared{.limits = options.limits, .handler = handler},
        tls(make_tls(options)) {
    for (int64_t i = 0; i < std::max<int64_t>(1, options.thread_count); ++i)
      threads.push_back(std::make_shared<IoThread>());
    bind();
  }

  void bind() {
    asio::io_context& context = threads.front()->context;
    pause.emplace(context);
    if (options.host.starts_with(kUnix)) {
      socket_path = options.host.substr(kUnix.size());
      local_acceptor.emplace(context);
      return open_socket(*local_acceptor, context, socket_path);
    }
    endpoint = resolve(context, options.host, options.port);
    acceptor.emplace(context);
    error_code ec;
    acceptor->open(endpoint.protocol(), ec);
    if (ec) fail_to_bind(ec, endpoint);
    acceptor->set_option(tcp::acceptor::reuse_address(true), ec);
    if (endpoint.address().is_v6()) acceptor->set_option(asio::ip::v6_only(false), ec);
    if (acceptor->bind(endpoint, ec)) fail_to_bind(ec, endpoint);
    if (acceptor->listen(asio::socket_base::max_listen_connections, ec)) fail_to_bind(ec, endpoint);
    endpoint = acceptor->local_endpoint();
  }

  void accept() { acceptor ? accept_from(*acceptor) : accept_from(*local_acceptor); }
  template <typename Acceptor>
  void accept_from(Acceptor& from);
  void close_acceptors();
  bool refuse_one_too_many(auto& socket);
  void take(tcp::socket socket, const std::shared_ptr<IoThread>& thread);
  void take(local::socket socket, const std::shared_ptr<IoThread>& thread);
  void open(std::unique_ptr<ByteChannel> channel, const ConnectionFacts& facts,
            const std::shared_ptr<IoThread>& thread);
};

template <typename Acceptor>
void HttpServer::State::accept_from(Acceptor& from) {
  using Socket = typename Acceptor::protocol_type::socket;
  const std::shared_ptr<IoThread> thread = threads[next++ % threads.size()];
  from.async_accept(thread->context, [this, thread, &from](error_code ec, Socket socket) {
    if (ec == asio::error::operation_aborted || !from.is_open()) return;
    if (!ec) {
      take(std::move(socket), thread);
      return accept_from(from);
    }
    // Such as no file descriptors left: others may give theirs back.
    pause->expires_after(std::chrono::milliseconds(100));
    pause->async_wait([this, &from](error_code stopped) {
      if (!stopped && from.is_open()) accept_from(from);
    });
  });
}

void HttpServer::State::close_acceptors() {
  error_code ignored;
  if (acceptor) acceptor->close(ignored);
  if (local_acceptor && local_acceptor->is_open()) {
    local_acceptor->close(ignored);
    ::unlink(socket_path.c_str());
  }
  pause->cancel();
}

bool HttpServer::State::refuse_one_too_many(auto& socket) {
  if (shared.connections < options.limits.connections_max) return false;
  ++shared.refused;
  error_code ec;
  socket.non_blocking(true, ec);
  const std::string_view text =
      "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
      "Content-Length: 0\r\n\r\n";
  socket.write_some(asio::buffer(text), ec);
  return true;
}

void HttpServer::State::take(tcp::socket socket, const std::shared_ptr<IoThread>& thread) {
  ++shared.accepted;
  error_code ec;
  const tcp::endpoint peer = socket.remote_endpoint(ec);
  const tcp::endpoint own = socket.local_endpoint(ec);
  if (ec || refuse_one_too_many(socket)) return;
  socket.set_option(tcp::no_delay(true), ec);
  asio::ip::address address = own.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  const ConnectionFacts facts{
      .peer = address_text(peer), .loopback = address.is_loopback(), .tls = tls.has_value()};
  if (tls) {
    open(std::make_unique<TlsChannel>(std::move(socket), *tls), facts, thread);
  } else {
    open(std::make_unique<PlainChannel<tcp::socket>>(std::move(socket)), facts, thread);
  }
}

// No browser's page reaches it by a name that was pointed here: nothing to check of Host.
void HttpServer::State::take(local::socket socket, const std::shared_ptr<IoThread>& thread) {
  ++shared.accepted;
  if (refuse_one_too_many(socket)) return;
  open(std::make_unique<PlainChannel<local::socket>>(std::move(socket)),
       {.peer = options.host, .loopback = false, .tls = false}, thread);
}

void HttpServer::State::open(std::unique_ptr<ByteChannel> channel, const ConnectionFacts& facts,
                             const std::shared_ptr<IoThread>& thread) {
  // std::function wants what it holds to be copyable.
  auto shared_channel = std::make_shared<std::unique_ptr<ByteChannel>>(std::move(channel));
  asio::post(thread->context, [this, thread, facts, shared_channel] {
    open_connection(std::move(*shared_channel), facts, thread, shared);
  });
}

HttpServer::HttpServer(HttpServerOptions options, HttpHandler& handler)
    : state_(std::make_unique<State>(std::move(options), handler)) {}

HttpServer::~HttpServer() { stop(); }

int64_t HttpServer::port() const { return state_->endpoint.port(); }

std::string HttpServer::socket_path() const { return state_->socket_path; }

std::string HttpServer::url() const {
  if (!state_->socket_path.empty()) return "http://localhost";
  tcp::endpoint shown = state_->endpoint;
  if (shown.address().is_unspecified()) shown.address(asio::ip::address_v4::loopback());
  return fmt::format("{}://{}", state_->tls ? "https" : "http", address_text(shown));
}

void HttpServer::start() {
  for (const auto& thread : state_->threads) thread->start();
  asio::post(state_->threads.front()->context, [state = state_.get()] { state->accept(); });
}

void HttpServer::stop_accepting() {
  state_->shared.draining = true;
  asio::post(state_->threads.front()->context,
             [state = state_.get()] { state->close_acceptors(); });
  for (const auto& thread : state_->threads) thread->drain();
}

bool HttpServer::wait_until_idle(double seconds) {
  const auto waited = [&](const std::atomic<int64_t>& count, double limit) {
    const auto begin = HttpClock::now();
    while (count > 0) {
      if (std::chrono::duration<double>(HttpClock::now() - begin).count() > limit) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return true;
  };
  const HttpShared& shared = state_->shared;
  if (!waited(shared.exchanges, seconds)) return false;
  // The last bytes on their way, and clients that are still reading them.
  if (shared.draining) waited(shared.connections, std::min(seconds, shared.limits.linger_seconds));
  return true;
}

void HttpServer::stop() {
  if (!state_) return;
  state_->shared.draining = true;
  asio::post(state_->threads.front()->context,
             [state = state_.get()] { state->close_acceptors(); });
  for (const auto& thread : state_->threads) thread->stop();
}

HttpStatistics HttpServer::statistics() const {
  const HttpShared& s = state_->shared;
  return {.connections = s.connections,
          .exchanges = s.exchanges,
          .accepted = s.accepted,
          .refused = s.refused};
}

}  // namespace dure
