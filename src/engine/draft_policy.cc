// Running means in buckets of rows; a greedy walk over all sequences' drafts, likeliest first.
#include "engine/draft_policy.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace dure {
namespace {

constexpr double kOwnMemory = 31.0 / 32, kAllMemory = 255.0 / 256;

size_t bucket_of(int64_t rows, size_t count) {
  if (rows <= 16) return static_cast<size_t>(rows - 1);
  const double octaves = std::log2(static_cast<double>(rows) / 16);
  return std::min(count - 1, static_cast<size_t>(16 + 4 * octaves));
}

double line(double x, double x0, double y0, double x1, double y1) {
  return x1 > x0 ? y0 + (y1 - y0) * (x - x0) / (x1 - x0) : y0;
}

}  // namespace

// The first measurements count alike, later ones an eighth. One that was held up by something else
// counts as twice what is usual at most; nothing is too quick by accident: that counts at once.
void CostCurve::add(int64_t rows, double seconds) {
  DURE_CHECK(rows >= 1 && seconds >= 0, "{} rows, {} s", rows, seconds);
  Bucket& b = buckets_[bucket_of(rows, buckets_.size())];
  ++b.count;
  double weight = std::max(1.0 / 8, 1.0 / static_cast<double>(b.count));
  if (seconds < 0.6 * b.seconds) weight = std::max(weight, 0.5);
  if (b.count > 2) seconds = std::min(seconds, 2 * b.seconds);
  b.rows += weight * (static_cast<double>(rows) - b.rows);
  b.seconds += weight * (seconds - b.seconds);
}

std::optional<double> CostCurve::measured(int64_t rows) const {
  const Bucket& b = buckets_[bucket_of(rows, buckets_.size())];
  return b.count > 0 ? std::optional(b.seconds) : std::nullopt;
}

std::optional<double> CostCurve::at(int64_t rows) const {
  const auto x = static_cast<double>(rows);
  const Bucket *below = nullptr, *before = nullptr, *above = nullptr;
  for (const Bucket& b : buckets_) {
    if (b.count == 0) continue;
    if (b.rows > x) {
      above = &b;
      break;
    }
    before = below;
    below = &b;
  }
  if (below == nullptr && above == nullptr) return std::nullopt;
  if (below == nullptr) return line(x, 0, above->seconds / 2, above->rows, above->seconds);
  if (above != nullptr) return line(x, below->rows, below->seconds, above->rows, above->seconds);
  if (x <= below->rows) return below->seconds;
  // Beyond all: as between the last two, at least nothing; after one alone a tenth of it a row.
  const double slope = before == nullptr ? 0.1 * below->seconds
                                         : (below->seconds - before->seconds) /
                                               std::max(1e-9, below->rows - before->rows);
  return below->seconds + std::max(0.0, slope) * (x - below->rows);
}

const DraftRecord::Trials& DraftRecord::at(DraftKind kind, int64_t position) const {
  return trials_[static_cast<size_t>(kind)]
                [static_cast<size_t>(std::min(position, kPositions - 1))];
}

void DraftRecord::add(DraftKind kind, int64_t judged, int64_t stood, float memory) {
  for (int64_t i = 0; i < judged; ++i) {
    Trials& t =
        trials_[static_cast<size_t>(kind)][static_cast<size_t>(std::min(i, kPositions - 1))];
    t.tried = t.tried * memory + 1;
    t.stood = t.stood * memory + (i < stood ? 1.0f : 0.0f);
  }
}

DraftPolicy::DraftPolicy(const Limits& limits)
    : limits_(limits), chain_(static_cast<size_t>(limits.tokens_max)) {
  candidates_.reserve(static_cast<size_t>(limits.sequences_max * limits.tokens_max));
}

void DraftPolicy::judged(DraftRecord& of_sequence, DraftKind kind, int64_t judged, int64_t stood) {
  DURE_CHECK(stood >= 0 && stood <= judged, "{} of {}", stood, judged);
  of_sequence.add(kind, judged, stood, static_cast<float>(kOwnMemory));
  all_.add(kind, judged, stood, static_cast<float>(kAllMemory));
}

namespace {

double with_prior(const DraftRecord::Trials& t, double prior) {
  return (t.stood + DraftPolicy::kOwnTrials * prior) / (t.tried + DraftPolicy::kOwnTrials);
}

}  // namespace

// A position that was never reached is taken to be as the one before it.
double DraftPolicy::chance(const DraftRecord& of_sequence, DraftKind kind, int64_t position) const {
  double usual = kFirstChance;
  for (int64_t i = 0; i <= std::min(position, DraftRecord::kPositions - 1); ++i)
    usual = with_prior(all_.at(kind, i), usual);
  return with_prior(of_sequence.at(kind, position), usual);
}

// What drafts of this kind would gain at best, less what they cost, in tokens.
double DraftPolicy::value_of(const Asking& asking, DraftKind kind, double row_tokens,
                             double first_tokens, double further_tokens) const {
  double best = 0, value = 0, reach = 1;
  const int64_t count = asking.offers[static_cast<size_t>(kind)];
  for (int64_t i = 0; i < count; ++i) {
    reach *= chance(*asking.record, kind, i);
    value += reach - row_tokens;
    if (kind == DraftKind::kMtp) value -= i == 0 ? first_tokens : further_tokens;
    if (i == 0 || value > best) best = value;
  }
  return best;
}

namespace {

// The offered kind that `value` likes most; the first where none is offered.
template <typename Value>
void take_best_kind(DraftPolicy::Asking& asking, const Value& value) {
  std::optional<double> best;
  for (size_t k = 0; k < kDraftKindCount; ++k) {
    if (asking.offers[k] <= 0) continue;
    const double of_kind = value(static_cast<DraftKind>(k));
    if (best && of_kind <= *best) continue;
    best = of_kind;
    asking.kind = static_cast<DraftKind>(k);
  }
}

}  // namespace

void DraftPolicy::choose_all(std::span<Asking> sequences) const {
  for (Asking& asking : sequences) {
    take_best_kind(asking, [&](DraftKind kind) { return value_of(asking, kind, 0, 0, 0); });
    asking.count = asking.offers[static_cast<size_t>(asking.kind)];
  }
}

// Prices are those of one more row, and of the MTP layer's drafts shared by all that decode.
void DraftPolicy::choose_kinds(std::span<Asking> sequences, int64_t rows) {
  const auto count = static_cast<double>(sequences.size());
  const double plain = pass.at(rows).value_or(0), more = pass.at(rows + 1).value_or(0);
  const double rate = plain > 0 ? static_cast<double>(rows) / plain : 0;
  const auto price = [&](double seconds) { return std::max(0.0, seconds) * rate; };
  const auto asked = static_cast<int64_t>(sequences.size());
  const double row = price(more - plain), first = price(first_draft.at(asked).value_or(0)) / count,
               further = price(further_drafts.at(asked).value_or(0)) / count;
  for (Asking& asking : sequences) {
    take_best_kind(asking,
                   [&](DraftKind kind) { return value_of(asking, kind, row, first, further); });
  }
}

void DraftPolicy::rank(std::span<const Asking> sequences) {
  candidates_.clear();
  for (size_t s = 0; s < sequences.size(); ++s) {
    const Asking& asking = sequences[s];
    double gain = 1;
    for (int64_t i = 0; i < asking.offers[static_cast<size_t>(asking.kind)]; ++i) {
      gain *= chance(*asking.record, asking.kind, i);
      candidates_.push_back({gain, static_cast<int32_t>(i), static_cast<int32_t>(s)});
    }
  }
  std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
    if (a.gain != b.gain) return a.gain > b.gain;
    return a.depth != b.depth ? a.depth < b.depth : a.sequence < b.sequence;
  });
}

double DraftPolicy::pass_s(int64_t decoding_rows, int64_t prompt_rows) const {
  return pass.at(decoding_rows + std::min(prompt_rows, limits_.rows_max - decoding_rows))
      .value_or(1);
}

// Of the plans that draft something, the first n candidates each, the best.
DraftPolicy::Plan DraftPolicy::best_plan(std::span<const Asking> sequences, int64_t prompt_rows) {
  rank(sequences);
  std::fill(chain_.begin(), chain_.end(), 0);
  Plan best;
  auto rows = static_cast<int64_t>(sequences.size());
  double tokens = static_cast<double>(rows), drafting_s = 0;
  for (size_t n = 0; n < candidates_.size() && rows < limits_.rows_max; ++n) {
    const Candidate& c = candidates_[n];
    tokens += c.gain;
    ++rows;
    if (sequences[static_cast<size_t>(c.sequence)].kind == DraftKind::kMtp) {
      const CostCurve& curve = c.depth == 0 ? first_draft : further_drafts;
      int64_t& links = chain_[static_cast<size_t>(c.depth)];
      if (links > 0) drafting_s -= curve.at(links).value_or(0);
      drafting_s += curve.at(++links).value_or(0);
    }
    const auto prompts = static_cast<double>(std::min(prompt_rows, limits_.rows_max - rows));
    const double rate = (tokens + prompts) / (pass_s(rows, prompt_rows) + drafting_s);
    if (rate > best.rate) best = {rate, n + 1};
  }
  return best;
}

// How many of the candidates to take, where `best` are best.
size_t DraftPolicy::to_take(size_t best, bool pays) {
  if (pays) {
    interval_ = kIntervalMin;
    since_trial_ = 0;
    trial_left_ = 0;
    const int64_t others = ++drafting_passes_ / kOthersEvery;
    if (drafting_passes_ % kOthersEvery != 0) return best;
    if (others % 3 == 0) return 0;
    if (others % 3 == 1) return std::min(candidates_.size(), 2 * best + 1);
    return static_cast<size_t>(others / 3) % best;
  }
  if (trial_left_ > 0) {
    --trial_left_;
    return best;
  }
  if (++since_trial_ < interval_) return 0;
  since_trial_ = 0;
  interval_ = std::min(2 * interval_, kIntervalMax);
  trial_left_ = kTrialPasses - 1;
  return best;
}

void DraftPolicy::choose(std::span<Asking> sequences, int64_t prompt_rows) {
  const auto count = static_cast<int64_t>(sequences.size());
  DURE_CHECK(count <= limits_.sequences_max && count <= limits_.rows_max, "{} sequences", count);
  for (Asking& asking : sequences) asking.count = 0;
  if (count == 0) return;
  const int64_t plain_prompts = std::min(prompt_rows, limits_.rows_max - count);
  choose_kinds(sequences, count + plain_prompts);
  const Plan best = best_plan(sequences, prompt_rows);
  if (best.taken == 0) return;
  const double plain = static_cast<double>(count + plain_prompts) / pass_s(count, prompt_rows);
  const auto room = static_cast<size_t>(limits_.rows_max - count);
  const size_t taken = std::min(to_take(best.taken, best.rate > kLeastGain * plain), room);
  for (size_t n = 0; n < taken; ++n)
    ++sequences[static_cast<size_t>(candidates_[n].sequence)].count;
}

}  // namespace dure
