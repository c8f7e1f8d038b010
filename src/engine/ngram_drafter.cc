// The index follows the tokens; drafts are read from the place that it names.
#include "engine/ngram_drafter.h"

#include <algorithm>

namespace dure {
namespace {

constexpr int64_t kTokensForThreads = 512;  // some 0.1 ms

// Settled tokens, of a prompt those that were read: a long one is indexed as it goes in.
void index_tokens(Sequence& s) {
  try {
    const int64_t known = s.decodes() ? s.token_count() : s.fed;
    for (int64_t i = s.ngrams.size(); i < known; ++i) s.ngrams.add(s.token(i));
  } catch (...) {
    s.ngrams.clear();
    s.ngrams_end = true;
  }
}

DraftKind kind_of(int64_t match_length) {
  if (match_length < 4) return DraftKind::kNgramShort;
  return match_length < 8 ? DraftKind::kNgramMiddle : DraftKind::kNgramLong;
}

bool allows(const SamplingContext& context, int32_t token) {
  const auto at = static_cast<size_t>(token);
  return context.allowed.empty() || (context.allowed[at / 64] >> (at % 64) & 1) != 0;
}

}  // namespace

NgramDrafter::NgramDrafter(const ModelConfig& config, Stream& stream)
    : vocab_size_(config.vocab_size), stream_(stream) {}

// Waking threads takes longer than a few tokens do.
void NgramDrafter::catch_up(std::span<const FedRun> fed) {
  int64_t tokens = 0;
  for (const FedRun& run : fed) tokens += run.sequence->fed - run.first_position;
  const auto one = [&](int64_t i, int) {
    Sequence& s = *fed[static_cast<size_t>(i)].sequence;
    if (s.runs() && !s.ngrams_end) index_tokens(s);
  };
  if (tokens >= kTokensForThreads) {
    stream_.host_threads().parallel_for(std::ssize(fed), one);
  } else {
    for (int64_t i = 0; i < std::ssize(fed); ++i) one(i, 0);
  }
}

NgramDrafter::Offer NgramDrafter::offer(const Sequence& s, int64_t most) const {
  const NgramIndex::Match match = s.ngrams.match();
  if (match.length < kMatchMin || s.ngrams.size() != s.token_count()) return {};
  return {kind_of(match.length), most};
}

void NgramDrafter::draft_for(const DraftTask& task) const {
  Sequence& s = *task.sequence;
  const int64_t from = s.ngrams.match().next;
  try {
    for (int64_t i = 0; i < task.count; ++i) {
      const int32_t token = s.token(from + i);
      if (s.request.mask && !allows(s.context(i, vocab_size_), token)) return;
      s.add_draft(token);
      if (s.stops_at(token)) return;
    }
  } catch (...) {
    // Those that are there are drafts.
  }
}

void NgramDrafter::draft(std::span<const DraftTask> tasks) {
  const auto masked = [](const DraftTask& task) { return task.sequence->request.mask != nullptr; };
  const auto one = [&](int64_t i, int) { draft_for(tasks[static_cast<size_t>(i)]); };
  if (std::count_if(tasks.begin(), tasks.end(), masked) > 1) {
    stream_.host_threads().parallel_for(std::ssize(tasks), one);
  } else {
    for (int64_t i = 0; i < std::ssize(tasks); ++i) one(i, 0);
  }
}

}  // namespace dure
