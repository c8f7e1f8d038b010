// server/answering.h: one request that generates: its choices on the engine, their tokens into
// text, the text into an answer as fast as the client reads it.
//
// Owns the queue between the engine's thread and the exchange's: the engine puts tokens in and
// wakes the exchange; detokenising, parsing and writing happen on the exchange's thread. A client
// that reads slowly lets tokens (not texts) pile up, at most kQueuedBytesMax, and costs nobody
// else anything; one that leaves cancels its choices before the next step. Not here: what was asked
// (chat_request.h), how it is written (answer_format.h), where it comes from (api.h).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "chat/answer_stream.h"
#include "engine/engine_thread.h"
#include "server/answer_format.h"
#include "server/http.h"
#include "server/metrics.h"

namespace dure {

struct AnsweringChoice {
  GenerationRequest request;
  AnswerStream stream;
};

// How a request ended, for the log and the metrics.
struct AnsweringReport {
  int status = 200;  // 499: the client left
  AnswerTotals totals;
  GenerationRecord record;
  std::string error;
};

struct AnsweringOptions {
  std::vector<AnsweringChoice> choices;
  int64_t silent_choices = 0;  // where nothing is to be generated: how many there are
  std::unique_ptr<AnswerFormat> format;
  int64_t prompt_tokens = 0;  // of all prompts, each counted once
  std::chrono::steady_clock::time_point arrived;
  ApiStyle style = ApiStyle::kOpenAi;
  HttpHeaders headers;  // of every answer, beside its own
  bool include_reasoning = true;
  bool first_call_only = false;
  bool named_tool = false;   // a forced call's answer ends with "stop"
  double ping_seconds = 15;  // of silence, until a byte that means nothing is sent
  std::function<void(const AnsweringReport&)> done;  // once
};

class Answering final : public ExchangeListener, public std::enable_shared_from_this<Answering> {
 public:
  // Submits all choices and begins the answer, or answers why not: queue_full 429, a bad request
  // 400. On the exchange's thread.
  static void start(std::shared_ptr<Exchange> exchange, EngineThread& engine,
                    AnsweringOptions options);

  Answering(std::shared_ptr<Exchange> exchange, EngineThread& engine, AnsweringOptions options);
  void on_wake() override { advance(); }
  void on_drained() override { advance(); }
  void on_tick() override;
  void on_input_end() override;
  void on_closed() override;

  static constexpr size_t kQueuedBytesMax = 16 << 20;

 private:
  struct Event {
    size_t choice = 0;
    std::optional<int32_t> token;
    TokenRecord record;  // where log-probabilities are asked for
    FinishReason finish = FinishReason::kRunning;
    int64_t cached_tokens = 0, drafted = 0, accepted = 0;
    std::optional<Error> error;
    std::chrono::steady_clock::time_point time;
  };
  struct Choice {
    AnswerStream stream;
    EngineThread::Ticket ticket = 0;
    bool submitted = false, ended = false;
    int64_t calls = 0;                // begun so far
    int64_t cached_tokens = 0;        // of its prompt
    int64_t drafted = 0, accepted = 0;
    std::vector<TokenRecord> untold;  // records of tokens whose text has not been sent
  };

  void submit();
  void hear(size_t choice, const TokenEvent& event);  // on the engine's thread
  void advance();
  void take(Event& event, std::string& out);
  void say(Choice& choice, size_t index, OutputDelta delta, std::string& out);
  void end(Choice& choice, size_t index, FinishReason why, std::string& out);
  void note_time(const Event& event);
  void put(std::string bytes);
  void send(HttpResponse response);
  void complete();
  void fail(const ApiError& error);
  void cancel_all();
  void report(int status, std::string error);
  AnswerTotals totals() const;
  OutputDelta told(Choice& choice, OutputDelta delta) const;

  std::shared_ptr<Exchange> exchange_;
  EngineThread& engine_;
  AnsweringOptions options_;
  std::vector<Choice> choices_;
  size_t left_ = 0;    // choices that have not ended
  bool over_ = false;  // nothing more is sent
  bool begun_ = false;
  bool probed_ = false;  // A client that sends no more was sent a byte.
  std::optional<std::chrono::steady_clock::time_point> first_, last_;
  std::vector<std::optional<std::chrono::steady_clock::time_point>> last_of_;  // by choice
  std::chrono::steady_clock::time_point written_;
  GenerationRecord record_;

  std::mutex mutex_;
  std::vector<Event> queue_;
  size_t queued_bytes_ = 0;
  bool overflown_ = false;
};

}  // namespace dure
