// A step is one pass for all that run: rows, forward, tokens, drafts. A pass that throws is undone,
// and its sequences then go through passes of their own (see step() in the header).
#include "engine/generator.h"

#include <algorithm>
#include <cmath>
#include <new>

#include "base/hash.h"
#include "engine/known_tokens.h"
#include "engine/scheduler.h"
#include "engine/speculation.h"
#include "kernels/cross_entropy.h"
#include "kernels/isa.h"
#include "kernels/rows.h"
#include "model/fingerprint.h"

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

ActivationOptions activation_options(const ModelConfig& config, const GeneratorOptions& options) {
  return {.rows_max = options.batch_rows_max,
          .mtp = drafts_with_mtp(config, options),
          .adapter_rank = options.adapter_rank};
}

int64_t arena_bytes(const ModelConfig& config, const GeneratorOptions& options) {
  Arena plan;
  Activations(config, activation_options(config, options), plan);
  lay_out(config, options, plan);
  return plan.used_bytes();
}

// What was thrown, as the error of a request; that there is no memory for it is an error too.
Error error_of(const std::exception_ptr& thrown) {
  try {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& error) {
      return error;
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      return {ErrorCode::kInvalidArgument, error.what()};
    }
  } catch (const std::bad_alloc&) {
    return {ErrorCode::kOutOfMemory, "out of memory"};
  } catch (...) {
    return {ErrorCode::kInvalidArgument, "unknown"};
  }
}

std::optional<PrefixCache> make_prefixes(const GeneratorOptions& options, KvCache& cache) {
  if (!options.prefix.keep) return std::nullopt;
  DURE_CHECK(options.prefix.stride_tokens >= 1 && options.prefix.bytes_max >= 0);
  return std::optional<PrefixCache>(std::in_place, options, cache);
}

}  // namespace

// The rows of one sequence's newest token and its drafts.
struct Head {
  Sequence* sequence = nullptr;
  int64_t first_row = 0, row_count = 0;  // of the forward
  int64_t logits_row = 0;                // its first among the logits that stand
  std::optional<Error> error;            // no token could be chosen
};

// What a sequence adds to the next forward.
struct Share {
  Sequence* sequence = nullptr;
  int64_t row_count = 0;
  bool with_head = false;  // its newest token is among the rows
  bool laid = false;
};

// Adds rows [first, first + count) to what goes through `adapter` (null: nothing is added to them).
void add_stretch(std::vector<AdapterRows>& list, const ModelAdapter* adapter, int64_t first,
                 int64_t count) {
  if (adapter == nullptr) return;
  if (!list.empty() && list.back().adapter == adapter &&
      list.back().first + list.back().count == first) {
    list.back().count += count;
  } else {
    list.push_back({adapter, first, count});
  }
}

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
  std::optional<Speculation> speculation;
  bool mtp_rows;  // the MTP layer has rows of its own
  std::optional<PrefixCache> prefixes;
  Scheduler scheduler;
  std::vector<Event> events;
  GeneratorStatistics counts;  // since construction

  // The pass that is being made.
  std::vector<Sequence*> members, prompts;
  std::vector<Share> shares;
  std::vector<AdapterRows> adapters, head_adapters;
  HostArray<int32_t> ids, positions;
  std::vector<BatchKv::Run> runs;
  std::vector<FedRun> fed;  // as `runs`
  std::vector<Head> heads;  // of the sequences whose newest token is in
  // Of the heads whose logits stand, by row: its row of the forward, and the chosen token (kIgnore
  // past a sequence's last).
  HostArray<int32_t> head_index, tokens;
  HostCopy<float> host_logits, host_log_probability, host_log_sum_exp;

  State(const ModelWeights& w, const GeneratorOptions& o, Stream& s)
      : weights(w),
        options(o),
        stream(s),
        cache(w.config, kv_cache_options(o), s),
        kv(cache),
        arena(arena_bytes(w.config, o), s.device()),
        activations(w.config, activation_options(w.config, o), arena),
        buffers(lay_out(w.config, o, arena)),
        samplers(static_cast<size_t>(s.host_threads().thread_count())),
        mtp_rows(drafts_with_mtp(w.config, o)),
        prefixes(make_prefixes(options, cache)),
        scheduler(w.config, options, cache, prefixes ? &*prefixes : nullptr),
        ids(o.batch_rows_max, s.device()),
        positions(o.batch_rows_max, s.device()),
        head_index(head_rows(o), s.device()),
        tokens(head_rows(o), s.device()),
        host_logits(head_rows(o) * w.config.vocab_size, s.device()),
        host_log_probability(head_rows(o), s.device()),
        host_log_sum_exp(head_rows(o), s.device()) {
    if (o.draft_tokens_max > 0)
      speculation.emplace(weights, options, cache, activations, buffers.drafts, stream);
    const auto sequences = static_cast<size_t>(o.sequences_max);
    members.reserve(sequences);
    prompts.reserve(sequences);
    runs.reserve(sequences);
    fed.reserve(sequences);
    heads.reserve(sequences);
    shares.reserve(sequences);
    adapters.reserve(sequences);
    head_adapters.reserve(sequences);
    // A pass gives a sequence a token, its drafts and an error at most; one may fail to enter.
    events.reserve(sequences * static_cast<size_t>(o.draft_tokens_max + 2) + 1);
  }

  void admit();
  Sequence* next_alone(int64_t from_id);  // Of those that go alone; null: no more.
  void run_pass();
  void keep_rows();
  int64_t waiting_prompt_rows();
  void make_pass();
  void undo_pass(Error error);
  void retreat(Sequence& sequence);
  void choose_rows();
  int64_t take_share(Sequence& sequence, int64_t rows_left);
  void lay_rows();
  void add_rows(Share& share);
  const ModelAdapter* adapter_of(const Sequence& sequence) const;
  void settle_heads();
  void sample_heads(std::span<Head> some, int64_t row_count);
  void choose_tokens(Head& head, Sampler& sampler, std::span<const float> logits,
                     std::span<int32_t> chosen) const;
  void add_top(std::span<const Head> some, std::span<const float> logits, TensorView log_sum_exp);
  void settle(Head& head, std::span<const int32_t> chosen, std::span<const float> log_probability);
  void take_tokens(Sequence& sequence, std::span<const int32_t> chosen,
                   std::span<const float> log_probability);
  void accept(Sequence& sequence, int32_t token, float log_probability);
  void end_with(Sequence& sequence, Error error);
  void complete_events();
  PrefixFileModel file_model(const PrefixFileOwner& owner) const;
};

void Generator::State::end_with(Sequence& s, Error error) {
  ++counts.faults;
  s.result.error.emplace(std::move(error));
  scheduler.end(s, FinishReason::kError);
  events.push_back({.id = s.id, .index = s.new_count(), .finish = FinishReason::kError});
}

void Generator::State::admit() {
  while (Sequence* next = scheduler.next()) {
    try {
      scheduler.admit(*next);
      next->fed_step = counts.steps;
    } catch (...) {
      return end_with(*next, error_of(std::current_exception()));
    }
  }
}

Sequence* Generator::State::next_alone(int64_t from_id) {
  for (Sequence& s : scheduler.running()) {
    if (s.id >= from_id && s.alone()) return &s;
  }
  return nullptr;
}

const ModelAdapter* Generator::State::adapter_of(const Sequence& s) const {
  return s.request.adapter != nullptr ? s.request.adapter.get() : weights.adapter.get();
}

// The rows that `s` adds, of so many that are left.
int64_t Generator::State::take_share(Sequence& s, int64_t rows_left) {
  const int64_t replay = s.replay_count(),
                left = replay > 0 ? replay : s.unfed_count() + s.draft_count();
  const int64_t count = std::min({left, rows_left, cache.options().append_tokens_max});
  if (count <= 0 || !s.runs() || !scheduler.make_room(s, s.fed + count)) return 0;
  s.fed_step = counts.steps;
  shares.push_back({&s, count, replay == 0 && count == left});
  return count;
}

void Generator::State::add_rows(Share& share) {
  Sequence& s = *share.sequence;
  const int64_t first_row = std::ssize(ids.values()), count = share.row_count;
  for (int64_t i = 0; i < count; ++i) {
    ids.push_back(s.token(s.fed + i));
    positions.push_back(static_cast<int32_t>(s.fed + i));
  }
  runs.push_back(
      {.slot = s.slot, .first_row = first_row, .row_count = count, .first_position = s.fed});
  fed.push_back({&s, first_row, s.fed});
  add_stretch(adapters, adapter_of(s), first_row, count);
  share.laid = true;
  if (!share.with_head) return;
  const int64_t head_count = 1 + s.draft_count();
  heads.push_back({&s, first_row + count - head_count, head_count});
}

// In the order of the shares, but those of one adapter together (adapter.h).
void Generator::State::lay_rows() {
  for (size_t i = 0; i < shares.size(); ++i) {
    if (shares[i].laid) continue;
    const ModelAdapter* const adapter = adapter_of(*shares[i].sequence);
    for (size_t j = i; j < shares.size(); ++j) {
      if (!shares[j].laid && adapter_of(*shares[j].sequence) == adapter) add_rows(shares[j]);
    }
  }
}

// Sequences that decode come first, the oldest first (their newest token and their drafts: there is
// always room); then prompts, in chunks, while rows are left, who has waited longest first: a long
// prompt holds up another by a chunk, not by all of itself.
void Generator::State::choose_rows() {
  ids.clear();
  positions.clear();
  runs.clear();
  fed.clear();
  heads.clear();
  shares.clear();
  adapters.clear();
  prompts.clear();
  int64_t left = options.batch_rows_max;
  for (Sequence* s : members) {
    if (s->decodes()) {
      left -= take_share(*s, left);
    } else {
      prompts.push_back(s);
    }
  }
  std::sort(prompts.begin(), prompts.end(), [](const Sequence* a, const Sequence* b) {
    return a->fed_step != b->fed_step ? a->fed_step < b->fed_step : a->id < b->id;
  });
  for (Sequence* s : prompts) left -= take_share(*s, left);
  lay_rows();
}

void Generator::State::make_pass() {
  const Speculation::Clock::time_point start = Speculation::Clock::now();
  choose_rows();
  if (ids.empty()) return;
  kv.set_runs(runs, stream);
  forward(weights, {.ids = ids.on(stream), .positions = positions.on(stream), .adapters = adapters},
          kv, activations, stream);
  kv.commit();
  for (const BatchKv::Run& run : runs)
    fed[static_cast<size_t>(&run - runs.data())].sequence->fed += run.row_count;
  counts.rows += std::ssize(ids.values());
  settle_heads();
  if (!speculation) return;
  speculation->run({.fed = fed,
                    .rows = std::ssize(ids.values()),
                    .prompt_rows = waiting_prompt_rows(),
                    .start = start});
}

// Of prompts that are not through yet.
int64_t Generator::State::waiting_prompt_rows() {
  int64_t rows = 0;
  for (const Sequence& s : scheduler.running()) rows += s.decodes() ? 0 : s.unfed_count();
  return rows;
}

void Generator::State::run_pass() {
  if (members.empty()) return;
  for (Sequence& s : scheduler.running()) {
    s.pass_from = s.fed;
    s.settled = false;
  }
  try {
    make_pass();
    keep_rows();
  } catch (...) {
    undo_pass(error_of(std::current_exception()));
  }
  for (Sequence* s : members) {
    if (s->runs()) cache.trim(s->slot);
  }
}

// Rows are good once the MTP layer has its own of them too.
void Generator::State::keep_rows() {
  for (Sequence* s : members) {
    if (!s->runs()) continue;
    s->kept = s->fed;
    if (prefixes) prefixes->go_by(*s);
  }
}

void Generator::State::undo_pass(Error error) {
  if (members.size() == 1) {
    if (!members[0]->ended()) end_with(*members[0], std::move(error));
    return;
  }
  for (Sequence* s : members) {
    if (s->runs()) retreat(*s);
  }
}

// To where it was before the pass, without its drafts. Rows that were written are overwritten, as
// those of rejected drafts are. One whose token has been drawn keeps it; where the MTP layer's rows
// may be missing it is read anew.
void Generator::State::retreat(Sequence& s) {
  if (s.settled && !mtp_rows) return;
  s.result.top.resize(static_cast<size_t>(s.new_count() * s.request.top_count));
  s.alone_until = 1 + (s.settled ? s.fed : s.pass_from);
  if (s.settled || !cache.rewind(s.slot, s.pass_from)) return scheduler.preempt(s);
  s.drop_drafts();
  s.fed = s.pass_from;
  s.kept = std::min(s.kept, s.fed);
}

void Generator::State::accept(Sequence& s, int32_t token, float log_probability) {
  s.add_token(token, log_probability);
  if (s.new_count() == 1) counts.prompt_tokens += s.prompt_count();
  ++counts.new_tokens;
  FinishReason why = FinishReason::kRunning;
  if (s.stops_at(token)) {
    why = FinishReason::kStop;
  } else if (s.new_count() >= s.request.new_tokens_max) {
    why = FinishReason::kLength;
  }
  events.push_back({.id = s.id,
                    .token = token,
                    .index = s.new_count() - 1,
                    .log_probability = log_probability,
                    .finish = why});
  if (why == FinishReason::kRunning) return;
  if (!mtp_rows) s.kept = std::min(s.fed, s.token_count() - 1);  // not those of further drafts
  scheduler.end(s, why);
}

// Tokens for a head's rows, as far as drafts stand and one more; kIgnore after them. Each is drawn
// as if there were no drafts: one stands if it is that token.
void Generator::State::choose_tokens(Head& head, Sampler& sampler, std::span<const float> logits,
                                     std::span<int32_t> chosen) const {
  Sequence& s = *head.sequence;
  const int64_t v = weights.config.vocab_size;
  try {
    for (int64_t i = 0; i < head.row_count; ++i) {
      const int32_t token = sampler.sample(
          s.request.sampling, logits.subspan(static_cast<size_t>(i * v), static_cast<size_t>(v)),
          s.context(i, v), draw_uniform(s.request, s.new_count() + i));
      chosen[static_cast<size_t>(i)] = token;
      if (i == s.draft_count() || token != s.drafts[static_cast<size_t>(i)] || s.stops_at(token))
        return;
    }
  } catch (...) {
    head.error = error_of(std::current_exception());
  }
}

// Takes the chosen tokens; what was fed beyond them is forgotten.
void Generator::State::settle(Head& head, std::span<const int32_t> chosen,
                              std::span<const float> log_probability) {
  Sequence& s = *head.sequence;
  try {
    take_tokens(s, chosen, log_probability);
  } catch (...) {
    head.error = error_of(std::current_exception());
  }
  s.settled = true;
  if (s.ended()) return;
  if (head.error) return end_with(s, std::move(*head.error));
  if (s.fed < s.token_count()) return;
  s.fed = s.token_count() - 1;
  DURE_CHECK(cache.rewind(s.slot, s.fed), "a ring forgot rows before {}", s.fed);
}

void Generator::State::take_tokens(Sequence& s, std::span<const int32_t> chosen,
                                   std::span<const float> log_probability) {
  if (speculation) speculation->judge(s, chosen);
  s.drop_drafts();
  for (size_t i = 0; i < chosen.size() && chosen[i] != kIgnore && !s.ended(); ++i) {
    if (!std::isfinite(log_probability[i])) {
      fail(ErrorCode::kDiverged, "the log-probability of token {} is not finite: {}", chosen[i],
           log_probability[i]);
    }
    accept(s, chosen[i], log_probability[i]);
  }
}

void Generator::State::sample_heads(std::span<Head> some, int64_t row_count) {
  head_index.clear();
  head_adapters.clear();
  for (const Head& head : some) {
    add_stretch(head_adapters, adapter_of(*head.sequence), std::ssize(head_index.values()),
                head.row_count);
    for (int64_t i = 0; i < head.row_count; ++i)
      head_index.push_back(static_cast<int32_t>(head.first_row + i));
  }
  const TensorView rows = buffers.chosen.rows(0, row_count),
                   logits = buffers.logits.rows(0, row_count);
  gather_rows(activations.hidden(), head_index.on(stream), rows, stream);
  head_logits(weights, rows, logits, stream, {activations.adapter_inner(), head_adapters});
  const std::span<const float> values = host_logits.of(logits, stream);
  const auto v = static_cast<size_t>(weights.config.vocab_size);
  tokens.assign(static_cast<size_t>(row_count), kIgnore);
  const auto of_head = [](const Head& head, auto list, size_t width) {
    return list.subspan(static_cast<size_t>(head.logits_row) * width,
                        static_cast<size_t>(head.row_count) * width);
  };
  const std::span<int32_t> chosen = tokens.values();  // Once: it notes the change.
  stream.host_threads().parallel_for(std::ssize(some), [&](int64_t i, int worker) {
    Head& head = some[static_cast<size_t>(i)];
    choose_tokens(head, samplers[static_cast<size_t>(worker)], of_head(head, values, v),
                  of_head(head, chosen, 1));
  });
  const TensorView log_probability = buffers.log_probability.rows(0, row_count),
                   log_sum_exp = buffers.log_sum_exp.rows(0, row_count);
  token_log_probability(logits, tokens.on(stream), log_probability, log_sum_exp, {}, stream);
  const std::span<const float> chosen_log_p = host_log_probability.of(log_probability, stream);
  add_top(some, values, log_sum_exp);
  for (Head& head : some) settle(head, of_head(head, chosen, 1), of_head(head, chosen_log_p, 1));
}

// For every chosen token of those who ask; there is room, and no more than tokens stays.
void Generator::State::add_top(std::span<const Head> some, std::span<const float> logits,
                               TensorView log_sum_exp) {
  const auto asks = [](const Head& head) { return head.sequence->request.top_count > 0; };
  if (std::none_of(some.begin(), some.end(), asks)) return;
  const std::span<const float> sums = host_log_sum_exp.of(log_sum_exp, stream);
  const auto v = static_cast<size_t>(weights.config.vocab_size);
  stream.host_threads().parallel_for(std::ssize(some), [&](int64_t i, int) {
    const Head& head = some[static_cast<size_t>(i)];
    Sequence& s = *head.sequence;
    const auto first = static_cast<size_t>(head.logits_row);
    for (size_t row = first; row < first + static_cast<size_t>(head.row_count); ++row) {
      if (std::as_const(tokens)[row] == kIgnore) return;
      add_likeliest(logits.subspan(row * v, v), sums[row], s.request.top_count, s.result.top);
    }
  });
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

// What results hold may have moved while tokens were added.
void Generator::State::complete_events() {
  for (Event& event : events) {
    const Sequence& s = *scheduler.find(event.id);
    const auto width = static_cast<size_t>(s.request.top_count);
    if (event.token)
      event.top = std::span(s.result.top).subspan(static_cast<size_t>(event.index) * width, width);
    event.cached_tokens = s.result.cached_tokens;
    event.drafted = s.result.drafted;
    event.accepted = s.result.accepted;
    if (event.finish == FinishReason::kError) event.error = &*s.result.error;
  }
}

bool drafts_with_mtp(const ModelConfig& config, const GeneratorOptions& o) {
  return o.draft_tokens_max > 0 && o.drafter != DrafterChoice::kNgram && config.mtp_layer_count > 0;
}

KvCacheOptions kv_cache_options(const GeneratorOptions& o) {
  return {.sequence_count_max = o.sequences_max,
          .context_tokens_max = o.context_tokens_max,
          .append_tokens_max =
              std::max(std::min(o.chunk_tokens_max, o.batch_rows_max), 1 + o.draft_tokens_max),
          .rows_max = o.batch_rows_max,
          .page_count = o.page_count,
          .dtype = o.kv_dtype,
          .draft_tokens_max = o.drafter == DrafterChoice::kNgram ? 0 : o.draft_tokens_max,
          .prefix_bytes_max = o.prefix.keep ? o.prefix.bytes_max : 0,
          .prefix_stride_tokens = o.prefix.stride_tokens};
}

int64_t prefix_bytes_for(const ModelConfig& config, const GeneratorOptions& options,
                         int64_t snapshot_count) {
  return snapshot_count * kv_cache_plan(config, kv_cache_options(options)).snapshot_bytes;
}

int64_t pages_within(const ModelConfig& config, const GeneratorOptions& options,
                     int64_t kv_bytes_max) {
  GeneratorOptions one = options;
  one.page_count = (options.context_tokens_max + KvView::kTokens - 1) / KvView::kTokens;
  const KvCachePlan least = kv_cache_plan(config, kv_cache_options(one));
  if (least.total_bytes() > kv_bytes_max) {
    fail(ErrorCode::kInvalidArgument,
         "{} bytes of keys and values: one context of {} tokens beside {} sequences needs {}; "
         "give more, or a shorter context or fewer sequences",
         kv_bytes_max, options.context_tokens_max, options.sequences_max, least.total_bytes());
  }
  if (least.page_bytes == 0) return 0;
  return one.page_count + (kv_bytes_max - least.total_bytes()) / least.page_bytes;
}

Generator::Generator(const ModelWeights& weights, const GeneratorOptions& options, Stream& stream) {
  DURE_CHECK(options.sequences_max >= 1 && options.chunk_tokens_max >= 1 &&
             options.draft_tokens_max >= 0);
  DURE_CHECK(options.batch_rows_max >= options.sequences_max * (1 + options.draft_tokens_max),
             "{} rows for {} sequences with {} drafts", options.batch_rows_max,
             options.sequences_max, options.draft_tokens_max);
  if (options.draft_tokens_max > 0 && options.drafter == DrafterChoice::kMtp &&
      weights.config.mtp_layer_count == 0) {
    fail(ErrorCode::kInvalidArgument,
         "{} draft tokens, but the model has no MTP layer to draft with: ask for 0, or for drafts "
         "by n-grams",
         options.draft_tokens_max);
  }
  GeneratorOptions planned = options;
  planned.adapter_rank = std::max(options.adapter_rank, weights.adapter_rank());
  state_ = std::make_unique<State>(weights, planned, stream);
}

Generator::~Generator() = default;

int64_t Generator::plan_bytes(const ModelConfig& config, const GeneratorOptions& options) {
  return arena_bytes(config, options) +
         kv_cache_plan(config, kv_cache_options(options)).total_bytes();
}

const GeneratorOptions& Generator::options() const { return state_->options; }

void Generator::check(const GenerationRequest& request) const {
  const int64_t vocab = state_->weights.config.vocab_size, prompt = std::ssize(request.prompt);
  if (prompt == 0)
    fail(ErrorCode::kInvalidArgument, "the prompt is empty: give at least one token");
  if (request.new_tokens_max < 1)
    fail(ErrorCode::kInvalidArgument, "{} new tokens: ask for at least 1", request.new_tokens_max);
  if (request.new_tokens_min < 0 || request.new_tokens_min > request.new_tokens_max) {
    fail(ErrorCode::kInvalidArgument, "at least {} new tokens, of at most {}: give 0 to {}",
         request.new_tokens_min, request.new_tokens_max, request.new_tokens_max);
  }
  if (request.top_count < 0 || request.top_count > GenerationRequest::kTopCountMax) {
    fail(ErrorCode::kInvalidArgument, "{} likeliest tokens: give 0 to {}", request.top_count,
         GenerationRequest::kTopCountMax);
  }
  if (request.adapter != nullptr && request.adapter->rank_max > state_->options.adapter_rank) {
    fail(ErrorCode::kInvalidArgument, "an adapter of rank {}, where {} is the highest planned",
         request.adapter->rank_max, state_->options.adapter_rank);
  }
  require_known_tokens(request.prompt, vocab, "prompt token");
  state_->scheduler.check_room(prompt, request.new_tokens_max);
  check_sampling(request.sampling, vocab);
}

int64_t Generator::submit(GenerationRequest request) {
  check(request);
  request.top_count = std::min(request.top_count, state_->weights.config.vocab_size);
  if (request.adapter != nullptr) {
    const uint64_t of_adapter[2] = {request.prefix_salt, request.adapter->fingerprint};
    request.prefix_salt = xxh64({reinterpret_cast<const char*>(of_adapter), sizeof(of_adapter)});
  }
  return state_->scheduler.add(std::move(request)).id;
}

PrefixFileModel Generator::State::file_model(const PrefixFileOwner& owner) const {
  return {owner.model, model_fingerprint(weights, stream),
          fmt::format("{}, {}", isa_name(isa()), owner.build)};
}

void Generator::save_prefixes(const Path& path, const PrefixFileOwner& owner) {
  State& s = *state_;
  if (!s.prefixes) return;
  dure::save_prefixes(path, s.file_model(owner), s.cache, s.prefixes->index());
}

RestoredPrefixes Generator::restore_prefixes(const Path& path, const PrefixFileOwner& owner) {
  State& s = *state_;
  if (!s.prefixes)
    fail(ErrorCode::kInvalidArgument, "{}: prefixes, but none are kept here", path.string());
  return dure::restore_prefixes(path, s.file_model(owner), s.cache, s.prefixes->index());
}

void Generator::forget_prefixes() {
  if (state_->prefixes) state_->prefixes->clear(state_->scheduler.running());
}

void Generator::cancel(int64_t id, FinishReason why) {
  Sequence* s = state_->scheduler.find(id);
  if (s != nullptr && !s->ended()) state_->scheduler.end(*s, why);
}

// First those that go alone, each in a pass of its own; then all others together.
bool Generator::step() {
  State& s = *state_;
  s.events.clear();
  s.admit();
  if (s.scheduler.running().empty() && s.events.empty()) return false;
  ++s.counts.steps;
  int64_t from = 0;
  while (Sequence* alone = s.next_alone(from)) {
    from = alone->id + 1;
    s.members.assign(1, alone);
    s.run_pass();
  }
  s.members.clear();
  for (Sequence& one : s.scheduler.running()) {
    if (!one.alone() && one.fed_step < s.counts.steps) s.members.push_back(&one);
  }
  s.run_pass();
  s.complete_events();
  return true;
}

std::span<const Generator::Event> Generator::events() const { return state_->events; }

Generation Generator::take(int64_t id) { return state_->scheduler.take(id); }

std::vector<Generation> Generator::run(std::vector<GenerationRequest> requests,
                                       const std::function<void(int64_t)>& on_step) {
  std::vector<int64_t> ids;
  std::vector<Generation> results;
  try {
    for (GenerationRequest& request : requests) ids.push_back(submit(std::move(request)));
    int64_t ended = 0;
    while (step()) {
      for (const Event& event : events()) {
        if (event.error != nullptr) throw Error(*event.error);
        ended += event.finish != FinishReason::kRunning ? 1 : 0;
      }
      if (on_step) on_step(ended);
    }
  } catch (...) {
    for (const int64_t id : ids) {
      cancel(id);
      take(id);
    }
    throw;
  }
  for (const int64_t id : ids) results.push_back(take(id));
  return results;
}

int64_t Generator::running_count() const { return std::ssize(state_->scheduler.running()); }

Generator::DraftCounts Generator::draft_counts() const {
  const GeneratorStatistics s = statistics();
  return {s.drafted, s.accepted};
}

GeneratorStatistics Generator::statistics() const {
  GeneratorStatistics out = state_->counts;
  out.sequences_max = state_->options.sequences_max;
  out.batch_rows_max = state_->options.batch_rows_max;
  state_->scheduler.fill(out);
  if (state_->speculation) state_->speculation->fill(out);
  if (state_->prefixes) state_->prefixes->fill(out);
  return out;
}

}  // namespace dure
