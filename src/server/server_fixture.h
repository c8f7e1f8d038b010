// server/server_fixture.h: a whole server on a model in a folder, in the process of a test. Tests
// only.
#pragma once

#include <memory>
#include <string>

#include "chat/chat_fixture.h"
#include "chat/open_model.h"
#include "chat/prompt_scorer.h"
#include "server/api.h"
#include "server/http_server.h"
#include "server/loopback_client.h"

namespace dure {

struct TestServerOptions {
  ApiOptions api;
  HttpServerOptions http;
  int64_t context_tokens = 1024, sequences_max = 8, queue_max = 64, page_count = 0;
  bool keep_prefixes = false;
  std::vector<std::pair<std::string, std::string>> adapters;  // name, path
  bool ready = true;  // else it answers as one that still reads the model
};

class TestServer {
 public:
  TestServer(const std::string& folder, TestServerOptions options)
      : model_(open_model(folder)),
        adapters_(open_adapters(options)),
        scorer_(model_, options.context_tokens, rank_max()),
        engine_(model_.weights,
                {.generator = {.sequences_max = options.sequences_max,
                               .context_tokens_max = options.context_tokens,
                               .page_count = options.page_count,
                               .adapter_rank = rank_max(),
                               .prefix = {.keep = options.keep_prefixes}},
                 .waiting_requests_max = options.queue_max},
                stream_),
        api_(std::move(options.api)),
        http_(with_any_port(options.http), api_) {
    api_.set_http([this] { return http_.statistics(); });
    auto served = std::make_shared<ServedModel>();
    served->names = {"nano", "alias/of/it"};
    served->root = folder;
    served->adapters = adapters_;
    served->texts = model_.texts;
    served->defaults = load_sampling(*model_.files);
    served->context_tokens = options.context_tokens;
    served->vocab_size = model_.weights.config.vocab_size;
    served->masks = std::make_shared<AnswerMasks>(served->texts.require_tokenizer(),
                                                  served->vocab_size, served->texts.stops.tokens);
    served->score_prompts = [this](const auto& prompts, int64_t top, const ModelAdapter* adapter) {
      return scorer_.score(prompts, top, adapter);
    };
    served_ = served;
    if (options.ready) set_ready();
    http_.start();
  }
  ~TestServer() {
    http_.stop();
    engine_.stop();
  }

  void set_ready() { api_.set_ready(served_, engine_); }
  int64_t port() const { return http_.port(); }
  Api& api() { return api_; }
  HttpServer& http() { return http_; }
  EngineThread& engine() { return engine_; }
  const OpenModel& model() const { return model_; }

  HttpAnswer get(std::string_view path, std::string_view headers = "") const {
    return LoopbackClient(port()).ask(http_get(path, headers));
  }
  HttpAnswer post(std::string_view path, std::string_view body,
                  std::string_view headers = "") const {
    return LoopbackClient(port()).ask(http_post(path, body, headers));
  }

 private:
  std::vector<ServedAdapter> open_adapters(const TestServerOptions& options) {
    std::vector<ServedAdapter> out;
    for (const auto& [name, path] : options.adapters)
      out.push_back({name, path, open_adapter(path, model_.weights.config, stream_)});
    return out;
  }
  int64_t rank_max() const {
    int64_t out = 0;
    for (const ServedAdapter& a : adapters_) out = std::max(out, a.adapter->rank_max);
    return out;
  }
  static HttpServerOptions with_any_port(HttpServerOptions options) {
    options.port = 0;
    return options;
  }

  CpuStream stream_{1};
  OpenModel model_;
  std::vector<ServedAdapter> adapters_;
  PromptScorer scorer_;
  EngineThread engine_;
  Api api_;
  HttpServer http_;
  std::shared_ptr<const ServedModel> served_;
};

// The data of a stream's events, in order; "[DONE]" as a string.
inline std::vector<Json> events_of(const std::string& body) {
  std::vector<Json> out;
  for (size_t at = body.find("data: "); at != std::string::npos; at = body.find("data: ", at)) {
    const size_t end = body.find('\n', at);
    const std::string data = body.substr(at + 6, end - at - 6);
    out.push_back(data == "[DONE]" ? Json(data) : parse_json(data, "event"));
    at = end;
  }
  return out;
}

// Tests of requests to one tiny model, which lies in a folder of its own.
class TinyModelTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    testing_chat::write_tiny_model(folder_->path() / "model", testing_chat::tiny_texts());
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static std::string model() { return (folder_->path() / "model").string(); }
  static std::string chat(const std::string& more) {
    return R"({"messages":[{"role":"user","content":"the village"}],"seed":1,)" + more + "}";
  }

  inline static std::unique_ptr<TemporaryFolder> folder_;
};

}  // namespace dure
