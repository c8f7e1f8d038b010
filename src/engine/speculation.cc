// Offers of the drafters to the policy, its answer back to them.
#include "engine/speculation.h"

#include <algorithm>

#include "kernels/cross_entropy.h"

namespace dure {
namespace {

bool by_mtp(DraftKind kind) { return kind == DraftKind::kMtp; }

}  // namespace

Speculation::Speculation(const ModelWeights& weights, const GeneratorOptions& options,
                         KvCache& cache, Activations& activations, const DraftBuffers& buffers,
                         Stream& stream)
    : options_(options),
      policy_({.sequences_max = options.sequences_max,
               .rows_max = options.batch_rows_max,
               .tokens_max = options.draft_tokens_max}) {
  if (drafts_with_mtp(weights.config, options))
    mtp_.emplace(weights, options, cache, activations, buffers, policy_, stream);
  if (options.drafter != DrafterChoice::kMtp) ngrams_.emplace(weights.config, stream);
  sequences_.reserve(static_cast<size_t>(options.sequences_max));
  asking_.reserve(static_cast<size_t>(options.sequences_max));
  tasks_.reserve(static_cast<size_t>(options.sequences_max));
}

// Never past the end of the request: a draft there would be computed to be thrown away.
int64_t Speculation::wanted(const Sequence& s) const {
  return std::min(options_.draft_tokens_max, s.request.new_tokens_max - s.new_count() - 1);
}

void Speculation::ask(std::span<const FedRun> fed) {
  sequences_.clear();
  asking_.clear();
  for (const FedRun& run : fed) {
    Sequence& s = *run.sequence;
    if (!s.runs() || !s.decodes()) continue;
    DraftPolicy::Asking asking{.record = &s.draft_record};
    const int64_t most = wanted(s);
    const auto offer = [&](const Drafter::Offer& of) {
      if (of.count > 0) asking.offers[static_cast<size_t>(of.kind)] = of.count;
    };
    if (most > 0 && mtp_) offer(mtp_->offer(s, most));
    if (most > 0 && ngrams_) offer(ngrams_->offer(s, most));
    sequences_.push_back(&s);
    asking_.push_back(asking);
  }
}

void Speculation::draft() {
  for (const bool mtp : {true, false}) {
    tasks_.clear();
    for (size_t i = 0; i < asking_.size(); ++i) {
      const DraftPolicy::Asking& asking = asking_[i];
      if (asking.count == 0 || by_mtp(asking.kind) != mtp) continue;
      sequences_[i]->draft_kind = asking.kind;
      tasks_.push_back({sequences_[i], asking.count});
    }
    if (tasks_.empty()) continue;
    if (mtp) {
      mtp_->draft(tasks_);
    } else {
      ngrams_->draft(tasks_);
    }
  }
}

void Speculation::run(const Pass& pass) {
  if (mtp_) mtp_->catch_up(pass.fed);
  if (ngrams_) ngrams_->catch_up(pass.fed);
  policy_.pass.add(pass.rows, std::chrono::duration<double>(Clock::now() - pass.start).count());
  ask(pass.fed);
  if (options_.draft_length == DraftLength::kMeasured) {
    policy_.choose(asking_, pass.prompt_rows);
  } else {
    policy_.choose_all(asking_);
  }
  draft();
}

void Speculation::judge(Sequence& s, std::span<const int32_t> chosen) {
  const int64_t count = s.draft_count();
  if (s.new_count() > 0) ++counts_.lengths[DraftStatistics::place(count)];
  if (count == 0) return;
  int64_t judged = 0, stood = 0;
  while (judged < count && chosen[static_cast<size_t>(judged)] != kIgnore && judged == stood) {
    stood += chosen[static_cast<size_t>(judged)] == s.drafts[static_cast<size_t>(judged)] ? 1 : 0;
    ++judged;
  }
  policy_.judged(s.draft_record, s.draft_kind, judged, stood);
  DraftStatistics::OfDrafter& of = by_mtp(s.draft_kind) ? counts_.mtp : counts_.ngram;
  ++of.rounds;
  of.drafted += count;
  of.accepted += stood;
  s.result.drafted += count;
  s.result.accepted += stood;
  for (int64_t i = 0; i < count; ++i) {
    ++counts_.drafted_at[DraftStatistics::place(i)];
    if (i < stood) ++counts_.accepted_at[DraftStatistics::place(i)];
  }
}

void Speculation::fill(GeneratorStatistics& out) const {
  out.drafts = counts_;
  for (size_t i = 0; i < out.drafts.pass_s.size(); ++i)
    out.drafts.pass_s[i] = policy_.pass.measured(static_cast<int64_t>(i) + 1).value_or(0);
  out.drafts.first_draft_s = policy_.first_draft.measured(1).value_or(0);
  out.drafts.further_draft_s = policy_.further_drafts.measured(1).value_or(0);
  out.drafted = counts_.mtp.drafted + counts_.ngram.drafted;
  out.accepted = counts_.mtp.accepted + counts_.ngram.accepted;
}

}  // namespace dure
