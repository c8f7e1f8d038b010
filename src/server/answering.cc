// Tokens cross threads in one queue under one lock; everything else is the exchange's thread's own.
#include "server/answering.h"

#include <algorithm>

#include "base/log.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

ApiError busy() {
  ApiError out;
  out.status = 429;
  out.message = "the queue is full; try again later";
  out.code = "queue_full";
  out.retry_after_s = 1;
  return out;
}

ApiError shutting_down() {
  ApiError out;
  out.status = 503;
  out.message = "the server is shutting down";
  out.code = "shutting_down";
  out.retry_after_s = 5;
  return out;
}

const char* finish_name(FinishReason why) {
  switch (why) {
    case FinishReason::kLength:
      return "length";
    case FinishReason::kError:
      return "error";
    case FinishReason::kCancelled:
    case FinishReason::kDeadline:
      return "abort";
    default:
      return "stop";
  }
}

}  // namespace

void Answering::start(std::shared_ptr<Exchange> exchange, EngineThread& engine,
                      AnsweringOptions options) {
  const auto answering = std::make_shared<Answering>(exchange, engine, std::move(options));
  exchange->listen(answering);
  answering->submit();
}

Answering::Answering(std::shared_ptr<Exchange> exchange, EngineThread& engine,
                     AnsweringOptions options)
    : exchange_(std::move(exchange)),
      engine_(engine),
      options_(std::move(options)),
      left_(options_.choices.size()),
      last_of_(options_.choices.size()),
      written_(Clock::now()) {
  for (AnsweringChoice& choice : options_.choices)
    choices_.push_back({.stream = std::move(choice.stream)});
}

void Answering::submit() {
  record_.choice_count = static_cast<int64_t>(choices_.size());
  record_.tokens_max = options_.choices.empty() ? 0 : options_.choices[0].request.new_tokens_max;
  try {
    for (size_t i = 0; i < choices_.size(); ++i) {
      choices_[i].ticket =
          engine_.submit(std::move(options_.choices[i].request),
                         [self = shared_from_this(), i](const TokenEvent& e) { self->hear(i, e); });
      choices_[i].submitted = true;
    }
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kBusy) return fail(busy());
    if (error.code() == ErrorCode::kUnavailable) return fail(shutting_down());
    return fail(api_error_of(error));
  }
  options_.choices.clear();
  if (options_.format->streams()) put(options_.format->begin());
  if (!choices_.empty()) return;
  for (int64_t i = 0; i < options_.silent_choices; ++i) {
    const std::string bytes =
        options_.format->end_choice({.choice = i}, {AnswerEnd::kLength, {}, {}});
    if (options_.format->streams()) put(bytes);
  }
  complete();
}

void Answering::hear(size_t choice, const TokenEvent& event) {
  Event out{.choice = choice,
            .token = event.token,
            .finish = event.finish,
            .cached_tokens = event.cached_tokens,
            .drafted = event.drafted,
            .accepted = event.accepted,
            .time = Clock::now()};
  if (event.error != nullptr) out.error = *event.error;
  if (event.token) {
    out.record = {.token = *event.token, .log_probability = event.log_probability};
    out.record.top.assign(event.top.begin(), event.top.end());
  }
  const std::lock_guard lock(mutex_);
  if (overflown_) return;
  queued_bytes_ += sizeof(Event) + event.top.size_bytes();
  overflown_ = queued_bytes_ > kQueuedBytesMax;
  if (!overflown_) queue_.push_back(std::move(out));
  exchange_->wake();
}

void Answering::advance() {
  if (over_ || exchange_->above_high_mark()) return;
  std::vector<Event> events;
  bool overflown = false;
  {
    const std::lock_guard lock(mutex_);
    events.swap(queue_);
    queued_bytes_ = 0;
    overflown = overflown_;
  }
  if (overflown) {
    report(499, "the client did not read its answer");
    return exchange_->abort();
  }
  std::string out;
  for (Event& event : events) {
    take(event, out);
    if (over_) return;
  }
  if (!out.empty() && options_.format->streams()) put(std::move(out));
  if (left_ == 0) complete();
}

void Answering::take(Event& event, std::string& out) {
  Choice& choice = choices_[event.choice];
  if (choice.ended) return;
  if (event.error) {
    log_line(LogLevel::kError,
             fmt::format("{} ({})", event.error->what(), exchange_->request().id));
    return fail(api_error_of(*event.error));
  }
  choice.cached_tokens = event.cached_tokens;
  choice.drafted = event.drafted;
  choice.accepted = event.accepted;
  if (event.token) {
    note_time(event);
    choice.untold.push_back(std::move(event.record));
    say(choice, event.choice, choice.stream.push(*event.token), out);
  }
  if (event.finish != FinishReason::kRunning) {
    end(choice, event.choice, event.finish, out);
  } else if (choice.stream.stopped()) {  // By a stop string, of which the engine knows nothing.
    engine_.cancel(choice.ticket);
    end(choice, event.choice, FinishReason::kStop, out);
  }
}

void Answering::note_time(const Event& event) {
  if (!first_) first_ = event.time;
  last_ = event.time;
  auto& before = last_of_[event.choice];
  if (before) record_.gaps.add(seconds(*before, event.time));
  before = event.time;
}

OutputDelta Answering::told(Choice& choice, OutputDelta delta) const {
  if (!options_.include_reasoning) delta.reasoning.clear();
  const auto beyond = [&](bool begins) {
    if (begins) ++choice.calls;
    return options_.first_call_only && choice.calls > 1;
  };
  std::erase_if(delta.tool_calls, [&](const ToolCall&) { return beyond(true); });
  std::erase_if(delta.call_pieces, [&](const CallPiece& piece) { return beyond(piece.begins); });
  return delta;
}

void Answering::say(Choice& choice, size_t index, OutputDelta delta, std::string& out) {
  delta = told(choice, std::move(delta));
  // A record waits for its text: half a character, or what may become a tag.
  if (delta.empty()) return;
  out += options_.format->add(
      {.choice = static_cast<int64_t>(index), .delta = std::move(delta), .tokens = choice.untold},
      totals());
  choice.untold.clear();
}

void Answering::end(Choice& choice, size_t index, FinishReason why, std::string& out) {
  choice.ended = true;
  --left_;
  OutputDelta last = told(choice, choice.stream.finish());
  ChoiceEnd end{.stop_string = choice.stream.stop_string(),
                .stop_token = choice.stream.stop_token()};
  const bool stopped = choice.stream.stopped();
  end.reason = stopped ? AnswerEnd::kStop : AnswerEnd::kLength;
  if (stopped && choice.calls > 0 && !options_.named_tool) end.reason = AnswerEnd::kToolCalls;
  ++record_.finished[stopped ? "stop" : finish_name(why)];
  out += options_.format->end_choice(
      {.choice = static_cast<int64_t>(index), .delta = std::move(last), .tokens = choice.untold},
      end);
  choice.untold.clear();
}

AnswerTotals Answering::totals() const {
  AnswerTotals out{.prompt_tokens = options_.prompt_tokens};
  for (const Choice& choice : choices_) {
    out.completion_tokens += choice.stream.token_count();
    out.reasoning_tokens += choice.stream.reasoning_count();
    out.drafted += choice.drafted;
    out.accepted += choice.accepted;
  }
  // Of several answers to one prompt the first reads it and the others find it: what all found.
  const auto least = std::min_element(
      choices_.begin(), choices_.end(),
      [](const Choice& a, const Choice& b) { return a.cached_tokens < b.cached_tokens; });
  if (least != choices_.end()) out.cached_tokens = least->cached_tokens;
  if (first_) {
    out.prompt_ms = seconds(options_.arrived, *first_) * 1000;
    out.predicted_ms = seconds(*first_, *last_) * 1000;
  }
  return out;
}

void Answering::put(std::string bytes) {
  if (!begun_) {
    const bool stream = options_.format->streams();
    HttpHeaders headers = {
        {"Content-Type", stream ? "text/event-stream; charset=utf-8" : "application/json"}};
    headers.insert(headers.end(), options_.headers.begin(), options_.headers.end());
    if (stream) {
      headers.emplace_back("Cache-Control", "no-cache");
      headers.emplace_back("X-Accel-Buffering", "no");
    }
    exchange_->begin_stream(200, std::move(headers));
    begun_ = true;
  }
  exchange_->write(bytes);
  written_ = Clock::now();
}

void Answering::send(HttpResponse response) {
  response.headers.insert(response.headers.end(), options_.headers.begin(), options_.headers.end());
  exchange_->send(std::move(response));
}

void Answering::complete() {
  over_ = true;
  std::string bytes = options_.format->end(totals());
  if (begun_ || options_.format->streams()) {
    put(std::move(bytes));
    exchange_->end();
  } else {
    send({.headers = {{"Content-Type", "application/json"}}, .body = std::move(bytes)});
  }
  report(200, "");
}

// Before the first byte a real status; after it, what the format has for that.
void Answering::fail(const ApiError& error) {
  over_ = true;
  cancel_all();
  if (begun_) {
    exchange_->write(options_.format->fail(error));
    exchange_->end();
  } else {
    send(error.response(options_.style, exchange_->request().id));
  }
  report(error.status, error.message);
}

void Answering::cancel_all() {
  for (const Choice& choice : choices_) {
    if (choice.submitted && !choice.ended) engine_.cancel(choice.ticket);
  }
}

// Half the clients of this world give up after minutes without a byte; JSON allows space before it.
void Answering::on_tick() {
  if (over_ || exchange_->unsent_bytes() > 0) return;
  if (seconds(written_, Clock::now()) >= options_.ping_seconds) put(options_.format->ping());
}

// Whether somebody is left to read is known by writing.
void Answering::on_input_end() {
  if (over_ || std::exchange(probed_, true)) return;
  put(options_.format->ping());
}

void Answering::on_closed() {
  if (over_) return;
  over_ = true;
  cancel_all();
  report(499, "the client left");
}

void Answering::report(int status, std::string error) {
  over_ = true;
  if (!options_.done) return;
  if (status == 499) {
    cancel_all();
    for (const Choice& choice : choices_) {
      if (!choice.ended) ++record_.finished["abort"];
    }
  }
  AnsweringReport out{.status = status, .totals = totals(), .error = std::move(error)};
  record_.prompt_tokens = out.totals.prompt_tokens;
  record_.completion_tokens = out.totals.completion_tokens;
  record_.first_s = first_ ? seconds(options_.arrived, *first_) : -1;
  record_.decode_s = first_ ? seconds(*first_, *last_) : 0;
  record_.whole_s = seconds(options_.arrived, Clock::now());
  out.record = std::move(record_);
  std::exchange(options_.done, nullptr)(out);
}

}  // namespace dure
