#include "engine/drafter.h"

#include <cstring>

#include "base/error.h"
#include "base/rng.h"
#include "engine/speculation.h"

namespace dure {
namespace {

// A prompt whose last token is still to come could have drafts too, but whether there is such a
// moment depends on the chunks, and nothing may depend on those.
bool decodes(const Sequence& s) { return s.unfed_count() == 1 && !s.result.tokens.empty(); }

}  // namespace

DraftBuffers lay_out_drafts(const ModelConfig& config, const GeneratorOptions& options,
                            Arena& arena) {
  if (options.draft_tokens_max == 0) return {};
  const int64_t s = options.sequences_max;
  return {arena.take_f32({s, config.hidden_size}),
          arena.take_f32({options.draft_tokens_max * s, config.vocab_size})};
}

Drafter::Drafter(const ModelWeights& weights, const GeneratorOptions& options, KvCache& cache,
                 Activations& activations, const DraftBuffers& buffers, Stream& stream)
    : weights_(weights),
      options_(options),
      activations_(activations),
      buffers_(buffers),
      stream_(stream),
      samplers_(static_cast<size_t>(stream.thread_count())),
      kv_(cache, BatchKv::Rows::kMtp) {}

Drafter::Uniforms Drafter::uniforms(const GenerationRequest& request, int64_t token_index) {
  Rng rng(request.sampling.seed, stream_id("draft", request.stream),
          4 * static_cast<uint64_t>(token_index));
  Uniforms out;
  out.draft = rng.uniform();
  out.accept = rng.uniform();
  return out;
}

// Never past the end of the request: a draft there would be computed to be thrown away.
int64_t Drafter::wanted(const Sequence& sequence) const {
  const int64_t left =
      sequence.request.new_tokens_max - static_cast<int64_t>(sequence.result.tokens.size());
  return std::min(options_.draft_tokens_max, left - 1);
}

void Drafter::run(std::span<const FedRun> fed) {
  catch_up(fed);
  for (int64_t depth = 0; !links_.empty(); ++depth) {
    draw(depth);
    extend();
  }
}

void Drafter::forward_rows(TensorView hidden) {
  kv_.set_runs(runs_);
  forward_mtp(weights_, hidden, {.ids = ids_, .positions = positions_}, kv_, activations_, stream_);
  kv_.commit();
}

// The rows that were kept, moved together: a row goes only to a lower place.
void Drafter::catch_up(std::span<const FedRun> fed) {
  links_.clear(), ids_.clear(), positions_.clear(), runs_.clear();
  const TensorView hidden = activations_.hidden();
  const int64_t d = hidden.dim(1);
  for (const FedRun& run : fed) {
    const Sequence& s = *run.sequence;
    if (s.finished) continue;
    const int64_t count = s.fed - run.first_position, row = static_cast<int64_t>(ids_.size());
    std::memmove(hidden.f32() + row * d, hidden.f32() + run.first_row * d,
                 static_cast<size_t>(count * d) * sizeof(float));
    for (int64_t i = run.first_position; i < s.fed; ++i) {
      ids_.push_back(s.token(i + 1));
      positions_.push_back(static_cast<int32_t>(i));
    }
    runs_.push_back({s.slot, row, count, run.first_position});
    if (decodes(s) && wanted(s) > 0) links_.push_back({run.sequence, row + count - 1});
  }
  if (!ids_.empty()) forward_rows(hidden.rows(0, static_cast<int64_t>(ids_.size())));
}

// One more draft for every link, from the MTP layer's newest rows.
void Drafter::draw(int64_t depth) {
  const TensorView y = activations_.mtp().y;
  const int64_t d = y.dim(1), count = static_cast<int64_t>(links_.size()),
                first = depth * options_.sequences_max;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(buffers_.hidden.f32() + i * d, y.f32() + links_[static_cast<size_t>(i)].row * d,
                static_cast<size_t>(d) * sizeof(float));
  }
  const TensorView logits = buffers_.logits.rows(first, count);
  head_logits(weights_, buffers_.hidden.rows(0, count), logits, stream_);
  const size_t v = static_cast<size_t>(logits.dim(1));
  stream_.threads().parallel_for(count, [&](int64_t i, int worker) {
    Sequence& s = *links_[static_cast<size_t>(i)].sequence;
    const int64_t index = static_cast<int64_t>(s.result.tokens.size()) + depth;
    const int32_t token = samplers_[static_cast<size_t>(worker)].sample(
        s.request.sampling, {logits.f32() + static_cast<size_t>(i) * v, v}, s.context(depth),
        uniforms(s.request, index).draft);
    s.drafts.push_back({token, first + i});
    if (!s.request.sampling.changes_logits()) return;
    if (depth == 0) s.with_drafts = s.result.tokens;
    s.with_drafts.push_back(token);
  });
}

// Runs the MTP layer on the drafts just drawn, where more are wanted. After a stop token nothing
// follows.
void Drafter::extend() {
  const size_t d = static_cast<size_t>(buffers_.hidden.dim(1));
  ids_.clear(), positions_.clear(), runs_.clear();
  size_t kept = 0;
  for (size_t i = 0; i < links_.size(); ++i) {
    Sequence& s = *links_[i].sequence;
    const int32_t token = s.drafts.back().token;
    if (s.draft_count() >= wanted(s) || s.stops_at(token)) continue;
    const int64_t position = s.fed + s.draft_count() - 1;
    std::memmove(buffers_.hidden.f32() + kept * d, buffers_.hidden.f32() + i * d,
                 d * sizeof(float));
    ids_.push_back(token);
    positions_.push_back(static_cast<int32_t>(position));
    runs_.push_back({s.slot, static_cast<int64_t>(kept), 1, position});
    links_[kept] = {&s, static_cast<int64_t>(kept)};
    ++kept;
  }
  links_.resize(kept);
  if (kept > 0) forward_rows(buffers_.hidden.rows(0, static_cast<int64_t>(kept)));
}

}  // namespace dure
