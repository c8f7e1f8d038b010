#include "engine/generator.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>

#include "base/error.h"
#include "base/rng.h"
#include "kernels/cross_entropy.h"

namespace dure {
namespace {

constexpr int64_t kHeadRows = 64;  // Rows of logits that stand in memory at a time.

struct Sequence {
  int64_t id = 0;
  GenerationRequest request;
  Generation result;
  int slot = -1;
  int64_t fed = 0;        // tokens of prompt + generated already in the cache
  bool finished = false;  // its result has moved to `done`

  int64_t token_count() const {
    return static_cast<int64_t>(request.prompt.size() + result.tokens.size());
  }
  int32_t token(int64_t i) const {
    const int64_t prompt = static_cast<int64_t>(request.prompt.size());
    return i < prompt ? request.prompt[static_cast<size_t>(i)]
                      : result.tokens[static_cast<size_t>(i - prompt)];
  }
};

KvCacheOptions cache_options(const GeneratorOptions& o) {
  return {.sequence_count_max = o.sequences_max,
          .context_tokens_max = o.context_tokens_max,
          .append_tokens_max = std::min(o.chunk_tokens_max, o.batch_rows_max),
          .page_count = o.page_count,
          .dtype = o.kv_dtype};
}

struct Buffers {
  TensorView chosen, logits, log_probability, log_sum_exp;
};

Buffers lay_out(const ModelConfig& config, Arena& arena) {
  return {arena.take_f32({kHeadRows, config.hidden_size}),
          arena.take_f32({kHeadRows, config.vocab_size}), arena.take_f32({kHeadRows}),
          arena.take_f32({kHeadRows})};
}

ActivationPlan activation_plan(const GeneratorOptions& options) {
  return {.rows_max = options.batch_rows_max};
}

int64_t arena_bytes(const ModelConfig& config, const GeneratorOptions& options) {
  Arena plan;
  Activations(config, activation_plan(options), plan);
  lay_out(config, plan);
  return plan.used_bytes();
}

}  // namespace

struct Generator::State {
  const ModelWeights& weights;
  GeneratorOptions options;
  Stream& stream;
  KvCache cache;
  BatchKv kv;
  Arena arena;
  Activations activations;
  Buffers buffers;
  std::vector<Sampler> samplers;  // one a worker

  std::deque<std::unique_ptr<Sequence>> waiting;
  std::vector<std::unique_ptr<Sequence>> running;  // by arrival
  std::map<int64_t, Generation> done;
  std::vector<Event> events;
  int64_t next_id = 0, generated = 0;

  // The next forward.
  std::vector<int32_t> ids, positions;
  std::vector<BatchKv::Run> runs;
  std::vector<std::pair<Sequence*, int64_t>>
      heads;  // sequences whose newest token is in, and its row

  State(const ModelWeights& w, const GeneratorOptions& o, Stream& s)
      : weights(w),
        options(o),
        stream(s),
        cache(w.config, cache_options(o)),
        kv(cache),
        arena(arena_bytes(w.config, o)),
        activations(w.config, activation_plan(o), arena),
        buffers(lay_out(w.config, arena)),
        samplers(static_cast<size_t>(s.thread_count())) {}

  void admit();
  void add_rows(Sequence& sequence, int64_t rows_free);
  void choose_rows();
  void sample_rows(size_t first, size_t count);
  void accept(Sequence& sequence, int32_t token, float log_probability);
  void retire(FinishReason why, Sequence& sequence);
};

// A sequence enters with the memory for its longest form, so that nothing running is ever pushed
// out.
void Generator::State::admit() {
  while (!waiting.empty() && cache.free_sequences() > 0) {
    Sequence& sequence = *waiting.front();
    const int slot = cache.open();
    const int64_t prompt = static_cast<int64_t>(sequence.request.prompt.size());
    if (!cache.reserve(slot, prompt + sequence.request.new_tokens_max)) {
      cache.close(slot);
      return;  // In order: a later, smaller request does not overtake.
    }
    sequence.slot = slot;
    running.push_back(std::move(waiting.front()));
    waiting.pop_front();
  }
}

void Generator::State::add_rows(Sequence& sequence, int64_t rows_free) {
  const int64_t left = sequence.token_count() - sequence.fed;
  const int64_t count = std::min({left, rows_free, cache.options().append_tokens_max});
  if (count <= 0) return;
  const int64_t first_row = static_cast<int64_t>(ids.size());
  for (int64_t i = 0; i < count; ++i) {
    ids.push_back(sequence.token(sequence.fed + i));
    positions.push_back(static_cast<int32_t>(sequence.fed + i));
  }
  runs.push_back({.slot = sequence.slot,
                  .first_row = first_row,
                  .row_count = count,
                  .first_position = sequence.fed});
  if (count == left) heads.emplace_back(&sequence, first_row + count - 1);
  sequence.fed += count;
}

// Sequences that decode come first (one row each), then prompts, in chunks, while rows are left.
void Generator::State::choose_rows() {
  ids.clear(), positions.clear(), runs.clear(), heads.clear();
  for (const bool decoding : {true, false}) {
    for (const auto& sequence : running) {
      const bool decodes = sequence->token_count() - sequence->fed == 1;
      if (decodes == decoding)
        add_rows(*sequence, options.batch_rows_max - static_cast<int64_t>(ids.size()));
    }
  }
}

void Generator::State::retire(FinishReason why, Sequence& sequence) {
  sequence.result.finish = why;
  sequence.finished = true;
  if (sequence.slot >= 0) cache.close(sequence.slot);
  done[sequence.id] = std::move(sequence.result);
}

void Generator::State::accept(Sequence& sequence, int32_t token, float log_probability) {
  sequence.result.tokens.push_back(token);
  sequence.result.log_probabilities.push_back(log_probability);
  ++generated;
  const auto& stops = sequence.request.stop_tokens;
  FinishReason why = FinishReason::kRunning;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) {
    why = FinishReason::kStop;
  } else if (static_cast<int64_t>(sequence.result.tokens.size()) >=
             sequence.request.new_tokens_max) {
    why = FinishReason::kLength;
  }
  events.push_back({sequence.id, token, why});
  if (why != FinishReason::kRunning) retire(why, sequence);
}

void Generator::State::sample_rows(size_t first, size_t count) {
  const int64_t d = weights.config.hidden_size, v = weights.config.vocab_size,
                rows = static_cast<int64_t>(count);
  const TensorView hidden = activations.hidden();
  const TensorView chosen = buffers.chosen.rows(0, rows), logits = buffers.logits.rows(0, rows);
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(chosen.f32() + r * d,
                hidden.f32() + heads[first + static_cast<size_t>(r)].second * d,
                static_cast<size_t>(d) * sizeof(float));
  }
  head_logits(weights, chosen, logits, stream);
  int32_t tokens[kHeadRows];
  stream.threads().parallel_for(rows, [&](int64_t r, int worker) {
    const Sequence& s = *heads[first + static_cast<size_t>(r)].first;
    const uint64_t draw = s.result.tokens.size();
    const double uniform = Rng(s.request.sampling.seed, s.request.stream, 2 * draw).uniform();
    tokens[r] = samplers[static_cast<size_t>(worker)].sample(
        s.request.sampling, {logits.f32() + r * v, static_cast<size_t>(v)},
        {.prompt = s.request.prompt, .generated = s.result.tokens, .allowed = {}}, uniform);
  });
  const TensorView log_probability = buffers.log_probability.rows(0, rows);
  token_log_probability(logits, {tokens, count}, log_probability, buffers.log_sum_exp.rows(0, rows),
                        {}, stream);
  for (int64_t r = 0; r < rows; ++r)
    accept(*heads[first + static_cast<size_t>(r)].first, tokens[r], log_probability.f32()[r]);
}

Generator::Generator(const ModelWeights& weights, const GeneratorOptions& options, Stream& stream) {
  DURE_CHECK(options.sequences_max >= 1 && options.batch_rows_max >= options.sequences_max &&
             options.chunk_tokens_max >= 1);
  state_ = std::make_unique<State>(weights, options, stream);
}

Generator::~Generator() = default;

int64_t Generator::plan_bytes(const ModelConfig& config, const GeneratorOptions& options) {
  return arena_bytes(config, options) + kv_cache_plan(config, cache_options(options)).total_bytes();
}

int64_t Generator::submit(GenerationRequest request) {
  State& s = *state_;
  const int64_t prompt = static_cast<int64_t>(request.prompt.size()),
                vocab = s.weights.config.vocab_size;
  if (prompt == 0)
    fail(ErrorCode::kInvalidArgument, "the prompt is empty: give at least one token");
  if (request.new_tokens_max < 1)
    fail(ErrorCode::kInvalidArgument, "{} new tokens: ask for at least 1", request.new_tokens_max);
  for (const int32_t token : request.prompt) {
    if (token < 0 || token >= vocab)
      fail(ErrorCode::kInvalidArgument, "prompt token {} is outside the vocabulary of {}", token,
           vocab);
  }
  if (prompt + request.new_tokens_max > s.options.context_tokens_max) {
    fail(ErrorCode::kInvalidArgument,
         "{} prompt tokens and {} new ones exceed the context of {}; shorten one, or raise the "
         "context",
         prompt, request.new_tokens_max, s.options.context_tokens_max);
  }
  check_sampling(request.sampling, vocab);
  auto sequence = std::make_unique<Sequence>();
  sequence->id = s.next_id++;
  sequence->request = std::move(request);
  s.waiting.push_back(std::move(sequence));
  return s.next_id - 1;
}

void Generator::cancel(int64_t id) {
  State& s = *state_;
  const auto has_id = [id](const auto& sequence) { return sequence->id == id; };
  if (const auto it = std::find_if(s.running.begin(), s.running.end(), has_id);
      it != s.running.end()) {
    s.retire(FinishReason::kCancelled, **it);
    s.running.erase(it);
  } else if (const auto queued = std::find_if(s.waiting.begin(), s.waiting.end(), has_id);
             queued != s.waiting.end()) {
    s.retire(FinishReason::kCancelled, **queued);
    s.waiting.erase(queued);
  }
}

bool Generator::step() {
  State& s = *state_;
  s.events.clear();
  s.admit();
  s.choose_rows();
  if (s.ids.empty()) return false;
  s.kv.set_runs(s.runs);
  forward(s.weights, {.ids = s.ids, .positions = s.positions}, s.kv, s.activations, s.stream);
  s.kv.commit();
  for (size_t first = 0; first < s.heads.size(); first += kHeadRows) {
    s.sample_rows(first, std::min<size_t>(kHeadRows, s.heads.size() - first));
  }
  std::erase_if(s.running, [](const auto& sequence) { return sequence->finished; });
  return true;
}

std::span<const Generator::Event> Generator::events() const { return state_->events; }

Generation Generator::take(int64_t id) {
  const auto found = state_->done.find(id);
  DURE_CHECK(found != state_->done.end(), "request {} is not finished", id);
  Generation result = std::move(found->second);
  state_->done.erase(found);
  return result;
}

std::vector<Generation> Generator::run(std::vector<GenerationRequest> requests,
                                       const std::function<void(int64_t)>& on_step) {
  std::vector<int64_t> ids;
  for (GenerationRequest& request : requests) ids.push_back(submit(std::move(request)));
  int64_t finished = 0;
  while (step()) {
    for (const Event& event : events()) finished += event.finish != FinishReason::kRunning ? 1 : 0;
    if (on_step) on_step(finished);
  }
  std::vector<Generation> results;
  for (const int64_t id : ids) results.push_back(take(id));
  return results;
}

int64_t Generator::running_count() const { return static_cast<int64_t>(state_->running.size()); }
int64_t Generator::waiting_count() const { return static_cast<int64_t>(state_->waiting.size()); }
int64_t Generator::generated_tokens() const { return state_->generated; }

}  // namespace dure
