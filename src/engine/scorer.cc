// Sequences into chunks of rows, and the head over a few rows at a time.
#include "engine/scorer.h"

#include <algorithm>
#include <vector>

#include "engine/known_tokens.h"
#include "engine/kv_cache.h"
#include "kernels/cross_entropy.h"
#include "model/model.h"

namespace dure {
namespace {

constexpr int64_t kLogitsBytes = int64_t{16} << 20;

KvCacheOptions cache_options(const ScorerOptions& o) {
  return {.sequence_count_max = o.sequences_max,
          .context_tokens_max = o.sequence_tokens_max,
          .append_tokens_max = std::min(o.chunk_tokens, o.sequence_tokens_max),
          .rows_max = o.chunk_tokens,
          // One sequence goes on from chunk to chunk; the others begin in the chunk they end in.
          .page_count = (o.sequence_tokens_max + o.chunk_tokens) / KvView::kTokens + 2 +
                        std::min(o.sequences_max, o.chunk_tokens),
          .dtype = o.kv_dtype};
}

struct HeadBuffers {
  TensorView logits, log_probability, log_sum_exp;  // [R, V], [R], [R]

  HeadBuffers(const ModelConfig& config, const ScorerOptions& options, Arena& arena) {
    const int64_t v = config.vocab_size,
                  rows = std::clamp<int64_t>(kLogitsBytes / (4 * v), 1, options.chunk_tokens);
    logits = arena.take_f32({rows, v});
    log_probability = arena.take_f32({rows});
    log_sum_exp = arena.take_f32({rows});
  }
};

ActivationOptions activation_options(const ScorerOptions& options) {
  return {.rows_max = options.chunk_tokens, .adapter_rank = options.adapter_rank};
}

int64_t arena_bytes(const ModelConfig& config, const ScorerOptions& options) {
  Arena plan;
  Activations(config, activation_options(options), plan);
  HeadBuffers(config, options, plan);
  return plan.peak_bytes();
}

// A stretch of one sequence in a chunk.
struct Stretch {
  size_t sequence = 0;
  int slot = 0;
  int64_t first_row = 0, row_count = 0, first_position = 0;
  bool ends = false;
};

}  // namespace

struct Scorer::State {
  const ModelWeights& weights;
  ScorerOptions options;
  Stream& stream;
  Arena arena;
  Activations activations;
  HeadBuffers head;
  KvCache cache;
  BatchKv kv;
  HostArray<int32_t> ids, positions, targets;  // of a chunk; targets: kIgnore at a sequence's end
  HostCopy<float> host_logits, host_log_probability;
  std::vector<Stretch> stretches;
  std::vector<BatchKv::Run> runs;
  const ModelAdapter* adapter = nullptr;  // of what is being scored

  State(const ModelWeights& w, const ScorerOptions& o, Stream& s)
      : weights(w),
        options(o),
        stream(s),
        arena(arena_bytes(w.config, o), s.device()),
        activations(w.config, activation_options(o), arena),
        head(w.config, o, arena),
        cache(w.config, cache_options(o), s),
        kv(cache),
        ids(o.chunk_tokens, s.device()),
        positions(o.chunk_tokens, s.device()),
        targets(o.chunk_tokens, s.device()),
        host_logits(head.logits.elements(), s.device()),
        host_log_probability(head.logits.dim(0), s.device()) {}

  int64_t add_rows(size_t sequence, std::span<const int32_t> all, int64_t done, int slot);
  // All `count` rows of a pass, or of a head, through the adapter that was given, if any.
  AdapterRows adapter_rows(int64_t count) const { return {adapter, 0, count}; }
  std::span<const AdapterRows> listed(const AdapterRows& rows) const {
    return {&rows, adapter != nullptr ? size_t{1} : size_t{0}};
  }
  void run(const std::function<void(const ScoredRows&)>& sink);
  void run_head(const Stretch& stretch, const std::function<void(const ScoredRows&)>& sink);
};

// As many rows of the sequence as the chunk has room for; how many.
int64_t Scorer::State::add_rows(size_t sequence, std::span<const int32_t> all, int64_t done,
                                int slot) {
  const int64_t length = std::ssize(all), first_row = std::ssize(ids.values()),
                count = std::min(length - done, options.chunk_tokens - first_row);
  for (int64_t p = done; p < done + count; ++p) {
    ids.push_back(all[static_cast<size_t>(p)]);
    positions.push_back(static_cast<int32_t>(p));
    targets.push_back(p + 1 < length ? all[static_cast<size_t>(p) + 1] : kIgnore);
  }
  DURE_CHECK(cache.reserve(slot, count), "{} tokens where {} were planned", length,
             options.sequence_tokens_max);
  stretches.push_back({sequence, slot, first_row, count, done, done + count == length});
  runs.push_back(
      {.slot = slot, .first_row = first_row, .row_count = count, .first_position = done});
  return count;
}

void Scorer::State::run(const std::function<void(const ScoredRows&)>& sink) {
  kv.set_runs(runs, stream);
  const AdapterRows rows = adapter_rows(std::ssize(ids.values()));
  forward(weights,
          {.ids = ids.on(stream), .positions = positions.on(stream), .adapters = listed(rows)}, kv,
          activations, stream);
  kv.commit();
  for (const Stretch& stretch : stretches) {
    run_head(stretch, sink);
    if (stretch.ends) cache.close(stretch.slot);
  }
  ids.clear();
  positions.clear();
  targets.clear();
  stretches.clear();
  runs.clear();
}

void Scorer::State::run_head(const Stretch& stretch,
                             const std::function<void(const ScoredRows&)>& sink) {
  const int64_t step = head.logits.dim(0);
  for (int64_t first = 0; first < stretch.row_count; first += step) {
    const int64_t count = std::min(step, stretch.row_count - first),
                  row = stretch.first_row + first;
    const TensorView logits = head.logits.rows(0, count),
                     log_p = head.log_probability.rows(0, count);
    const AdapterRows added = adapter_rows(count);
    head_logits(weights, activations.hidden().rows(row, count), logits, stream,
                {activations.adapter_inner(), listed(added)});
    token_log_probability(logits, targets.on(stream).rows(row, count), log_p,
                          head.log_sum_exp.rows(0, count), {}, stream);
    sink({.sequence = stretch.sequence,
          .first_position = stretch.first_position + first,
          .log_probability = host_log_probability.of(log_p, stream),
          .logits = host_logits.of(logits, stream)});
  }
}

Scorer::Scorer(const ModelWeights& weights, const ScorerOptions& options, Stream& stream) {
  DURE_CHECK(
      options.sequence_tokens_max >= 1 && options.chunk_tokens >= 1 && options.sequences_max >= 1,
      "{} tokens, chunks of {}, {} sequences", options.sequence_tokens_max, options.chunk_tokens,
      options.sequences_max);
  ScorerOptions planned = options;
  planned.adapter_rank = std::max(options.adapter_rank, weights.adapter_rank());
  state_ = std::make_unique<State>(weights, planned, stream);
}

Scorer::~Scorer() = default;

int64_t Scorer::plan_bytes(const ModelConfig& config, const ScorerOptions& options) {
  return arena_bytes(config, options) + kv_cache_plan(config, cache_options(options)).total_bytes();
}

void Scorer::score(std::span<const std::span<const int32_t>> sequences,
                   const std::function<void(const ScoredRows&)>& sink,
                   const ModelAdapter* adapter) {
  State& s = *state_;
  DURE_CHECK(adapter == nullptr || adapter->rank_max <= s.options.adapter_rank,
             "an adapter of a higher rank than was planned");
  s.adapter = adapter;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::span<const int32_t> all = sequences[i];
    DURE_CHECK(!all.empty() && std::ssize(all) <= s.options.sequence_tokens_max,
               "sequence {} of {} tokens", i, all.size());
    require_known_tokens(all, s.weights.config.vocab_size, "token");
    if (s.cache.free_sequences() == 0) s.run(sink);
    const int slot = s.cache.open();
    for (int64_t done = 0; done < std::ssize(all);) {
      done += s.add_rows(i, all, done, slot);
      if (std::ssize(s.ids.values()) == s.options.chunk_tokens) s.run(sink);
    }
  }
  if (!s.ids.empty()) s.run(sink);
}

}  // namespace dure
