// How fast does a server answer many clients at once? Any with OpenAI's /v1/completions, over http:
// streams that each ask one request after the other, timed where a client stands.
//   bench_serve URL [--model NAME] [--name NAME] [--streams 1,8,64] [--load uniform|mixed]
//     [--tokens 64] [--requests 4] [--words 250] [--ids VOCAB] [--api-key KEY] [--json FILE]
// uniform: short prompts, `tokens` tokens each. mixed: half the prompts short, a quarter long
// (`words`), a quarter with a beginning shared by all; 16 to `tokens` tokens; one of eight not
// streamed, one of sixteen left after eight tokens. The first round warms up and is not counted.
#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "base/rng.h"
#include "bench_main.h"
#include "timing.h"

namespace dure {
namespace {

struct Options {
  std::string host, port = "80", path, model = "x", name = "server", load = "uniform", key, json;
  std::vector<int64_t> streams = {1, 8, 64};
  int64_t tokens = 64, requests = 4, words = 250, ids = 0;
};

// ---- One connection

class Connection {
 public:
  explicit Connection(const Options& options) : options_(options) {}
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Sends a request and reads the answer's head; the status.
  int post(const std::string& body) {
    const bool kept = fd_ >= 0;
    if (!kept) connect();
    const std::string request = fmt::format(
        "POST {}/v1/completions HTTP/1.1\r\nHost: {}:{}\r\nContent-Type: application/json\r\n{}"
        "Content-Length: {}\r\n\r\n{}",
        options_.path, options_.host, options_.port,
        options_.key.empty() ? "" : "Authorization: Bearer " + options_.key + "\r\n", body.size(),
        body);
    // A kept connection may have been closed meanwhile; a new one may not.
    if ((!send(request) || !receive()) && kept) {
      close();
      connect();
      send(request);
    }
    return read_head();
  }
  // A line of the body without its end; nothing: it is over.
  std::optional<std::string> line() {
    for (;;) {
      const size_t end = body_.find('\n');
      if (end != std::string::npos || over_) {
        if (over_ && last_) close();
        if (body_.empty()) return std::nullopt;
        std::string out = body_.substr(0, end);
        body_.erase(0, end == std::string::npos ? end : end + 1);
        return out;
      }
      more();
    }
  }
  std::string rest() {
    while (!over_) more();
    if (last_) close();
    return std::exchange(body_, {});
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    raw_.clear();
  }

 private:
  void connect() {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo* found = nullptr;
    if (::getaddrinfo(options_.host.c_str(), options_.port.c_str(), &hints, &found) != 0)
      fail(ErrorCode::kInvalidArgument, "{}: no such host", options_.host);
    for (const addrinfo* a = found; a != nullptr && fd_ < 0; a = a->ai_next) {
      fd_ = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
      if (::connect(fd_, a->ai_addr, a->ai_addrlen) != 0) close();
    }
    ::freeaddrinfo(found);
    if (fd_ < 0)
      fail(ErrorCode::kUnavailable, "{}:{}: nobody listens there", options_.host, options_.port);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  bool send(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  bool receive() {
    char buffer[1 << 14];
    const ssize_t n = ::recv(fd_, buffer, sizeof(buffer), 0);
    if (n > 0) raw_.append(buffer, static_cast<size_t>(n));
    return n > 0;
  }
  void need_more() {
    if (!receive()) fail(ErrorCode::kUnavailable, "the server closed a connection in mid-answer");
  }
  int read_head() {
    body_.clear();
    over_ = false;
    size_t end = 0;
    while ((end = raw_.find("\r\n\r\n")) == std::string::npos) need_more();
    std::string head = raw_.substr(0, end);
    raw_.erase(0, end + 4);
    for (char& c : head) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    chunked_ = head.find("transfer-encoding: chunked") != std::string::npos;
    const size_t length = head.find("content-length:");
    left_ = length == std::string::npos ? 0 : std::atol(head.c_str() + length + 15);
    last_ = head.find("connection: close") != std::string::npos;
    over_ = !chunked_ && left_ == 0;
    return std::atoi(head.c_str() + 9);
  }
  // Some more of the body.
  void more() {
    if (!chunked_) {
      if (raw_.empty()) need_more();
      const size_t taken = std::min(raw_.size(), static_cast<size_t>(left_));
      body_.append(raw_, 0, taken);
      raw_.erase(0, taken);
      left_ -= static_cast<int64_t>(taken);
      over_ = left_ == 0;
      return;
    }
    size_t end = 0;
    while ((end = raw_.find("\r\n")) == std::string::npos) need_more();
    size_t size = 0;
    std::from_chars(raw_.data(), raw_.data() + end, size, 16);
    while (raw_.size() < end + 2 + size + 2) need_more();
    body_.append(raw_, end + 2, size);
    raw_.erase(0, end + 2 + size + 2);
    over_ = size == 0;
  }

  const Options& options_;
  int fd_ = -1;
  std::string raw_, body_;
  int64_t left_ = 0;
  bool chunked_ = false, over_ = true, last_ = false;  // last_: it is closed behind this answer
};

// ---- What is asked

struct Asked {
  std::string body;
  bool stream = true, leaves = false;
};

class Load {
 public:
  explicit Load(const Options& options) : options_(options) {}

  Asked request(int64_t stream, int64_t index) const {
    Rng rng(7, static_cast<uint64_t>(stream), static_cast<uint64_t>(index) * 100000);
    Asked out;
    int64_t tokens = options_.tokens;
    std::string prompt = fmt::format("{}+{}=? ", stream, index + 3);
    if (options_.load == "mixed") {
      const int64_t kind = rng.below(4);
      if (kind == 0) prompt += words(rng, options_.words);
      if (kind == 1) {
        Rng shared(5);
        prompt = words(shared, options_.words / 2) + prompt;
      }
      tokens = rng.between(std::min<int64_t>(16, tokens), tokens);
      out.stream = rng.below(8) != 0;
      out.leaves = out.stream && rng.below(16) == 0;
    }
    Json body = parse_json("{}", "request");
    body["model"] = options_.model;
    body["prompt"] = options_.ids > 0 ? ids(rng, prompt.size() / 4 + 1) : Json(prompt);
    body["max_tokens"] = tokens;
    body["temperature"] = 1.0;
    body["seed"] = stream * 1000 + index;
    body["ignore_eos"] = true;
    body["stream"] = out.stream;
    if (out.stream) body["stream_options"] = parse_json(R"({"include_usage":true})", "request");
    out.body = body.dump();
    return out;
  }

 private:
  static std::string words(Rng& rng, int64_t count) {
    static constexpr const char* kWords[] = {"the ",   "village ", "shares ", "work ", "and ",
                                             "seven ", "of ",      "water ",  "in ",   "is "};
    std::string out;
    for (int64_t i = 0; i < count; ++i) out += kWords[rng.below(std::size(kWords))];
    return out;
  }
  Json ids(Rng& rng, size_t count) const {
    Json out = parse_json("[]", "prompt");
    for (size_t i = 0; i < count; ++i) out.push_back(rng.below(options_.ids));
    return out;
  }
  const Options& options_;
};

// ---- What is measured

struct Measured {
  std::vector<double> first_ms, gaps_ms, whole_ms;
  int64_t requests = 0, left = 0, refused = 0, tokens = 0, prompt_tokens = 0;

  void add(const Measured& m) {
    first_ms.insert(first_ms.end(), m.first_ms.begin(), m.first_ms.end());
    gaps_ms.insert(gaps_ms.end(), m.gaps_ms.begin(), m.gaps_ms.end());
    whole_ms.insert(whole_ms.end(), m.whole_ms.begin(), m.whole_ms.end());
    requests += m.requests;
    left += m.left;
    refused += m.refused;
    tokens += m.tokens;
    prompt_tokens += m.prompt_tokens;
  }
};

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return NAN;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

void add_usage(const Json& answer, int64_t chunks, Measured& out) {
  const Json* usage = answer.find("usage");
  if (usage == nullptr || usage->is_null()) {
    out.tokens += chunks;
    return;
  }
  out.tokens += usage->at("completion_tokens").as_int();
  out.prompt_tokens += usage->at("prompt_tokens").as_int();
}

// Reads a stream; a client that leaves does so after eight events with text.
void read_stream(Connection& connection, const Asked& asked, double begin, Measured& out) {
  double last = 0;
  int64_t chunks = 0;
  Json usage;
  while (const std::optional<std::string> line = connection.line()) {
    if (!line->starts_with("data: {")) continue;
    const double now = now_s();
    Json event = parse_json(line->substr(6), "event");
    const Json* choices = event.find("choices");
    if (event.find("usage") != nullptr && !event.at("usage").is_null()) usage = event;
    if (choices == nullptr || choices->size() == 0) continue;
    if (choices->at(size_t{0}).at("text").as_string().empty()) continue;
    if (chunks++ == 0) {
      out.first_ms.push_back((now - begin) * 1e3);
    } else {
      out.gaps_ms.push_back((now - last) * 1e3);
    }
    last = now;
    if (asked.leaves && chunks == 8) {
      ++out.left;
      out.tokens += chunks;
      return connection.close();
    }
  }
  if (usage.is_null()) {
    out.tokens += chunks;
  } else {
    add_usage(usage, chunks, out);
  }
}

void ask(Connection& connection, const Asked& asked, Measured& out) {
  const double begin = now_s();
  ++out.requests;
  if (const int status = connection.post(asked.body); status != 200) {
    const std::string why = connection.rest();
    if (status != 429 && status != 503) {
      fail(ErrorCode::kInvalidArgument, "the server answered {}: {}", status, why.substr(0, 300));
    }
    ++out.refused;
    return;
  }
  if (asked.stream) {
    read_stream(connection, asked, begin, out);
  } else {
    add_usage(parse_json(connection.rest(), "answer"), 0, out);
  }
  if (!asked.leaves) out.whole_ms.push_back((now_s() - begin) * 1e3);
}

// All streams at once, from request `first` on.
Measured run_round(const Options& options, int64_t streams, int64_t first, int64_t count) {
  const Load load(options);
  Measured all;
  std::mutex mutex;
  std::optional<Error> error;
  std::vector<std::thread> threads;
  for (int64_t s = 0; s < streams; ++s) {
    threads.emplace_back([&, s] {
      Measured mine;
      try {
        Connection connection(options);
        for (int64_t i = first; i < first + count; ++i) ask(connection, load.request(s, i), mine);
      } catch (const Error& e) {
        const std::lock_guard lock(mutex);
        error = e;
      }
      const std::lock_guard lock(mutex);
      all.add(mine);
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (error) throw *error;
  return all;
}

// ---- What is said

Json number(double value) { return std::isnan(value) ? Json() : Json(value); }

void say(const Options& options, int64_t streams, const Measured& m, double seconds,
         std::ofstream* json) {
  const double rate = static_cast<double>(m.tokens) / seconds;
  const double first50 = percentile(m.first_ms, 0.5), first99 = percentile(m.first_ms, 0.99);
  const double gap50 = percentile(m.gaps_ms, 0.5), gap99 = percentile(m.gaps_ms, 0.99);
  fmt::print("{:<14} {:<8} {:>7} {:>9.0f} {:>9.1f} {:>8.1f} {:>8.1f} {:>8.2f} {:>8.2f}\n",
             options.name, options.load, streams, rate, static_cast<double>(m.requests) / seconds,
             first50, first99, gap50, gap99);
  std::fflush(stdout);
  if (json == nullptr) return;
  Json line = parse_json("{}", "line");
  line["server"] = options.name;
  line["load"] = options.load;
  line["streams"] = streams;
  line["seconds"] = seconds;
  line["requests"] = m.requests;
  line["left"] = m.left;
  line["refused"] = m.refused;
  line["tokens"] = m.tokens;
  line["prompt_tokens"] = m.prompt_tokens;
  line["tokens_per_second"] = rate;
  line["first_p50_ms"] = number(first50);
  line["first_p99_ms"] = number(first99);
  line["between_p50_ms"] = number(gap50);
  line["between_p99_ms"] = number(gap99);
  line["whole_p50_ms"] = number(percentile(m.whole_ms, 0.5));
  *json << line.dump() << "\n" << std::flush;
}

// "http://host:port/path", where a client's base may end in /v1.
void read_url(std::string url, Options& out) {
  if (!url.starts_with("http://"))
    fail(ErrorCode::kInvalidArgument, "{}: give an address that begins with http://", url);
  url.erase(0, 7);
  const size_t slash = url.find('/');
  if (slash != std::string::npos) out.path = url.substr(slash);
  while (out.path.ends_with('/')) out.path.pop_back();
  if (out.path.ends_with("/v1")) out.path.resize(out.path.size() - 3);
  out.host = url.substr(0, slash);
  if (const size_t colon = out.host.rfind(':'); colon != std::string::npos) {
    out.port = out.host.substr(colon + 1);
    out.host.resize(colon);
  }
}

int64_t count_of(const std::string& flag, const std::string& value) {
  int64_t out = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  if (error != std::errc{} || end != value.data() + value.size() || out < 1)
    fail(ErrorCode::kInvalidArgument, "{} {}: give a whole number above 0", flag, value);
  return out;
}

void read_flag(const std::string& flag, const std::string& value, Options& out) {
  if (flag == "--model") {
    out.model = value;
  } else if (flag == "--name") {
    out.name = value;
  } else if (flag == "--api-key") {
    out.key = value;
  } else if (flag == "--json") {
    out.json = value;
  } else if (flag == "--load") {
    if (value != "uniform" && value != "mixed")
      fail(ErrorCode::kInvalidArgument, "--load {}: give uniform or mixed", value);
    out.load = value;
  } else if (flag == "--streams") {
    out.streams.clear();
    for (size_t at = 0; at <= value.size();) {
      const size_t comma = std::min(value.find(',', at), value.size());
      out.streams.push_back(count_of(flag, value.substr(at, comma - at)));
      at = comma + 1;
    }
  } else if (flag == "--tokens") {
    out.tokens = count_of(flag, value);
  } else if (flag == "--requests") {
    out.requests = count_of(flag, value);
  } else if (flag == "--words") {
    out.words = count_of(flag, value);
  } else if (flag == "--ids") {
    out.ids = count_of(flag, value);
  } else {
    fail(ErrorCode::kInvalidArgument, "{}: no such flag; the file's first lines list them", flag);
  }
}

Options read_options(int argc, char** argv) {
  Options out;
  if (argc < 2) fail(ErrorCode::kInvalidArgument, "give the server's address: http://HOST:PORT");
  read_url(argv[1], out);
  for (int i = 2; i < argc; i += 2) {
    if (i + 1 == argc) fail(ErrorCode::kInvalidArgument, "{}: give it a value", argv[i]);
    read_flag(argv[i], argv[i + 1], out);
  }
  return out;
}

int run(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  std::optional<std::ofstream> json;
  if (!options.json.empty()) json.emplace(options.json, std::ios::app);
  fmt::print("{:<14} {:<8} {:>7} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8}\n", "server", "load",
             "streams", "tokens/s", "requests/s", "first50", "first99", "gap50", "gap99 ms");
  for (const int64_t streams : options.streams) {
    run_round(options, streams, 0, 1);
    const double begin = now_s();
    const Measured measured = run_round(options, streams, 1, options.requests);
    say(options, streams, measured, now_s() - begin, json ? &*json : nullptr);
  }
  return 0;
}

}  // namespace
}  // namespace dure

int main(int argc, char** argv) { return dure::bench_main(dure::run, argc, argv, "bench_serve: "); }
