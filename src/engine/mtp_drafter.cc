// Catching up with the kept rows, drawing a draft for each sequence, and going on from it.
#include "engine/mtp_drafter.h"

#include <chrono>

#include "kernels/rows.h"

namespace dure {

DraftBuffers lay_out_drafts(const ModelConfig& config, const GeneratorOptions& options,
                            Arena& arena) {
  if (!drafts_with_mtp(config, options)) return {};
  const int64_t s = options.sequences_max;
  return {arena.take_f32({s, config.hidden_size}), arena.take_f32({s, config.vocab_size})};
}

MtpDrafter::MtpDrafter(const ModelWeights& weights, const GeneratorOptions& options, KvCache& cache,
                       Activations& activations, const DraftBuffers& buffers, DraftPolicy& policy,
                       Stream& stream)
    : weights_(weights),
      activations_(activations),
      buffers_(buffers),
      policy_(policy),
      stream_(stream),
      samplers_(static_cast<size_t>(stream.host_threads().thread_count())),
      kv_(cache, BatchKv::Rows::kMtp),
      host_logits_(options.sequences_max * buffers.logits.dim(1), stream.device()) {
  for (HostArray<int32_t>* list : {&ids_, &positions_, &rows_})
    *list = HostArray<int32_t>(options.batch_rows_max, stream.device());
  links_.reserve(static_cast<size_t>(options.sequences_max));
  runs_.reserve(static_cast<size_t>(options.sequences_max));
}

void MtpDrafter::forward_rows(TensorView hidden) {
  kv_.set_runs(runs_, stream_);
  forward_mtp(weights_, hidden, {.ids = ids_.on(stream_), .positions = positions_.on(stream_)}, kv_,
              activations_, stream_);
  kv_.commit();
}

// The rows that were kept, moved together: a row goes only to a lower place.
void MtpDrafter::catch_up(std::span<const FedRun> fed) {
  start_rows();
  for (const FedRun& run : fed) {
    Sequence& s = *run.sequence;
    if (!s.runs()) continue;
    const int64_t count = s.fed - run.first_position, row = std::ssize(ids_.values());
    for (int64_t i = 0; i < count; ++i) {
      const int64_t position = run.first_position + i;
      add_row(
          {.token = s.token(position + 1), .position = position, .from_row = run.first_row + i});
    }
    runs_.push_back({s.slot, row, count, run.first_position});
    s.mtp_row = row + count - 1;
  }
  if (ids_.empty()) return;
  const TensorView hidden = activations_.hidden();
  compact_rows(hidden, rows_.on(stream_), stream_);
  forward_rows(hidden.rows(0, std::ssize(ids_.values())));
}

MtpDrafter::Offer MtpDrafter::offer(const Sequence&, int64_t most) const {
  return {DraftKind::kMtp, most};
}

void MtpDrafter::start_rows() {
  ids_.clear();
  positions_.clear();
  rows_.clear();
  runs_.clear();
}

void MtpDrafter::add_row(const Row& row) {
  ids_.push_back(row.token);
  positions_.push_back(static_cast<int32_t>(row.position));
  rows_.push_back(static_cast<int32_t>(row.from_row));
}

void MtpDrafter::draft(std::span<const DraftTask> tasks) {
  using Clock = std::chrono::steady_clock;
  links_.clear();
  for (const DraftTask& task : tasks)
    links_.push_back({task.sequence, task.sequence->mtp_row, task.count});
  for (int64_t depth = 0; !links_.empty(); ++depth) {
    const Clock::time_point start = Clock::now();
    if (depth > 0) extend();
    if (links_.empty()) return;
    const int64_t count = std::ssize(links_);
    draw();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    (depth == 0 ? policy_.first_draft : policy_.further_drafts).add(count, seconds);
  }
}

// One more draft for every link, from the MTP layer's newest rows.
void MtpDrafter::draw() {
  const int64_t count = std::ssize(links_);
  rows_.clear();
  for (const Link& link : links_) rows_.push_back(static_cast<int32_t>(link.row));
  const TensorView hidden = buffers_.hidden.rows(0, count), logits = buffers_.logits.rows(0, count);
  gather_rows(activations_.mtp().y, rows_.on(stream_), hidden, stream_);
  head_logits(weights_, hidden, logits, stream_, {.inner = activations_.adapter_inner()});
  const auto v = static_cast<size_t>(logits.dim(1));
  const std::span<const float> values = host_logits_.of(logits, stream_);
  stream_.host_threads().parallel_for(count, [&](int64_t i, int worker) {
    draw_for(*links_[static_cast<size_t>(i)].sequence,
             values.subspan(static_cast<size_t>(i) * v, v), samplers_[static_cast<size_t>(worker)]);
  });
}

void MtpDrafter::draw_for(Sequence& s, std::span<const float> logits, Sampler& sampler) const {
  try {
    const int64_t ahead = s.draft_count();
    s.add_draft(sampler.sample(s.request.sampling, logits,
                               s.context(ahead, weights_.config.vocab_size),
                               draw_uniform(s.request, s.new_count() + ahead)));
  } catch (...) {
    // No draft, and none after it.
  }
}

// Runs the MTP layer on the drafts just drawn, where more are wanted. After a stop token nothing
// follows.
void MtpDrafter::extend() {
  start_rows();
  size_t kept = 0;
  for (size_t i = 0; i < links_.size(); ++i) {
    Sequence& s = *links_[i].sequence;
    if (s.draft_count() == 0 || s.draft_count() >= links_[i].count) continue;
    const int32_t token = s.drafts.back();
    const int64_t position = s.fed + s.draft_count() - 1, row = static_cast<int64_t>(kept);
    if (s.stops_at(token) || links_[i].drawn == s.draft_count()) continue;  // None could be drawn.
    add_row({.token = token, .position = position, .from_row = static_cast<int64_t>(i)});
    runs_.push_back({s.slot, row, 1, position});
    links_[kept++] = {&s, row, links_[i].count, s.draft_count()};
  }
  links_.resize(kept);
  if (kept == 0) return;
  compact_rows(buffers_.hidden, rows_.on(stream_), stream_);
  forward_rows(buffers_.hidden.rows(0, static_cast<int64_t>(kept)));
}

}  // namespace dure
