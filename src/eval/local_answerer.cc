// A question becomes a request to the engine's thread; its sink collects ids and wakes who waits.
#include "eval/local_answerer.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/error.h"
#include "chat/conversation.h"

namespace dure {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

GeneratorOptions generator_options(const ModelConfig& config, const LocalAnswererOptions& options) {
  GeneratorOptions out{.sequences_max = options.concurrency,
                       .context_tokens_max = options.context_tokens,
                       .batch_rows_max = std::max<int64_t>(512, options.concurrency),
                       .kv_dtype = options.kv_dtype};
  if (Generator::plan_bytes(config, out) > LocalAnswererOptions::kKvBytesMax)
    out.page_count = pages_within(config, out, LocalAnswererOptions::kKvBytesMax);
  return out;
}

LocalAnswererOptions within_model(LocalAnswererOptions options, const OpenModel& model) {
  model.texts.require_tokenizer();
  if (model.weights.config.context_tokens > 0)
    options.context_tokens = std::min(options.context_tokens, model.weights.config.context_tokens);
  return options;
}

// What an engine's sink tells one who waits.
struct Waiting {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<int32_t> tokens;
  FinishReason finish = FinishReason::kRunning;
  std::string error;

  void hear(const TokenEvent& event) {
    const std::lock_guard lock(mutex);
    if (event.token) tokens.push_back(*event.token);
    if (event.finish == FinishReason::kRunning) return;
    finish = event.finish;
    if (event.error != nullptr) error = event.error->what();
    changed.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return finish != FinishReason::kRunning; });
  }
};

// A prompt, and how its answer is read.
struct Prepared {
  std::vector<int32_t> prompt;
  AnswerStream stream;
};

Prepared prepare(const OpenModel& model, const Question& question) {
  if (question.form == PromptForm::kPlain) {
    return {.prompt = model.texts.require_tokenizer().encode(plain_prompt(question.messages)),
            .stream = AnswerStream::plain(model.texts)};
  }
  Conversation conversation(model.texts,
                            {.thinking = question.settings.thinking, .tools = question.tools});
  for (const Message& message : question.messages) conversation.add(message);
  const std::string rendered = conversation.render();
  return {.prompt = conversation.encode(rendered), .stream = conversation.answer_to(rendered)};
}

SamplingOptions sampling_of(const Question& question) {
  const AskSettings& s = question.settings;
  return {.temperature = s.temperature,
          .top_p = s.top_p,
          .top_k = s.top_k,
          .min_p = s.min_p,
          .presence_penalty = s.presence_penalty,
          .seed = question.seed};
}

Said too_long(int64_t prompt_tokens) {
  Said out{.end = SaidEnd::kTooLong, .prompt_tokens = prompt_tokens};
  out.answer.finished = false;
  return out;
}

}  // namespace

std::string plain_prompt(const std::vector<Message>& messages) {
  std::string out;
  for (const Message& message : messages) out += message.content;
  return out;
}

int64_t question_tokens(const OpenModel& model, const Question& question) {
  return std::ssize(prepare(model, question).prompt);
}

LocalAnswerer::LocalAnswerer(const OpenModel& model, const LocalAnswererOptions& options,
                             Stream& stream)
    : model_(model),
      options_(within_model(options, model)),
      scorer_(model, options_.context_tokens),
      engine_(model.weights,
              {.generator = generator_options(model.weights.config, options_),
               .waiting_requests_max = 4 * options_.concurrency,
               .waiting_tokens_max = int64_t{1} << 40},
              stream) {}

Said LocalAnswerer::answer(const Question& question) {
  const Clock::time_point begin = Clock::now();
  Prepared prepared = prepare(model_, question);
  const int64_t prompt_tokens = std::ssize(prepared.prompt);
  const int64_t room = options_.context_tokens - prompt_tokens;
  if (room < 1) return too_long(prompt_tokens);
  const AnswerStops stops{.strings = question.stop};
  prepared.stream.stop_at(stops);
  auto waiting = std::make_shared<Waiting>();
  // A stop string ends the answer; ids that come before the engine hears of it are no text.
  auto stream = std::make_shared<AnswerStream>(std::move(prepared.stream));
  const bool watched = !question.stop.empty();
  engine_.submit({.prompt = std::move(prepared.prompt),
                  .sampling = sampling_of(question),
                  .new_tokens_max = std::min(question.new_tokens_max, room),
                  .stop_tokens = model_.texts.stops.tokens,
                  .stream = question.stream},
                 [this, waiting, stream, watched](const TokenEvent& event) {
                   if (watched && event.token) stream->push(*event.token);
                   if (watched && stream->stopped()) engine_.cancel(event.id);
                   waiting->hear(event);
                 });
  waiting->wait();
  if (waiting->finish == FinishReason::kError)
    fail(ErrorCode::kIo, "the engine: {}", waiting->error);
  if (!watched) stream->read(waiting->tokens);
  if (watched) stream->finish();
  if (waiting->finish == FinishReason::kCancelled && !stream->stopped())
    fail(ErrorCode::kInterrupted, "interrupted");
  const Message& said = stream->message();
  Said out{.end = stream->stopped() ? SaidEnd::kStop : SaidEnd::kLength,
           .prompt_tokens = prompt_tokens,
           .tokens = stream->token_count(),
           .seconds = seconds_since(begin)};
  out.answer.reasoning = said.reasoning;
  out.answer.content = said.content;
  out.answer.tool_calls = said.tool_calls;
  out.answer.finished = stream->stopped();
  return out;
}

Said LocalAnswerer::score(const Question& question, const std::vector<std::string>& continuations) {
  const Clock::time_point begin = Clock::now();
  const Tokenizer& tokenizer = model_.texts.require_tokenizer();
  const std::string prompt = plain_prompt(question.messages);
  const std::vector<int32_t> before = tokenizer.encode(prompt);
  std::vector<std::vector<int32_t>> texts;
  for (const std::string& text : continuations) {
    texts.push_back(tokenizer.encode(prompt + text));
    if (std::ssize(texts.back()) > options_.context_tokens || texts.back().empty())
      return too_long(std::ssize(texts.back()));
  }
  const auto scores = scorer_.score(texts, 0);
  Said out{.prompt_tokens = std::ssize(before), .seconds = 0};
  for (const std::vector<PromptScore>& tokens : scores) {
    // A token that begins in the prompt and ends in the continuation is the continuation's; the
    // very first of a text has no probability.
    size_t shared = 0;
    while (shared < before.size() && shared < tokens.size() &&
           tokens[shared].token == before[shared])
      ++shared;
    double sum = 0;
    for (size_t i = shared; i < tokens.size(); ++i) sum += tokens[i].log_probability;
    out.answer.log_likelihoods.push_back(sum);
    out.answer.continuation_tokens.push_back(static_cast<int64_t>(tokens.size() - shared));
    out.tokens += static_cast<int64_t>(tokens.size() - shared);
  }
  out.seconds = seconds_since(begin);
  return out;
}

void LocalAnswerer::stop() { engine_.stop(); }

}  // namespace dure
