// One connection: bytes through Beast's parser into requests, answers into bytes, and what becomes
// of a client that is slow, too large, or gone. IoThread's loop is here too, beside what it runs.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cctype>
#include <optional>

#include "base/log.h"
#include "server/http_io.h"

namespace dure {
namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

constexpr size_t kReadBytes = 8 << 10;
constexpr size_t kAheadBytesMax = 64 << 10;  // Pipelined requests that wait.
constexpr int64_t kLingerBytesMax = 64 << 20;
// The shortest end of a chunked body, "0\r\n\r\n": as long as one is not whole, so much is to come.
// The parser may not be given less (its own assertion ends the process).
constexpr size_t kChunkedBytesMin = 5;
constexpr auto kTick = std::chrono::milliseconds(500);

double seconds_since(HttpClock::time_point from) {
  return std::chrono::duration<double>(HttpClock::now() - from).count();
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 &&
                        hex_value(text[i + 2]) >= 0;
    if (escape) {
      out += static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

// Also of the absolute form, "http://host/path".
void set_target(HttpRequest& request, std::string_view target) {
  const size_t scheme = target.find("://");
  if (!target.starts_with('/') && scheme != std::string_view::npos) {
    const size_t slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? "/" : target.substr(slash);
  }
  const size_t question = target.find('?');
  request.path = percent_decoded(target.substr(0, question));
  if (question != std::string_view::npos) request.query = std::string(target.substr(question + 1));
}

// An id that may stand in a header and in a log line.
bool is_sound_id(const std::string& id) {
  return !id.empty() && id.size() <= 128 &&
         std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c <= '~'; });
}

struct Refusal {
  int status;
  const char* message;
};

Refusal refusal_of(const error_code& ec) {
  if (ec == http::error::header_limit) return {431, "the request's header is too large"};
  if (ec == http::error::body_limit) return {413, "the request's body is too large"};
  // A fault of the client: 505 would be counted, and retried, as one of the server.
  if (ec == http::error::bad_version) return {400, "this is not HTTP/1.0 or HTTP/1.1"};
  return {400, "the request is not well-formed HTTP"};
}

}  // namespace

const std::string* HttpRequest::header(std::string_view name) const {
  for (const auto& [key, value] : headers) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string_view http_reason(int status) {
  switch (status) {
    case 499:
      return "Client Closed Request";
    case 529:
      return "Overloaded";
    default:
      const boost::beast::string_view text =
          http::obsolete_reason(static_cast<http::status>(status));
      return {text.data(), text.size()};
  }
}

class HttpConnection;

// What the application holds. Outlives its connection at times: then it does nothing.
class Turn final : public Exchange,
                   public WokenExchange,
                   public std::enable_shared_from_this<Turn> {
 public:
  Turn(HttpConnection& connection, std::shared_ptr<IoThread> thread, HttpRequest request,
       bool chunked)
      : connection_(&connection),
        thread_(std::move(thread)),
        request_(std::move(request)),
        chunked_(chunked) {}

  const HttpRequest& request() const override { return request_; }
  void listen(std::shared_ptr<ExchangeListener> listener) override {
    if (connection_ != nullptr) listener_ = std::move(listener);
  }
  void send(HttpResponse response) override;
  void begin_stream(int status, HttpHeaders headers) override;
  void write(std::string_view bytes) override;
  void end() override;
  void abort() override;
  int64_t unsent_bytes() const override;
  bool above_high_mark() const override;
  void wake() override {
    if (!woken_.exchange(true)) thread_->wake(shared_from_this());
  }
  void run_wake() override;

  // The connection's side.
  void drained() {
    if (const auto listener = listener_) listener->on_drained();
  }
  void tick() {
    if (const auto listener = listener_) listener->on_tick();
  }
  void end_input() {
    if (const auto listener = listener_) listener->on_input_end();
  }
  void lose() {  // The client is gone, or will not be answered any more.
    connection_ = nullptr;
    if (const auto listener = std::exchange(listener_, nullptr)) listener->on_closed();
  }

 private:
  void complete();

  HttpConnection* connection_;  // null once the answer is whole or the client gone
  std::shared_ptr<IoThread> thread_;
  HttpRequest request_;
  std::shared_ptr<ExchangeListener> listener_;
  bool chunked_, streaming_ = false;
  std::atomic<bool> woken_ = false;
};

class HttpConnection final : public std::enable_shared_from_this<HttpConnection> {
 public:
  HttpConnection(std::unique_ptr<ByteChannel> channel, ConnectionFacts facts,
                 std::shared_ptr<IoThread> thread, HttpShared& shared)
      : channel_(std::move(channel)),
        facts_(std::move(facts)),
        thread_(std::move(thread)),
        shared_(shared) {
    ++shared_.connections;
  }
  ~HttpConnection() { --shared_.connections; }

  void start();
  void tick();
  void drain();  // Closes where no request is under way.
  void cut();

  // For Turn.
  void write_head(int status, const HttpHeaders& headers, std::optional<int64_t> length,
                  bool chunked);
  void write(std::string_view bytes);
  void answered();
  void flush();
  int64_t unsent_bytes() const {
    return static_cast<int64_t>(out_.size() + writing_.size() - written_);
  }
  // The client does not read what it is sent: whoever writes, or parses its next requests, waits.
  bool is_behind() const { return unsent_bytes() > shared_.limits.unsent_high_bytes; }

 private:
  enum class Phase { kHandshake, kHeader, kBody, kAnswering, kFlushing, kLingering, kClosed };
  using Parser = http::request_parser<http::string_body>;

  void enter(Phase phase) {
    phase_ = phase;
    phase_begin_ = HttpClock::now();
  }
  void begin_request();
  void begin_header();
  void read();
  void on_read(error_code ec, size_t count);
  void end_input();
  void end_unasked();
  void parse();
  bool accept_header();
  bool count_body();
  void release_body();
  HttpRequest make_request() const;
  void dispatch();
  void refuse(int status, std::string_view message);
  void refuse(HttpResponse response);
  void begin_flush();
  void write_more();
  void catch_up();
  void on_written(error_code ec, size_t count);
  void linger();
  void lose_turn();
  std::optional<Refusal> lateness() const;

  std::unique_ptr<ByteChannel> channel_;
  ConnectionFacts facts_;
  std::shared_ptr<IoThread> thread_;
  HttpShared& shared_;
  Phase phase_ = Phase::kHandshake;
  HttpClock::time_point phase_begin_ = HttpClock::now(), last_written_ = phase_begin_;
  std::optional<Parser> parser_;
  std::shared_ptr<Turn> turn_;
  std::string in_;  // read, not yet parsed
  char chunk_[kReadBytes];
  std::string out_, writing_;  // to be written; being written, its first written_ bytes gone
  size_t written_ = 0;
  int64_t body_bytes_ = 0, lingered_bytes_ = 0;
  bool reading_ = false, was_high_ = false;
  bool input_over_ = false;                   // The client sends no more: half-closed, or gone.
  bool first_ = true, header_begun_ = false;  // the connection's first request; its first byte came
  bool keep_alive_ = true, http10_ = false, head_ = false;
  std::string id_;
  std::optional<HttpResponse> screened_;  // the answer to a request refused by its header alone
};

// ---- Turn

void Turn::send(HttpResponse response) {
  if (connection_ == nullptr) return;
  connection_->write_head(response.status, response.headers,
                          static_cast<int64_t>(response.body.size()), false);
  connection_->write(response.body);
  complete();
}

void Turn::begin_stream(int status, HttpHeaders headers) {
  if (connection_ == nullptr) return;
  streaming_ = true;
  connection_->write_head(status, headers, std::nullopt, chunked_);
}

void Turn::write(std::string_view bytes) {
  if (connection_ == nullptr || bytes.empty()) return;
  if (chunked_) connection_->write(fmt::format("{:x}\r\n", bytes.size()));
  connection_->write(bytes);
  if (chunked_) connection_->write("\r\n");
}

void Turn::end() {
  if (connection_ == nullptr) return;
  if (chunked_) connection_->write("0\r\n\r\n");
  complete();
}

void Turn::abort() {
  if (connection_ != nullptr) connection_->cut();
}

void Turn::complete() {
  listener_ = nullptr;
  std::exchange(connection_, nullptr)->answered();
}

int64_t Turn::unsent_bytes() const {
  return connection_ == nullptr ? 0 : connection_->unsent_bytes();
}

bool Turn::above_high_mark() const { return connection_ != nullptr && connection_->is_behind(); }

void Turn::run_wake() {
  woken_ = false;
  const auto self = shared_from_this();
  const auto connection = connection_ == nullptr ? nullptr : connection_->shared_from_this();
  if (const auto listener = listener_) listener->on_wake();
  if (connection) connection->flush();
}

// ---- HttpConnection: reading

void HttpConnection::start() {
  channel_->start([self = shared_from_this()](error_code ec) {
    if (ec) return self->cut();
    if (self->phase_ == Phase::kClosed) return;
    self->begin_request();
    self->read();
  });
}

void HttpConnection::begin_request() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(shared_.limits.header_bytes_max));
  parser_->body_limit(static_cast<uint64_t>(shared_.limits.body_bytes_max));
  header_begun_ = false;
  body_bytes_ = 0;
  enter(Phase::kHeader);
}

// The header's time runs from its first byte, not through the idleness before it; of the first
// request from the connection's begin.
void HttpConnection::begin_header() {
  header_begun_ = true;
  if (!first_) enter(Phase::kHeader);
}

void HttpConnection::read() {
  if (reading_ || input_over_ || phase_ == Phase::kClosed) return;
  if (in_.size() >= kAheadBytesMax && (phase_ == Phase::kAnswering || is_behind())) return;
  reading_ = true;
  channel_->read_some(boost::asio::buffer(chunk_),
                      [self = shared_from_this()](error_code ec, size_t count) {
                        self->reading_ = false;
                        self->on_read(ec, count);
                      });
}

void HttpConnection::on_read(error_code ec, size_t count) {
  if (phase_ == Phase::kClosed) return;
  if (ec == boost::asio::error::eof) return end_input();
  if (ec) return cut();
  if (phase_ == Phase::kLingering) {
    lingered_bytes_ += static_cast<int64_t>(count);
    if (lingered_bytes_ > kLingerBytesMax) return cut();
  } else if (phase_ != Phase::kFlushing) {
    in_.append(chunk_, count);
    parse();
    flush();
  }
  read();
}

// The client has closed its side, or all of it: what it asked is answered, and where nobody is left
// to take that, writing it breaks the connection.
void HttpConnection::end_input() {
  if (phase_ == Phase::kLingering) return cut();
  input_over_ = true;
  channel_->wait_broken([self = shared_from_this()] { self->cut(); });
  if (const auto turn = turn_) turn->end_input();
  parse();
  flush();
}

// Where the input ended and no whole request is left in it.
void HttpConnection::end_unasked() {
  if (!input_over_ || is_behind() || (phase_ != Phase::kHeader && phase_ != Phase::kBody)) return;
  if (phase_ == Phase::kBody || header_begun_) return refuse(400, "the request ends too early");
  keep_alive_ = false;
  begin_flush();
}

void HttpConnection::parse() {
  while ((phase_ == Phase::kHeader || phase_ == Phase::kBody) && !in_.empty() && !is_behind()) {
    if (phase_ == Phase::kHeader && !header_begun_) begin_header();
    if (phase_ == Phase::kBody && parser_->chunked() && in_.size() < kChunkedBytesMin) break;
    error_code ec;
    const size_t used = parser_->put(boost::asio::buffer(in_), ec);
    in_.erase(0, used);
    if (ec && ec != http::error::need_more) {
      const Refusal refusal = refusal_of(ec);
      return refuse(refusal.status, refusal.message);
    }
    if (phase_ == Phase::kHeader && parser_->is_header_done()) {
      if (!accept_header()) return;
      enter(Phase::kBody);
    }
    if (phase_ == Phase::kBody && !count_body()) return;
    if (parser_->is_done()) return dispatch();
    if (ec == http::error::need_more) break;
  }
  end_unasked();
}

HttpRequest HttpConnection::make_request() const {
  const auto& message = parser_->get();
  HttpRequest out;
  const auto method = message.method_string();
  out.method.assign(method.data(), method.size());
  set_target(out, {message.target().data(), message.target().size()});
  for (const auto& field : message) {
    const auto name = field.name_string();
    const auto value = field.value();
    out.headers.emplace_back(lower({name.data(), name.size()}),
                             std::string(value.data(), value.size()));
  }
  out.peer = facts_.peer;
  out.loopback = facts_.loopback;
  out.tls = facts_.tls;
  out.id = id_;
  return out;
}

// False where the request is refused by its header.
bool HttpConnection::accept_header() {
  first_ = false;
  const auto& message = parser_->get();
  http10_ = message.version() < 11;
  head_ = message.method() == http::verb::head;
  keep_alive_ = message.keep_alive() && !shared_.draining;
  const auto given = message.find("X-Request-Id");
  id_ = given == message.end() ? "" : std::string(given->value().data(), given->value().size());
  if (!is_sound_id(id_)) id_ = fmt::format("req-{:x}", ++shared_.next_id + 0x100000);
  if (!http10_ && message.count(http::field::host) != 1) {
    refuse(400, "a request of HTTP/1.1 has one Host header");
    return false;
  }
  if (std::optional<HttpResponse> answer = shared_.handler.screen(make_request())) {
    if (!parser_->is_done()) {  // Its body will not be read.
      refuse(std::move(*answer));
      return false;
    }
    screened_ = std::move(answer);
  }
  const auto expect = message.find(http::field::expect);
  if (expect == message.end() || parser_->is_done()) return true;
  const auto value = expect->value();
  if (lower({value.data(), value.size()}) != "100-continue") {
    refuse(417, "the Expect header asks for something other than 100-continue");
    return false;
  }
  write("HTTP/1.1 100 Continue\r\n\r\n");
  return true;
}

// All bodies together have a limit too.
bool HttpConnection::count_body() {
  const auto bytes = static_cast<int64_t>(parser_->get().body().size());
  shared_.bodies_bytes += bytes - std::exchange(body_bytes_, bytes);
  if (shared_.bodies_bytes <= shared_.limits.bodies_bytes_max) return true;
  refuse(503, "too many large requests at once; try again later");
  return false;
}

void HttpConnection::release_body() { shared_.bodies_bytes -= std::exchange(body_bytes_, 0); }

void HttpConnection::dispatch() {
  if (const auto answer = std::exchange(screened_, std::nullopt)) {
    ++shared_.exchanges;
    enter(Phase::kAnswering);
    write_head(answer->status, answer->headers, static_cast<int64_t>(answer->body.size()), false);
    write(answer->body);
    return answered();
  }
  HttpRequest request = make_request();
  request.body = std::move(parser_->get().body());
  release_body();
  parser_.reset();
  ++shared_.exchanges;
  enter(Phase::kAnswering);
  turn_ = std::make_shared<Turn>(*this, thread_, std::move(request), !http10_ && !head_);
  const auto turn = turn_;  // answered() drops ours.
  try {
    shared_.handler.handle(turn);
  } catch (const std::exception& error) {
    log_line(LogLevel::kError, fmt::format("{} ({})", error.what(), turn->request().id));
    if (unsent_bytes() == 0) {
      turn->send(shared_.handler.refusal(500, "an unexpected failure; the log says more"));
    } else {
      cut();
    }
  }
}

void HttpConnection::refuse(int status, std::string_view message) {
  refuse(shared_.handler.refusal(status, message));
}

void HttpConnection::refuse(HttpResponse response) {
  ++shared_.refused;
  release_body();
  keep_alive_ = false;
  in_.clear();
  write_head(response.status, response.headers, static_cast<int64_t>(response.body.size()), false);
  write(response.body);
  begin_flush();
}

// ---- HttpConnection: writing

void HttpConnection::write_head(int status, const HttpHeaders& headers,
                                std::optional<int64_t> length, bool chunked) {
  if (!length && http10_) keep_alive_ = false;  // Its end is the connection's.
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nServer: dure\r\n", status, http_reason(status));
  for (const auto& [name, value] : headers) head += fmt::format("{}: {}\r\n", name, value);
  if (!id_.empty()) head += fmt::format("X-Request-Id: {0}\r\nRequest-Id: {0}\r\n", id_);
  const bool bodiless = status == 204 || status == 304;
  if (length && !bodiless) head += fmt::format("Content-Length: {}\r\n", *length);
  if (chunked) head += "Transfer-Encoding: chunked\r\n";
  if (!keep_alive_) {
    head += "Connection: close\r\n";
  } else if (http10_) {
    head += "Connection: keep-alive\r\n";
  }
  out_ += head;
  out_ += "\r\n";
}

void HttpConnection::write(std::string_view bytes) {
  const bool interim = phase_ == Phase::kHeader || phase_ == Phase::kBody;
  if (head_ && !interim) return;  // The head alone answers a HEAD.
  out_ += bytes;
  if (unsent_bytes() > shared_.limits.unsent_bytes_max) cut();
}

void HttpConnection::flush() {
  if (phase_ == Phase::kClosed || !writing_.empty() || out_.empty()) return;
  std::swap(writing_, out_);
  written_ = 0;
  was_high_ = was_high_ || is_behind();
  last_written_ = HttpClock::now();
  write_more();
}

void HttpConnection::write_more() {
  channel_->write_some(
      boost::asio::buffer(writing_.data() + written_, writing_.size() - written_),
      [self = shared_from_this()](error_code ec, size_t count) { self->on_written(ec, count); });
}

void HttpConnection::on_written(error_code ec, size_t count) {
  if (phase_ == Phase::kClosed) return;
  if (ec) return cut();
  last_written_ = HttpClock::now();
  written_ += count;
  if (written_ < writing_.size()) return write_more();
  writing_.clear();
  written_ = 0;
  if (was_high_ && !is_behind()) catch_up();
  was_high_ = is_behind();
  flush();
  if (writing_.empty() && phase_ == Phase::kFlushing) linger();
}

// The client has read: whoever waited for that goes on.
void HttpConnection::catch_up() {
  if (const auto turn = turn_) return turn->drained();
  parse();
  read();
}

// The answer is whole (its bytes may still be on their way).
void HttpConnection::answered() {
  turn_ = nullptr;
  --shared_.exchanges;
  if (phase_ == Phase::kClosed) return;
  if (!keep_alive_ || shared_.draining) {
    keep_alive_ = false;
    return begin_flush();
  }
  begin_request();
  boost::asio::post(thread_->context, [self = shared_from_this()] {
    self->parse();  // What was sent ahead.
    self->flush();
    self->read();
  });
}

void HttpConnection::begin_flush() {
  enter(Phase::kFlushing);
  flush();
  if (writing_.empty()) linger();
}

// A socket closed with bytes unread takes the answer with it: the client gets a moment to read.
void HttpConnection::linger() {
  if (input_over_) return cut();  // Nothing is unread.
  enter(Phase::kLingering);
  channel_->shutdown_send();
  read();
}

void HttpConnection::lose_turn() {
  if (const auto turn = std::exchange(turn_, nullptr)) {
    --shared_.exchanges;
    turn->lose();
  }
}

void HttpConnection::cut() {
  if (phase_ == Phase::kClosed) return;
  const auto self = shared_from_this();
  enter(Phase::kClosed);
  release_body();
  channel_->close();
  // Whoever is in the middle of the turn's code may not be called back from inside it.
  boost::asio::post(thread_->context, [self] { self->lose_turn(); });
  thread_->connections.erase(self);
}

void HttpConnection::drain() {
  if (phase_ == Phase::kHandshake || phase_ == Phase::kHeader) return cut();
  keep_alive_ = false;
}

// ---- HttpConnection: time

std::optional<Refusal> HttpConnection::lateness() const {
  const HttpLimits& l = shared_.limits;
  const double spent = seconds_since(phase_begin_);
  if (phase_ == Phase::kHeader && spent > l.header_seconds && header_begun_)
    return Refusal{408, "the request's header did not arrive in time"};
  const double allowed =
      l.body_grace_seconds + static_cast<double>(body_bytes_) / l.body_bytes_per_second_min;
  if (phase_ == Phase::kBody && spent > allowed)
    return Refusal{408, "the request's body did not arrive in time"};
  return std::nullopt;
}

void HttpConnection::tick() {
  const HttpLimits& l = shared_.limits;
  if (const std::optional<Refusal> late = lateness()) return refuse(late->status, late->message);
  const double spent = seconds_since(phase_begin_);
  const double patience = first_ ? l.header_seconds : l.idle_seconds;
  const bool waiting = phase_ == Phase::kHandshake || phase_ == Phase::kHeader;
  if (waiting && spent > patience) return cut();
  if (phase_ == Phase::kLingering && spent > l.linger_seconds) return cut();
  if (unsent_bytes() > 0 && seconds_since(last_written_) > l.write_seconds) return cut();
  if (const auto turn = turn_) {
    turn->tick();
    if (input_over_) turn->end_input();  // For one that listens since.
  }
  flush();
}

void open_connection(std::unique_ptr<ByteChannel> channel, ConnectionFacts facts,
                     std::shared_ptr<IoThread> thread, HttpShared& shared) {
  IoThread& place = *thread;
  if (place.is_stopping()) return;  // Accepted before; nobody would cut it.
  auto connection = std::make_shared<HttpConnection>(std::move(channel), std::move(facts),
                                                     std::move(thread), shared);
  place.connections.insert(connection);
  connection->start();
}

// ---- IoThread

void IoThread::start() {
  guard_.emplace(context.get_executor());
  tick();
  thread_ = std::thread([this] { context.run(); });
}

void IoThread::tick() {
  timer_.expires_after(kTick);
  timer_.async_wait([this](error_code ec) {
    // Stopped after the timer had ended: too late to be cancelled. Another round would keep the
    // loop, and whoever joins it, for ever.
    if (ec || is_stopping()) return;
    const auto now = std::vector(connections.begin(), connections.end());
    for (const auto& connection : now) connection->tick();
    tick();
  });
}

void IoThread::wake(std::shared_ptr<WokenExchange> exchange) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  woken_.push_back(std::move(exchange));
  if (woken_.size() == 1) boost::asio::post(context, [this] { run_woken(); });
}

void IoThread::run_woken() {
  std::vector<std::shared_ptr<WokenExchange>> now;
  {
    const std::lock_guard lock(mutex_);
    now.swap(woken_);
  }
  for (const auto& exchange : now) exchange->run_wake();
}

void IoThread::drain() {
  boost::asio::post(context, [this] {
    const auto now = std::vector(connections.begin(), connections.end());
    for (const auto& connection : now) connection->drain();
  });
}

void IoThread::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  boost::asio::post(context, [this] {
    const auto now = std::vector(connections.begin(), connections.end());
    for (const auto& connection : now) connection->cut();
    timer_.cancel();
    guard_.reset();
  });
  thread_.join();
  woken_.clear();
}

}  // namespace dure
