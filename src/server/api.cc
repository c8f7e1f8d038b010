// The table of routes, the checks before any of them, and the way of a request to its answer.
#include "server/api.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <random>
#include <thread>

#include "base/log.h"
#include "server/answer_fields.h"
#include "server/answering.h"
#include "server/api_call.h"
#include "server/prefix_salt.h"
#include "server/prepare.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

// Above this a body is read on a worker's thread: the others' streams go on meanwhile.
constexpr size_t kInlineBodyBytesMax = 32 << 10;

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// "/v1/models/" and "/models" are one.
std::string plain_path(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path == "/v1") return "/";
  if (path.starts_with("/v1/")) path.erase(0, 3);
  return path;
}

ApiStyle style_of(const HttpRequest& request) {
  return plain_path(request.path).starts_with("/messages") ? ApiStyle::kAnthropic
                                                           : ApiStyle::kOpenAi;
}

// Of "localhost:8000", "[::1]:8000": without the port, in lower case.
std::string host_name(const std::string& host) {
  const size_t bracket = host.find(']');
  if (host.starts_with('[') && bracket != std::string::npos)
    return lower(host.substr(0, bracket + 1));
  return lower(host.substr(0, host.find(':')));
}

bool is_this_machine(const std::string& name) {
  return name == "localhost" || name.ends_with(".localhost") || name == "[::1]" ||
         name.starts_with("127.");
}

// Names under which containers reach the machine they run on.
bool is_container_host(const std::string& name) {
  return name == "host.docker.internal" || name == "host.containers.internal";
}

// Takes as long for any text of any length that is wrong.
bool same_secret(std::string_view given, std::string_view key) {
  unsigned difference = static_cast<unsigned>(given.size() != key.size());
  for (size_t i = 0; i < given.size(); ++i) {
    const char other = key.empty() ? '\0' : key[i % key.size()];
    difference |= static_cast<unsigned>(static_cast<unsigned char>(given[i] ^ other));
  }
  return difference == 0;
}

// Of those that there are: a label must not grow with what clients invent.
std::string method_label(const std::string& method) {
  for (const char* known : {"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"}) {
    if (method == known) return method;
  }
  return "other";
}

// What curl -d calls a form is JSON all the same; a missing type is forgotten, not wrong.
bool may_be_json(const HttpRequest& request) {
  const std::string* given = request.header("content-type");
  if (given == nullptr) return true;
  const std::string type = lower(given->substr(0, given->find(';')));
  return type.empty() || type.find("json") != std::string::npos || type == "text/plain" ||
         type == "application/x-www-form-urlencoded";
}

// More at once than the queue can ever hold would be refused as busy again and again.
void check_count(size_t choices, const EngineThreadOptions& engine) {
  const int64_t most = engine.generator.sequences_max + engine.waiting_requests_max;
  if (static_cast<int64_t>(choices) <= most) return;
  throw bad_field("prompt",
                  fmt::format("{} answers are asked for at once; at most {} can be (fewer "
                              "prompts, or a smaller n)",
                              choices, most));
}

}  // namespace

// Two threads for what would hold an exchange's thread up: long prompts, scoring.
class Api::Workers {
 public:
  Workers() {
    for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { run(); });
  }
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  void post(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));  // At most one an exchange, and those are bounded.
    }
    wake_.notify_one();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
      if (stopped_) return;
      const std::function<void()> work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      work();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool stopped_ = false;
  std::vector<std::thread> threads_;
};

namespace {

// Waits for a worker; its continuation then runs on the exchange's thread.
class Later final : public ExchangeListener {
 public:
  void set(std::function<void()> then) {
    const std::lock_guard lock(mutex_);
    then_ = std::move(then);
  }
  void on_wake() override {
    std::function<void()> then;
    {
      const std::lock_guard lock(mutex_);
      then.swap(then_);
    }
    if (then) then();
  }
  void on_closed() override {}

 private:
  std::mutex mutex_;
  std::function<void()> then_;
};

}  // namespace

const std::vector<Api::Route>& Api::routes() {
  static const std::vector<Route> table = {
      {"/", "GET", &Api::page, Route::kOpen, Route::kNothing},
      {"/page/", "GET", &Api::page_part, Route::kOpen, Route::kNothing},
      {"/dure/engine", "GET", &Api::engine_state, Route::kKey, Route::kNothing},
      {"/dure/runs", "GET", &Api::runs, Route::kKey, Route::kNothing},
      {"/dure/runs/", "GET", &Api::run, Route::kKey, Route::kNothing},
      {"/health", "GET", &Api::health, Route::kOpen, Route::kNothing},
      {"/ping", "GET", &Api::health, Route::kOpen, Route::kNothing},
      {"/version", "GET", &Api::version, Route::kOpen, Route::kNothing},
      {"/metrics", "GET", &Api::metrics, Route::kKey, Route::kNothing},
      {"/props", "GET", &Api::props, Route::kKey, Route::kModel},
      {"/slots", "GET", &Api::slots, Route::kKey, Route::kModel},
      {"/models", "GET", &Api::models, Route::kKey, Route::kModel},
      {"/models/", "GET", &Api::model, Route::kKey, Route::kModel},
      {"/tokenizer_info", "GET", &Api::tokenizer_info, Route::kKey, Route::kModel},
      {"/tokenize", "POST", &Api::tokenize, Route::kKey, Route::kModel},
      {"/detokenize", "POST", &Api::detokenize, Route::kKey, Route::kModel},
      {"/apply-template", "POST", &Api::apply_template, Route::kKey, Route::kModel},
      {"/embeddings", "POST", &Api::embeddings, Route::kKey, Route::kNothing},
      {"/chat/completions", "POST", nullptr, Route::kKey, Route::kModel},
      {"/completions", "POST", nullptr, Route::kKey, Route::kModel},
      {"/responses", "POST", nullptr, Route::kKey, Route::kModel},
      {"/responses/input_tokens", "POST", &Api::input_tokens, Route::kKey, Route::kModel},
      {"/messages", "POST", nullptr, Route::kKey, Route::kModel},
      {"/messages/count_tokens", "POST", &Api::count_tokens, Route::kKey, Route::kModel},
  };
  return table;
}

const Api::Route* Api::find_route(const std::string& path) {
  for (const Route& route : routes()) {
    const std::string_view known = route.path;
    const bool below = known.size() > 1 && known.ends_with('/') && path.starts_with(known);
    if (path == known || below) return &route;
  }
  return nullptr;
}

Api::Api(ApiOptions options)
    : options_(std::move(options)), workers_(std::make_unique<Workers>()) {}

Api::~Api() = default;

void Api::set_ready(std::shared_ptr<const ServedModel> model, EngineThread& engine) {
  const std::lock_guard lock(mutex_);
  ready_ = std::make_shared<Ready>(Ready{std::move(model), &engine});
}

void Api::set_loading_text(std::string text) {
  const std::lock_guard lock(mutex_);
  loading_ = std::move(text);
}

void Api::set_http(std::function<HttpStatistics()> statistics) {
  http_statistics_ = std::move(statistics);
}

std::shared_ptr<const Api::Ready> Api::ready() const {
  const std::lock_guard lock(mutex_);
  return ready_;
}

// ---- Who may ask

// A page of another site may not drive a server on this machine, not even blindly; nor may a name
// of another's that was pointed here (DNS rebinding).
std::optional<HttpResponse> Api::refuse_stranger(const HttpRequest& request) const {
  const std::string* host = request.header("host");
  if (request.loopback && host != nullptr) {
    const std::string name = host_name(*host);
    const bool known =
        is_this_machine(name) || is_container_host(name) ||
        std::find(options_.hosts.begin(), options_.hosts.end(), name) != options_.hosts.end();
    if (!known) {
      return api_fault(
                 403, "host_not_allowed",
                 fmt::format("the Host {} is no name of this machine; --allowed-host adds one",
                             name.substr(0, 100)))
          .response(style_of(request), request.id);
    }
  }
  const std::string* origin = request.header("origin");
  if (origin == nullptr || request.method == "GET" || request.method == "HEAD" ||
      may_come_from(request, *origin))
    return std::nullopt;
  return api_fault(403, "origin_not_allowed",
                   fmt::format("pages of {} may not ask here; --cors-origins adds them",
                               origin->substr(0, 100)))
      .response(style_of(request), request.id);
}

bool Api::may_come_from(const HttpRequest& request, const std::string& origin) const {
  const size_t scheme = origin.find("://");
  if (scheme != std::string::npos) {
    const std::string place = origin.substr(scheme + 3);
    const std::string* host = request.header("host");
    if (is_this_machine(host_name(place)) || (host != nullptr && lower(*host) == lower(place)))
      return true;
  }
  const auto& more = options_.cors_origins;
  return std::find_if(more.begin(), more.end(), [&](const std::string& known) {
           return known == "*" || known == origin;
         }) != more.end();
}

void Api::add_cors(const HttpRequest& request, HttpResponse& out) const {
  const std::string* origin = request.header("origin");
  if (origin == nullptr || !may_come_from(request, *origin)) return;
  // For the page alone, which comes from here.
  if (plain_path(request.path).starts_with("/dure/")) return;
  out.headers.emplace_back("Access-Control-Allow-Origin", *origin);
  out.headers.emplace_back("Access-Control-Expose-Headers",
                           "X-Request-Id, Request-Id, Retry-After");
  out.headers.emplace_back("Vary", "Origin");
}

HttpResponse Api::preflight(const HttpRequest& request) const {
  HttpResponse out{.status = 204};
  std::string methods;
  for (const Route& route : routes()) {
    if (plain_path(request.path) == route.path) methods = std::string(route.method) + ", ";
  }
  out.headers.emplace_back("Allow", methods + "OPTIONS");
  if (request.header("access-control-request-method") == nullptr) return out;
  out.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, OPTIONS");
  const std::string* wanted = request.header("access-control-request-headers");
  out.headers.emplace_back("Access-Control-Allow-Headers",
                           wanted != nullptr ? *wanted : "Authorization, Content-Type, x-api-key");
  out.headers.emplace_back("Access-Control-Max-Age", "600");
  return out;
}

std::optional<std::string> Api::key_of(const HttpRequest& request) const {
  if (options_.keys.empty()) return "";
  std::vector<std::string> given;
  if (const std::string* bearer = request.header("authorization")) {
    if (lower(bearer->substr(0, 7)) == "bearer ") given.push_back(bearer->substr(7));
  }
  if (const std::string* key = request.header("x-api-key")) given.push_back(*key);
  std::optional<std::string> out;
  for (const std::string& text : given) {
    for (const std::string& key : options_.keys) {
      if (same_secret(text, key)) out = key;
    }
  }
  return out;
}

// What one key's prompts began with is no other's to find, not even by how fast it is answered.
void Api::part_prefixes(const Call& call, AnsweringOptions& out) const {
  if (options_.keys_share_prefixes) return;
  const std::string key = key_of(call.request()).value_or("");
  if (key.empty()) return;
  for (AnsweringChoice& choice : out.choices)
    choice.request.prefix_salt = prefix_salt(key, std::to_string(choice.request.prefix_salt));
}

std::string Api::ticket_for(const std::string& path) const {
  constexpr size_t kTicketsMax = 64;
  std::random_device device;
  std::string word;
  for (int i = 0; i < 4; ++i) word += fmt::format("{:08x}", device());
  const std::lock_guard lock(mutex_);
  if (tickets_.size() >= kTicketsMax) tickets_.pop_front();
  tickets_.push_back({word, path, Clock::now() + std::chrono::minutes(1)});
  return word;
}

bool Api::has_ticket(const HttpRequest& request) const {
  constexpr std::string_view kName = "ticket=";
  if (request.method != "GET" || !request.query.starts_with(kName)) return false;
  const std::string_view given = std::string_view(request.query).substr(kName.size());
  const std::string path = plain_path(request.path);
  const std::lock_guard lock(mutex_);
  bool out = false;
  for (const Ticket& ticket : tickets_) {
    const bool same = same_secret(given, ticket.word);
    out |= same && ticket.path == path && ticket.until > Clock::now();
  }
  return out;
}

std::optional<HttpResponse> Api::refuse_route(const HttpRequest& request) const {
  const std::string path = plain_path(request.path);
  const auto refuse = [&](const ApiError& error) {
    return error.response(style_of(request), request.id);
  };
  const Route* at = find_route(path);
  if (at == nullptr) {
    std::string list;
    for (const Route& route : routes()) list += fmt::format(" {}", route.path);
    return refuse(api_fault(404, "not_found",
                            fmt::format("there is nothing at {}; there are (also below /v1):{}",
                                        request.path.substr(0, 200), list)));
  }
  const bool head = request.method == "HEAD" && std::string_view(at->method) == "GET";
  if (request.method != at->method && !head) {
    ApiError error = api_fault(
        405, "method_not_allowed",
        fmt::format("{} answers {}, not {}", path, at->method, request.method.substr(0, 20)));
    error.allow =
        std::string(at->method) + (at->method == std::string("GET") ? ", HEAD" : "") + ", OPTIONS";
    return refuse(error);
  }
  if (at->access == Route::kKey && !key_of(request) && !has_ticket(request)) {
    return refuse(
        api_fault(401, "invalid_api_key",
                  "no key, or a wrong one: give it as \"Authorization: Bearer KEY\" or as "
                  "x-api-key"));
  }
  if (at->needs == Route::kModel && !ready()) {
    ApiError error = api_fault(503, "loading", "");
    {
      const std::lock_guard lock(mutex_);
      error.message = loading_ + "; try again soon";
    }
    error.retry_after_s = kLoadingRetrySeconds;
    return refuse(error);
  }
  if (const std::string* coding = request.header("content-encoding");
      coding != nullptr && !coding->empty() && lower(*coding) != "identity") {
    return refuse(api_fault(415, "unsupported_media_type",
                            "the body is compressed (Content-Encoding); send it as it is"));
  }
  if (request.method == "POST" && !may_be_json(request))
    return refuse(api_fault(415, "unsupported_media_type", "the body should be application/json"));
  return std::nullopt;
}

std::optional<HttpResponse> Api::screen(const HttpRequest& request) {
  std::optional<HttpResponse> out = refuse_stranger(request);
  if (!out && request.method == "OPTIONS") out = preflight(request);
  if (!out) out = refuse_route(request);
  if (!out) return out;
  add_cors(request, *out);
  const Route* route = find_route(plain_path(request.path));
  metrics_.add_http(route != nullptr ? route->path : "(none)", method_label(request.method),
                    out->status, 0);
  if (options_.access_log)
    log_info("{} \"{} {}\" {} ({})", request.peer, printable(request.method, 20),
             printable(request.path, 200), out->status, request.id);
  return out;
}

HttpResponse Api::refusal(int status, std::string_view message) {
  const char* code = status == 413   ? "request_too_large"
                     : status == 408 ? "request_timeout"
                     : status >= 500 ? "server_error"
                                     : "bad_request";
  ApiError error = api_fault(status, code, std::string(message));
  if (status == 503) error.retry_after_s = 1;
  metrics_.add_http("(transport)", "-", status, 0);
  if (options_.access_log) log_info("(no request) {}: {}", status, message);
  return error.response(ApiStyle::kOpenAi, "");
}

// ---- Answering

void Api::handle(std::shared_ptr<Exchange> exchange) {
  const HttpRequest& request = exchange->request();
  Call call{.exchange = exchange,
            .route = find_route(plain_path(request.path)),
            .ready = ready(),
            .arrived = Clock::now(),
            .style = style_of(request),
            .path = plain_path(request.path)};
  const bool slow =
      call.path.starts_with("/dure/runs") || request.body.size() > kInlineBodyBytesMax ||
      may_ask_for_form(request.body) ||
      (call.path == "/completions" && request.body.find("\"echo\"") != std::string::npos);
  if (!slow) return prepare(call)();
  const auto later = std::make_shared<Later>();
  exchange->listen(later);
  workers_->post([this, call, later] {
    later->set(prepare(call));
    call.exchange->wake();
  });
}

// On any thread: the work; what it returns runs on the exchange's.
std::function<void()> Api::prepare(const Call& call) {
  try {
    if (call.route->answer != nullptr) {
      return [this, call, response = (this->*call.route->answer)(call)] { reply(call, response); };
    }
    return prepare_answer(call);
  } catch (const ApiError& error) {
    return [this, call, error] { reply(call, error.response(call.style, call.request().id)); };
  } catch (const Error& error) {
    const ApiError shown = api_error_of(error);
    if (shown.status >= 500)
      log_line(LogLevel::kError, fmt::format("{} ({})", error.what(), call.request().id));
    return [this, call, shown] { reply(call, shown.response(call.style, call.request().id)); };
  } catch (const std::exception& error) {
    log_line(LogLevel::kError, fmt::format("{} ({})", error.what(), call.request().id));
    const ApiError shown =
        api_fault(500, "server_error", "an unexpected failure; the log says more");
    return [this, call, shown] { reply(call, shown.response(call.style, call.request().id)); };
  }
}

std::function<void()> Api::prepare_answer(const Call& call) {
  const HttpRequest& request = call.request();
  const Json body = parse_body(request.body);
  const auto prepare = call.path == "/completions" ? prepare_completion
                       : call.path == "/responses" ? prepare_responses
                       : call.path == "/messages"  ? prepare_messages
                                                   : prepare_chat;
  auto options = std::make_shared<AnsweringOptions>(prepare(body, call.model(), request.id));
  check_count(options->choices.size(), call.ready->engine->options());
  part_prefixes(call, *options);
  options->arrived = call.arrived;
  options->ping_seconds = options_.ping_seconds;
  options->style = call.style;
  HttpResponse cors;
  add_cors(request, cors);
  options->headers = std::move(cors.headers);
  options->done = [this, call](const AnsweringReport& report) { note(call, report); };
  return [call, options] {
    Answering::start(call.exchange, *call.ready->engine, std::move(*options));
  };
}

void Api::note(const Call& call, const AnsweringReport& report) {
  if (report.status == 200 || report.status == 499) metrics_.add(report.record);
  std::string more = report.error;
  if (report.status == 200) {
    const AnswerTotals& t = report.totals;
    const double rate = t.predicted_ms > 0
                            ? static_cast<double>(t.completion_tokens - 1) / t.predicted_ms * 1000
                            : 0;
    more = fmt::format("{} + {} tokens, first after {:.0f} ms, {:.1f} tokens/s", t.prompt_tokens,
                       t.completion_tokens, t.prompt_ms, rate);
  }
  log(call, report.status, more);
}

void Api::reply(const Call& call, HttpResponse response) {
  add_cors(call.request(), response);
  const int status = response.status;
  call.exchange->send(std::move(response));
  log(call, status, "");
}

void Api::log(const Call& call, int status, const std::string& more) {
  const double seconds = std::chrono::duration<double>(Clock::now() - call.arrived).count();
  const HttpRequest& request = call.request();
  metrics_.add_http(call.route->path, method_label(request.method), status, seconds);
  if (!options_.access_log) return;
  log_info("{} \"{} {}\" {} {:.1f} ms{}{} ({})", request.peer, request.method,
           printable(request.path, 200), status, seconds * 1000, more.empty() ? "" : ": ", more,
           request.id);
}

}  // namespace dure
