// A step: admit, choose rows, forward, choose tokens, settle, draft.
#include "engine/generator.h"

#include <algorithm>
#include <deque>
#include <map>

#include "base/error.h"
#include "base/rng.h"
#include "engine/drafter.h"
#include "engine/known_tokens.h"
#include "engine/speculation.h"
#include "kernels/cross_entropy.h"
#include "kernels/rows.h"

namespace dure {
namespace {

// Rows of logits that stand in memory at a time; the rows of one sequence stand together.
int64_t head_rows(const GeneratorOptions& options) {
  return std::max<int64_t>(64, 1 + options.draft_tokens_max);
}

struct Buffers {
  TensorView chosen, logits, log_probability, log_sum_exp;
  DraftBuffers drafts;
};

Buffers lay_out(const ModelConfig& config, const GeneratorOptions& options, Arena& arena) {
  const int64_t rows = head_rows(options);
  Buffers out{arena.take_f32({rows, config.hidden_size}), arena.take_f32({rows, config.vocab_size}),
              arena.take_f32({rows}), arena.take_f32({rows})};
  out.drafts = lay_out_drafts(config, options, arena);
  return out;
}

ActivationOptions activation_options(const GeneratorOptions& options) {
  return {.rows_max = options.batch_rows_max, .mtp = options.draft_tokens_max > 0};
}

int64_t arena_bytes(const ModelConfig& config, const GeneratorOptions& options) {
  Arena plan;
  Activations(config, activation_options(options), plan);
  lay_out(config, options, plan);
  return plan.used_bytes();
}

}  // namespace

// What one thread needs to choose tokens.
struct Chooser {
  Sampler target, draft;
  DraftJudge judge;
};

// The rows of one sequence's newest token and its drafts.
struct Head {
  Sequence* sequence = nullptr;
  int64_t first_row = 0, row_count = 0;  // of the forward
  int64_t logits_row = 0;                // its first among the logits that stand
};

struct Generator::State {
  const ModelWeights& weights;
  GeneratorOptions options;
  Stream& stream;
  KvCache cache;
  BatchKv kv;
  Arena arena;
  Activations activations;
  Buffers buffers;
  std::vector<Chooser> choosers;  // one a worker
  std::optional<Drafter> drafter;

  std::deque<std::unique_ptr<Sequence>> waiting;
  std::vector<std::unique_ptr<Sequence>> running;  // by arrival
  std::map<int64_t, Generation> done;
  std::vector<Event> events;
  int64_t next_id = 0;
  DraftCounts counts;

  // The next forward.
  HostArray<int32_t> ids, positions;
  std::vector<BatchKv::Run> runs;
  std::vector<FedRun> fed;  // as `runs`
  std::vector<Head> heads;  // of the sequences whose newest token is in
  // Of the heads whose logits stand, by row: its row of the forward, and the chosen token (kIgnore
  // past a sequence's last).
  HostArray<int32_t> head_index, tokens;
  HostCopy<float> host_logits, host_log_probability;

  State(const ModelWeights& w, const GeneratorOptions& o, Stream& s)
      : weights(w),
        options(o),
        stream(s),
        cache(w.config, kv_cache_options(o), s),
        kv(cache),
        arena(arena_bytes(w.config, o), s.device()),
        activations(w.config, activation_options(o), arena),
        buffers(lay_out(w.config, o, arena)),
        choosers(static_cast<size_t>(s.host_threads().thread_count())),
        ids(o.batch_rows_max, s.device()),
        positions(o.batch_rows_max, s.device()),
        head_index(head_rows(o), s.device()),
        tokens(head_rows(o), s.device()),
        host_logits(head_rows(o) * w.config.vocab_size, s.device()),
        host_log_probability(head_rows(o), s.device()) {
    if (o.draft_tokens_max > 0)
      drafter.emplace(weights, options, cache, activations, buffers.drafts, stream);
  }

  void admit();
  void add_rows(Sequence& sequence, int64_t rows_free);
  void choose_rows();
  void settle_heads();
  void sample_heads(std::span<const Head> some, int64_t row_count);
  void choose_tokens(const Head& head, Chooser& chooser, std::span<const float> logits,
                     std::span<int32_t> chosen) const;
  void settle(Sequence& sequence, std::span<const int32_t> chosen,
              std::span<const float> log_probability);
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
  const int64_t left = sequence.unfed_count() + sequence.draft_count();
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
  fed.push_back({&sequence, first_row, sequence.fed});
  if (count == left) {
    const int64_t head_count = 1 + sequence.draft_count();
    heads.push_back({&sequence, first_row + count - head_count, head_count});
  }
  sequence.fed += count;
}

// Sequences that decode come first (their newest token and their drafts: there is always room),
// then prompts, in chunks, while rows are left.
void Generator::State::choose_rows() {
  ids.clear();
  positions.clear();
  runs.clear();
  fed.clear();
  heads.clear();
  for (const bool decoding : {true, false}) {
    for (const auto& sequence : running) {
      const bool decodes = sequence->unfed_count() == 1;
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
  FinishReason why = FinishReason::kRunning;
  if (sequence.stops_at(token)) {
    why = FinishReason::kStop;
  } else if (static_cast<int64_t>(sequence.result.tokens.size()) >=
             sequence.request.new_tokens_max) {
    why = FinishReason::kLength;
  }
  events.push_back({sequence.id, token, why});
  if (why != FinishReason::kRunning) retire(why, sequence);
}

// Tokens for a head's rows, as far as drafts stand and one more; kIgnore after them.
void Generator::State::choose_tokens(const Head& head, Chooser& chooser,
                                     std::span<const float> logits,
                                     std::span<int32_t> chosen) const {
  const Sequence& s = *head.sequence;
  const SamplingOptions& sampling = s.request.sampling;
  const size_t v = static_cast<size_t>(weights.config.vocab_size);
  for (int64_t i = 0; i < head.row_count; ++i) {
    const int64_t index = static_cast<int64_t>(s.result.tokens.size()) + i;
    const double uniform =
        Rng(sampling.seed, s.request.stream, 2 * static_cast<uint64_t>(index)).uniform();
    const SamplingContext context = s.context(i);
    const auto p = chooser.target.distribution(
        sampling, logits.subspan(static_cast<size_t>(i) * v, v), context);
    int32_t& token = chosen[static_cast<size_t>(i)];
    if (i == s.draft_count()) {
      token = draw_token(p, uniform);
      return;
    }
    const Draft& draft = s.drafts[static_cast<size_t>(i)];
    const auto q = chooser.draft.distribution(sampling, draft.logits, context);
    const DraftVerdict verdict =
        chooser.judge.judge(p, q, draft.token, Drafter::uniforms(s.request, index).accept, uniform);
    token = verdict.token;
    if (!verdict.accepted || s.stops_at(token)) return;
  }
}

// Takes the chosen tokens; what was fed beyond them is forgotten.
void Generator::State::settle(Sequence& s, std::span<const int32_t> chosen,
                              std::span<const float> log_probability) {
  counts.drafted += s.draft_count();
  for (int64_t i = 0; i < s.draft_count() &&
                      chosen[static_cast<size_t>(i)] == s.drafts[static_cast<size_t>(i)].token;
       ++i) {
    ++counts.accepted;
  }
  s.drafts.clear();
  for (size_t i = 0; i < chosen.size() && chosen[i] != kIgnore && !s.finished; ++i)
    accept(s, chosen[i], log_probability[i]);
  if (s.finished || s.fed < s.token_count()) return;
  s.fed = s.token_count() - 1;
  DURE_CHECK(cache.rewind(s.slot, s.fed), "a ring forgot rows before {}", s.fed);
}

void Generator::State::sample_heads(std::span<const Head> some, int64_t row_count) {
  head_index.clear();
  for (const Head& head : some) {
    for (int64_t i = 0; i < head.row_count; ++i)
      head_index.push_back(static_cast<int32_t>(head.first_row + i));
  }
  const TensorView rows = buffers.chosen.rows(0, row_count),
                   logits = buffers.logits.rows(0, row_count);
  gather_rows(activations.hidden(), head_index.on(stream), rows, stream);
  head_logits(weights, rows, logits, stream);
  const std::span<const float> values = host_logits.of(logits, stream);
  const auto v = static_cast<size_t>(weights.config.vocab_size);
  tokens.assign(static_cast<size_t>(row_count), kIgnore);
  const auto of_head = [](const Head& head, auto list, size_t width) {
    return list.subspan(static_cast<size_t>(head.logits_row) * width,
                        static_cast<size_t>(head.row_count) * width);
  };
  stream.host_threads().parallel_for(std::ssize(some), [&](int64_t i, int worker) {
    const Head& head = some[static_cast<size_t>(i)];
    choose_tokens(head, choosers[static_cast<size_t>(worker)], of_head(head, values, v),
                  of_head(head, tokens.values(), 1));
  });
  const TensorView log_probability = buffers.log_probability.rows(0, row_count);
  token_log_probability(logits, tokens.on(stream), log_probability,
                        buffers.log_sum_exp.rows(0, row_count), {}, stream);
  const std::span<const float> chosen_log_p = host_log_probability.of(log_probability, stream);
  for (const Head& head : some)
    settle(*head.sequence, of_head(head, tokens.values(), 1), of_head(head, chosen_log_p, 1));
}

// Heads in groups whose logits fit.
void Generator::State::settle_heads() {
  size_t first = 0;
  int64_t rows = 0;
  for (size_t i = 0; i < heads.size(); ++i) {
    if (rows + heads[i].row_count > head_rows(options)) {
      sample_heads(std::span(heads).subspan(first, i - first), rows);
      first = i;
      rows = 0;
    }
    heads[i].logits_row = rows;
    rows += heads[i].row_count;
  }
  if (rows > 0) sample_heads(std::span(heads).subspan(first), rows);
}

KvCacheOptions kv_cache_options(const GeneratorOptions& o) {
  return {.sequence_count_max = o.sequences_max,
          .context_tokens_max = o.context_tokens_max,
          .append_tokens_max =
              std::max(std::min(o.chunk_tokens_max, o.batch_rows_max), 1 + o.draft_tokens_max),
          .rows_max = o.batch_rows_max,
          .page_count = o.page_count,
          .dtype = o.kv_dtype,
          .draft_tokens_max = o.draft_tokens_max};
}

Generator::Generator(const ModelWeights& weights, const GeneratorOptions& options, Stream& stream) {
  DURE_CHECK(options.sequences_max >= 1 && options.chunk_tokens_max >= 1 &&
             options.draft_tokens_max >= 0);
  DURE_CHECK(options.batch_rows_max >= options.sequences_max * (1 + options.draft_tokens_max),
             "{} rows for {} sequences with {} drafts", options.batch_rows_max,
             options.sequences_max, options.draft_tokens_max);
  if (options.draft_tokens_max > 0 && weights.config.mtp_layer_count == 0) {
    fail(ErrorCode::kInvalidArgument,
         "{} draft tokens, but the model has no MTP layer to draft with: ask for 0",
         options.draft_tokens_max);
  }
  state_ = std::make_unique<State>(weights, options, stream);
}

Generator::~Generator() = default;

int64_t Generator::plan_bytes(const ModelConfig& config, const GeneratorOptions& options) {
  return arena_bytes(config, options) +
         kv_cache_plan(config, kv_cache_options(options)).total_bytes();
}

int64_t Generator::submit(GenerationRequest request) {
  State& s = *state_;
  const int64_t prompt = static_cast<int64_t>(request.prompt.size()),
                vocab = s.weights.config.vocab_size;
  if (prompt == 0)
    fail(ErrorCode::kInvalidArgument, "the prompt is empty: give at least one token");
  if (request.new_tokens_max < 1)
    fail(ErrorCode::kInvalidArgument, "{} new tokens: ask for at least 1", request.new_tokens_max);
  require_known_tokens(request.prompt, vocab, "prompt token");
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
  s.kv.set_runs(s.runs, s.stream);
  forward(s.weights, {.ids = s.ids.on(s.stream), .positions = s.positions.on(s.stream)}, s.kv,
          s.activations, s.stream);
  s.kv.commit();
  s.settle_heads();
  if (s.drafter) s.drafter->run(s.fed);
  for (const FedRun& run : s.fed) {
    if (!run.sequence->finished) s.cache.trim(run.sequence->slot);
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
Generator::DraftCounts Generator::draft_counts() const { return state_->counts; }

}  // namespace dure
