// Catching up with the kept rows, drawing a draft for each sequence, and going on from it.
#include "engine/drafter.h"

#include <new>

#include "base/error.h"
#include "base/rng.h"
#include "engine/speculation.h"
#include "kernels/rows.h"

namespace dure {
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
      samplers_(static_cast<size_t>(stream.host_threads().thread_count())),
      kv_(cache, BatchKv::Rows::kMtp) {
  for (HostArray<int32_t>* list : {&ids_, &positions_, &rows_})
    *list = HostArray<int32_t>(options.batch_rows_max, stream.device());
  links_.reserve(static_cast<size_t>(options.sequences_max));
  runs_.reserve(static_cast<size_t>(options.sequences_max));
  for (int64_t depth = 0; depth < options.draft_tokens_max; ++depth)
    host_logits_.emplace_back(options.sequences_max * buffers.logits.dim(1), stream.device());
}

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
    extend(depth);
  }
}

void Drafter::forward_rows(TensorView hidden) {
  kv_.set_runs(runs_, stream_);
  forward_mtp(weights_, hidden, {.ids = ids_.on(stream_), .positions = positions_.on(stream_)}, kv_,
              activations_, stream_);
  kv_.commit();
}

// The rows that were kept, moved together: a row goes only to a lower place. A prompt whose last
// token is still to come could have drafts too, but whether there is such a moment depends on the
// chunks, and nothing may depend on those.
void Drafter::catch_up(std::span<const FedRun> fed) {
  start_rows();
  links_.clear();
  for (const FedRun& run : fed) {
    const Sequence& s = *run.sequence;
    if (!s.runs()) continue;
    const int64_t count = s.fed - run.first_position, row = std::ssize(ids_.values());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = run.first_position + i;
      add_row(
          {.token = s.token(position + 1), .position = position, .from_row = run.first_row + i});
    }
    runs_.push_back({s.slot, row, count, run.first_position});
    if (s.decodes() && wanted(s) > 0) links_.push_back({run.sequence, row + count - 1});
  }
  if (ids_.empty()) return;
  const TensorView hidden = activations_.hidden();
  compact_rows(hidden, rows_.on(stream_), stream_);
  forward_rows(hidden.rows(0, std::ssize(ids_.values())));
}

void Drafter::start_rows() {
  ids_.clear();
  positions_.clear();
  rows_.clear();
  runs_.clear();
}

void Drafter::add_row(const Row& row) {
  ids_.push_back(row.token);
  positions_.push_back(static_cast<int32_t>(row.position));
  rows_.push_back(static_cast<int32_t>(row.from_row));
}

// One more draft for every link, from the MTP layer's newest rows.
void Drafter::draw(int64_t depth) {
  const int64_t count = std::ssize(links_);
  rows_.clear();
  for (const Link& link : links_) rows_.push_back(static_cast<int32_t>(link.row));
  const TensorView hidden = buffers_.hidden.rows(0, count);
  gather_rows(activations_.mtp().y, rows_.on(stream_), hidden, stream_);
  const TensorView logits = buffers_.logits.rows(depth * options_.sequences_max, count);
  head_logits(weights_, hidden, logits, stream_);
  const auto v = static_cast<size_t>(logits.dim(1));
  const std::span<const float> values =
      host_logits_[static_cast<size_t>(depth)].of(logits, stream_);
  stream_.host_threads().parallel_for(count, [&](int64_t i, int worker) {
    Sequence& s = *links_[static_cast<size_t>(i)].sequence;
    draw_for(s, values.subspan(static_cast<size_t>(i) * v, v), depth,
             samplers_[static_cast<size_t>(worker)]);
  });
}

void Drafter::draw_for(Sequence& s, std::span<const float> logits, int64_t depth,
                       Sampler& sampler) const {
  try {
    const int32_t token =
        sampler.sample(s.request.sampling, logits, s.context(depth, weights_.config.vocab_size),
                       uniforms(s.request, s.new_count() + depth).draft);
    s.add_draft({token, logits});
  } catch (const std::bad_alloc&) {
    throw;  // It says nothing about the request, and with a draft less its draws would differ.
  } catch (...) {
    // No draft, and none after it.
  }
}

// Runs the MTP layer on the drafts just drawn, where more are wanted. After a stop token nothing
// follows.
void Drafter::extend(int64_t depth) {
  start_rows();
  size_t kept = 0;
  for (size_t i = 0; i < links_.size(); ++i) {
    Sequence& s = *links_[i].sequence;
    if (s.draft_count() != depth + 1) continue;  // None could be drawn.
    const int32_t token = s.drafts.back().token;
    if (s.draft_count() >= wanted(s) || s.stops_at(token)) continue;
    const int64_t position = s.fed + s.draft_count() - 1, row = static_cast<int64_t>(kept);
    add_row({.token = token, .position = position, .from_row = static_cast<int64_t>(i)});
    runs_.push_back({s.slot, row, 1, position});
    links_[kept++] = {&s, row};
  }
  links_.resize(kept);
  if (kept == 0) return;
  compact_rows(buffers_.hidden, rows_.on(stream_), stream_);
  forward_rows(buffers_.hidden.rows(0, static_cast<int64_t>(kept)));
}

}  // namespace dure
