// server/api.h: every address the server answers, who may ask, and what may be asked when.
//
// Owns routes (each also without /v1), keys, the Host and Origin checks, errors in each API's
// shape, the access log, what is answered while the model is read and while the server ends. Not
// here: sockets (http_server.h), the meaning of bodies (prepare.h), answers under way
// (answering.h).
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine_thread.h"
#include "server/http_server.h"
#include "server/metrics.h"
#include "server/served_model.h"

namespace dure {

struct AnsweringOptions;
struct AnsweringReport;

// To whom the runs of this machine are shown (those who have a key, where keys are asked for).
// Here: to who asks at a loopback address.
enum class ShowRuns { kHere, kAlways, kNever };

struct ApiOptions {
  std::vector<std::string> keys;          // none: everybody may ask everything
  std::vector<std::string> cors_origins;  // beside those of this machine; "*": all
  std::vector<std::string> hosts;         // Host names beside those of this machine
  bool metrics = true;
  bool vllm_metric_names = false;
  ShowRuns runs = ShowRuns::kHere;
  bool access_log = false;           // a line a request, at info
  double ping_seconds = 15;          // of an answer's silence, until a sign of life is sent
  bool keys_share_prefixes = false;  // else what one key's prompts began with serves no other's
  std::string version;
};

class Api final : public HttpHandler {
 public:
  explicit Api(ApiOptions options);
  ~Api() override;

  // Once. `engine` and what `model` points to must outlive all exchanges.
  void set_ready(std::shared_ptr<const ServedModel> model, EngineThread& engine);
  void set_loading_text(std::string text);  // "reading the model, 40 %"
  void set_http(std::function<HttpStatistics()> statistics);
  void set_draining() { draining_ = true; }  // /health says so; what is asked is still answered

  std::optional<HttpResponse> screen(const HttpRequest& request) override;
  void handle(std::shared_ptr<Exchange> exchange) override;
  HttpResponse refusal(int status, std::string_view message) override;

 private:
  struct Route;
  struct Call;
  class Workers;
  static const std::vector<Route>& routes();
  static const Route* find_route(const std::string& path);  // plain; null: there is none

  std::optional<HttpResponse> refuse_stranger(const HttpRequest& request) const;
  std::optional<HttpResponse> refuse_route(const HttpRequest& request) const;
  HttpResponse preflight(const HttpRequest& request) const;
  void add_cors(const HttpRequest& request, HttpResponse& out) const;
  bool may_come_from(const HttpRequest& request, const std::string& origin) const;
  // The key that the request has; nothing where it has none of ours. Any, where we have none.
  std::optional<std::string> key_of(const HttpRequest& request) const;
  void part_prefixes(const Call& call, AnsweringOptions& out) const;

  std::function<void()> prepare(const Call& call);
  std::function<void()> prepare_answer(const Call& call);
  void note(const Call& call, const AnsweringReport& report);
  void reply(const Call& call, HttpResponse response);
  void log(const Call& call, int status, const std::string& more);

  bool shows_runs(const HttpRequest& request) const;
  // A link opens without headers: who has a key gets a word that opens one path for a minute.
  std::string ticket_for(const std::string& path) const;
  bool has_ticket(const HttpRequest& request) const;

  HttpResponse page(const Call& call) const;
  HttpResponse page_part(const Call& call) const;
  HttpResponse engine_state(const Call& call) const;
  HttpResponse runs(const Call& call) const;
  HttpResponse run(const Call& call) const;
  HttpResponse health(const Call& call) const;
  HttpResponse version(const Call& call) const;
  HttpResponse metrics(const Call& call) const;
  HttpResponse props(const Call& call) const;
  HttpResponse slots(const Call& call) const;
  HttpResponse models(const Call& call) const;
  HttpResponse model(const Call& call) const;
  HttpResponse tokenizer_info(const Call& call) const;
  HttpResponse tokenize(const Call& call) const;
  HttpResponse detokenize(const Call& call) const;
  HttpResponse apply_template(const Call& call) const;
  HttpResponse count_tokens(const Call& call) const;
  HttpResponse input_tokens(const Call& call) const;
  HttpResponse embeddings(const Call& call) const;

  ApiOptions options_;
  struct Ready {
    std::shared_ptr<const ServedModel> model;
    EngineThread* engine;
  };
  std::shared_ptr<const Ready> ready() const;
  mutable std::mutex mutex_;
  std::shared_ptr<const Ready> ready_;
  struct Ticket {
    std::string word, path;
    std::chrono::steady_clock::time_point until;
  };
  mutable std::deque<Ticket> tickets_;  // the youngest last, kTicketsMax at most
  std::string loading_ = "the model is being read";
  std::function<HttpStatistics()> http_statistics_;
  std::atomic<bool> draining_ = false;
  ServerMetrics metrics_;
  std::unique_ptr<Workers> workers_;
};

}  // namespace dure
