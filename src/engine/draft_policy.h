// engine/draft_policy.h: how many tokens to draft for each sequence, and by which drafter: what
// gives the most tokens a second, nothing where drafting does not pay.
//
// Owns what was measured: the seconds of a pass by its rows, those of drafting, and how often
// drafts stood, by position, of all sequences and of each. Nothing that is decided here changes a
// token (speculation.h): only when it comes. Not here: clocks, drafts, rows (speculation.h,
// drafter.h).
//
// The rule. A sequence whose drafts stand with probabilities a_1, a_2, ... (each given those before
// it) gains a_1 a_2 ... a_j by its draft j. Of all sequences' drafts, likeliest first, as many are
// taken as maximise (S + gains + prompt rows) / (pass(rows) + drafting): the goodput of Liu et al.,
// "Optimizing speculative decoding for serving large language models using goodput", 2024. A
// sequence's own record counts as much as `kOwnTrials` of all sequences' together, so that new ones
// begin with what is usual.
//
// Since what is not done is not measured, a drafting that does not pay is tried again for a few
// passes, at intervals that double while it does not. Where it pays, one pass of `kOthersEvery` is
// plain, longer or shorter in turn, so that what passes of other lengths take stays known.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace dure {

// What a draft's chance follows from: who made it, and for a match of how many tokens.
enum class DraftKind : uint8_t { kMtp, kNgramShort, kNgramMiddle, kNgramLong };
inline constexpr size_t kDraftKindCount = 4;

// Seconds of something that is done to a number of rows, running estimates by that number; between
// those that were measured a line, below them one to half at no row.
class CostCurve {
 public:
  void add(int64_t rows, double seconds);
  std::optional<double> at(int64_t rows) const;  // absent: nothing was measured yet
  // As measured, nothing between. Buckets of one number up to 16, of a quarter of an octave beyond.
  std::optional<double> measured(int64_t rows) const;

 private:
  struct Bucket {
    double rows = 0, seconds = 0;
    int64_t count = 0;
  };
  std::array<Bucket, 64> buckets_;
};

// How often drafts stood, the newest counting most.
class DraftRecord {
 public:
  static constexpr int64_t kPositions = 8;  // later ones count as the last
  struct Trials {
    float tried = 0, stood = 0;
  };
  const Trials& at(DraftKind kind, int64_t position) const;
  // Of the drafts of a pass `judged` were looked at: `stood`, and the first that fell.
  void add(DraftKind kind, int64_t judged, int64_t stood, float memory);

 private:
  std::array<std::array<Trials, kPositions>, kDraftKindCount> trials_;
};

class DraftPolicy {
 public:
  static constexpr double kOwnTrials = 4, kFirstChance = 0.7, kLeastGain = 1.02;
  static constexpr int64_t kIntervalMin = 32, kIntervalMax = 512, kTrialPasses = 4,
                           kOthersEvery = 20;

  struct Limits {
    int64_t sequences_max = 1, rows_max = 512, tokens_max = 8;
  };
  explicit DraftPolicy(const Limits& limits);

  // A sequence that decodes in the next pass; how many tokens each kind could draft for it. The
  // answer: `count` by `kind`.
  struct Asking {
    DraftRecord* record = nullptr;
    std::array<int64_t, kDraftKindCount> offers = {};
    DraftKind kind = DraftKind::kMtp;
    int64_t count = 0;
  };
  // By what was measured. `prompt_rows`: of prompts that wait for rows of that pass.
  void choose(std::span<Asking> sequences, int64_t prompt_rows);
  // All that is offered, by the kind that promises most.
  void choose_all(std::span<Asking> sequences) const;

  void judged(DraftRecord& of_sequence, DraftKind kind, int64_t judged, int64_t stood);
  double chance(const DraftRecord& of_sequence, DraftKind kind, int64_t position) const;

  CostCurve pass;                         // of the model, by rows
  CostCurve first_draft, further_drafts;  // of the MTP layer, by sequences

 private:
  struct Candidate {
    double gain = 0;
    int32_t depth = 0, sequence = 0;
  };
  struct Plan {
    double rate = 0;   // tokens a second
    size_t taken = 0;  // candidates
  };
  double value_of(const Asking& asking, DraftKind kind, double row_tokens, double first_tokens,
                  double further_tokens) const;
  void choose_kinds(std::span<Asking> sequences, int64_t rows);
  void rank(std::span<const Asking> sequences);
  double pass_s(int64_t decoding_rows, int64_t prompt_rows) const;
  Plan best_plan(std::span<const Asking> sequences, int64_t prompt_rows);
  size_t to_take(size_t best, bool pays);

  Limits limits_;
  DraftRecord all_;
  std::vector<Candidate> candidates_;
  std::vector<int64_t> chain_;  // sequences of the MTP layer's draft at each depth
  int64_t since_trial_ = 0, interval_ = kIntervalMin, trial_left_ = 0, drafting_passes_ = 0;
};

}  // namespace dure
