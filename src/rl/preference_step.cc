// Batches of whole units, so that a unit's loss is known when its batch has gone forward.
#include "rl/preference_step.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/check.h"
#include "train/step_passes.h"

namespace dure {
namespace {

// A document's place in a batch.
struct Placed {
  size_t item = 0, response = 0;
  int64_t begin = 0, end = 0;  // rows
};

struct DocumentBatch {
  std::vector<int32_t> ids, targets;  // [T]
  std::vector<int64_t> lengths;       // sum to T
  std::vector<Placed> members;

  TrainInput input() const { return {.ids = ids, .targets = targets, .document_lengths = lengths}; }
  int64_t rows() const { return std::ssize(ids); }
  void add(const TokenDocument& document, size_t item, size_t response) {
    const int64_t begin = rows();
    const size_t count = document.ids.size();
    ids.insert(ids.end(), document.ids.begin(), document.ids.end());
    for (size_t t = 1; t <= count; ++t)
      targets.push_back(t < count && document.is_trained(t) ? document.ids[t] : kIgnore);
    lengths.push_back(static_cast<int64_t>(count));
    members.push_back({item, response, begin, rows()});
  }
};

// Units in order, cut where the rows would pass `rows_max`.
class Packer {
 public:
  explicit Packer(int64_t rows_max) : rows_max_(rows_max) {}
  // Room for a unit of so many rows, all of it in one batch.
  DocumentBatch& room_for(int64_t rows) {
    DURE_CHECK(rows <= rows_max_, "{} rows in a pass of {}", rows, rows_max_);
    if (batches_.empty() || batches_.back().rows() + rows > rows_max_) batches_.emplace_back();
    return batches_.back();
  }
  const std::vector<DocumentBatch>& batches() const { return batches_; }

 private:
  int64_t rows_max_;
  std::vector<DocumentBatch> batches_;
};

// Rows that predict nothing have 0.
double sum_of(const TrainPass& pass, const Placed& placed) {
  double sum = 0;
  for (int64_t row = placed.begin; row < placed.end; ++row)
    sum += pass.log_probability()[static_cast<size_t>(row)];
  return sum;
}

// A response once it has gone through the model.
struct Outcome {
  ResponseLogProbability response;
  double reward = 0;
};

class Comparison {
 public:
  Comparison(std::span<const ComparedItem> items, const PreferenceStepOptions& options,
             Learner& learner, Stream& stream)
      : items_(items),
        options_(options),
        shape_(shape_of(options.objective.objective)),
        learner_(learner),
        stream_(stream),
        outcomes_(items.size()) {
    for (size_t i = 0; i < items.size(); ++i) outcomes_[i].resize(items[i].item->responses.size());
  }

  // Forward passes over all items.
  void measure() {
    const std::vector<DocumentBatch> batches = begin();
    for (const DocumentBatch& batch : batches)
      if (forward_through(batch.input(), learner_)) weigh_batch(batch);
    if (learner_.link().place().count == 1) return;
    std::array<double, 2> sums{loss_, nll_loss_};
    learner_.link().pipeline().all_reduce(std::span<double>(sums), "losses of the stages");
    loss_ = sums[0];
    nll_loss_ = sums[1];
    share_outcomes(learner_.link().pipeline());
  }

  // Backward passes too: this rank's parts of the batches, then what the others found.
  void learn() {
    const std::vector<DocumentBatch> batches = begin();
    const PartRange mine = learner_.parts();
    std::vector<StepPass> passes;
    std::vector<const DocumentBatch*> batch_of;  // of each pass; null: idle
    for (int64_t p = mine.first; p < mine.first + mine.count; ++p) {
      const ItemRange range = items_of_part(std::ssize(batches), p, learner_.part_count());
      const int64_t count = learner_.passes_in_part(std::ssize(batches), p);
      for (int64_t i = range.begin; i < range.begin + std::max(count, range.end - range.begin);
           ++i) {
        batch_of.push_back(i < range.end ? &batches[static_cast<size_t>(i)] : nullptr);
        passes.push_back({batch_of.back() != nullptr ? batch_of.back()->input() : TrainInput{}, p});
      }
    }
    std::vector<double> losses(2 * static_cast<size_t>(mine.count));  // of each part both
    const auto weigh_pass = [&](size_t i) -> LossOptions {
      if (!learner_.link().place().is_last()) return {};
      const auto part = static_cast<size_t>(passes[i].part - mine.first);
      loss_ = losses[2 * part];
      nll_loss_ = losses[2 * part + 1];
      weigh_batch(*batch_of[i]);
      losses[2 * part] = loss_;
      losses[2 * part + 1] = nll_loss_;
      return {.row_coefficients = coefficients_};
    };
    run_passes(passes, {.options = weigh_pass, .done = [](size_t, const LossResult&) {}}, learner_);
    std::vector<double> sums = sum_over_parts(losses, 2, learner_.part_count(), learner_.group());
    learner_.link().pipeline().all_reduce(std::span(sums), "losses of the stages");
    loss_ = sums[0];
    nll_loss_ = sums[1];
    share_outcomes(learner_.mesh().world());
  }

  PreferenceStats stats() const;
  int64_t tokens() const { return tokens_; }

 private:
  double share() const { return 1 / static_cast<double>(items_.size()); }

  std::vector<DocumentBatch> begin() {
    if (shape_ == PreferenceShape::kLabels) measure_zero_point();
    Packer packer(options_.rows_max);
    for (size_t i = 0; i < items_.size(); ++i) place(i, packer);
    for (const DocumentBatch& batch : packer.batches()) tokens_ += batch.rows();
    return packer.batches();
  }

  // After its forward, where the head is.
  void weigh_batch(const DocumentBatch& batch) {
    learner_.pass().token_log_probabilities(/*want_entropy=*/false, stream_);
    coefficients_.assign(batch.ids.size(), 0.0f);
    weigh(batch);
  }

  // Every response went through one rank's head.
  void share_outcomes(Group& group) {
    if (group.size() == 1) return;
    std::vector<double> values;
    for (const auto& of_item : outcomes_) {
      for (const Outcome& o : of_item) {
        const ResponseLogProbability& r = o.response;
        values.insert(values.end(),
                      {r.sum, r.reference_sum, static_cast<double>(r.tokens), o.reward});
      }
    }
    group.all_reduce(std::span(values), "outcomes");
    auto next = values.begin();
    for (auto& of_item : outcomes_) {
      for (Outcome& o : of_item) {
        o.response.sum = *next++;
        o.response.reference_sum = *next++;
        o.response.tokens = static_cast<int64_t>(*next++);
        o.reward = *next++;
      }
    }
  }

  void place(size_t i, Packer& packer) const {
    const std::vector<TokenDocument>& responses = items_[i].item->responses;
    if (shape_ == PreferenceShape::kPairs) {
      DocumentBatch& batch = packer.room_for(unit_rows(shape_, *items_[i].item));
      for (size_t r = 0; r < responses.size(); ++r) batch.add(responses[r], i, r);
      return;
    }
    for (size_t r = 0; r < responses.size(); ++r)
      packer.room_for(std::ssize(responses[r].ids)).add(responses[r], i, r);
  }

  void measure_zero_point() {
    std::vector<const TokenDocument*> documents;
    for (const ComparedItem& item : items_) documents.push_back(&item.item->mismatched);
    const std::vector<double> sums = response_sums(documents, options_.rows_max, learner_, stream_);
    std::vector<double> ratios;
    for (size_t i = 0; i < items_.size(); ++i) {
      if (documents[i]->ids.empty()) continue;
      ratios.push_back(sums[i] - items_[i].mismatched_reference);
      tokens_ += std::ssize(documents[i]->ids);
    }
    zero_point_ = kto_zero_point(ratios);
  }

  ResponseLogProbability response_of(const Placed& placed) const {
    const ComparedItem& item = items_[placed.item];
    ResponseLogProbability out{.sum = sum_of(learner_.pass(), placed),
                               .tokens = response_tokens(item.item->responses[placed.response])};
    if (!item.reference.empty()) out.reference_sum = item.reference[placed.response];
    return out;
  }

  void set(const Placed& placed, const ResponseLogProbability& response, double reward,
           double slope) {
    outcomes_[placed.item][placed.response] = {response, reward};
    std::fill(coefficients_.begin() + placed.begin, coefficients_.begin() + placed.end,
              static_cast<float>(share() * slope));
  }

  void weigh(const DocumentBatch& batch) {
    const size_t step = shape_ == PreferenceShape::kPairs ? 2 : 1;
    for (size_t m = 0; m < batch.members.size(); m += step) {
      if (shape_ == PreferenceShape::kPairs) {
        weigh_pair(batch.members[m], batch.members[m + 1]);
      } else {
        weigh_single(batch.members[m]);
      }
    }
  }

  void weigh_pair(const Placed& chosen, const Placed& rejected) {
    const ResponseLogProbability good = response_of(chosen), bad = response_of(rejected);
    const PairLoss loss = pair_loss(options_.objective, good, bad);
    loss_ += share() * loss.loss;
    nll_loss_ += share() * loss.nll_loss;
    set(chosen, good, loss.chosen_reward, loss.chosen_slope);
    set(rejected, bad, loss.rejected_reward, loss.rejected_slope);
  }

  void weigh_single(const Placed& placed) {
    const PreferenceItem& item = *items_[placed.item].item;
    const ResponseLogProbability response = response_of(placed);
    ResponseLoss loss;
    if (shape_ == PreferenceShape::kLabels) {
      loss = kto_loss(options_.objective, item.rewards[0] > 0, zero_point_, response);
    } else {
      const std::vector<double> advantages = grouper_advantages(item.rewards);
      loss = grouper_loss(advantages[placed.response], std::ssize(advantages), response);
    }
    loss_ += share() * loss.loss;
    set(placed, response, loss.reward, loss.slope);
  }

  std::span<const ComparedItem> items_;
  const PreferenceStepOptions& options_;
  PreferenceShape shape_;
  Learner& learner_;
  Stream& stream_;
  std::vector<std::vector<Outcome>> outcomes_;  // by item, by response
  std::vector<float> coefficients_;             // of the batch at hand
  double loss_ = 0, nll_loss_ = 0, zero_point_ = 0;
  int64_t tokens_ = 0;
};

// Means of one side.
struct Side {
  double reward = 0, sum = 0, tokens = 0;
  int64_t count = 0;
  void add(const Outcome& outcome) {
    reward += outcome.reward;
    sum += outcome.response.sum;
    tokens += static_cast<double>(outcome.response.tokens);
    ++count;
  }
  double mean(double total) const {
    return total / static_cast<double>(std::max<int64_t>(1, count));
  }
};

PreferenceStats Comparison::stats() const {
  Side chosen, rejected;
  double right = 0;
  const double zero = options_.objective.beta * zero_point_;
  for (size_t i = 0; i < items_.size(); ++i) {
    const std::vector<double>& rewards = items_[i].item->rewards;
    const std::vector<Outcome>& outcomes = outcomes_[i];
    if (shape_ == PreferenceShape::kLabels) {
      (rewards[0] > 0 ? chosen : rejected).add(outcomes[0]);
      const double above = outcomes[0].reward - zero;
      right += (rewards[0] > 0 ? above > 0 : above < 0) ? 1 : 0;
      continue;
    }
    const auto best = static_cast<size_t>(std::ranges::max_element(rewards) - rewards.begin());
    const auto worst = static_cast<size_t>(std::ranges::min_element(rewards) - rewards.begin());
    chosen.add(outcomes[best]);
    rejected.add(outcomes[worst]);
    right += outcomes[best].reward > outcomes[worst].reward ? 1 : 0;
  }
  PreferenceStats out{.loss = loss_, .nll_loss = nll_loss_};
  out.chosen_reward = chosen.mean(chosen.reward);
  out.rejected_reward = rejected.mean(rejected.reward);
  out.margin = out.chosen_reward - out.rejected_reward;
  out.accuracy = right * share();
  out.chosen_sum = chosen.mean(chosen.sum);
  out.rejected_sum = rejected.mean(rejected.sum);
  out.chosen_tokens = chosen.mean(chosen.tokens);
  out.rejected_tokens = rejected.mean(rejected.tokens);
  out.zero_point = zero_point_;
  out.chosen_count = chosen.count;
  out.rejected_count = rejected.count;
  out.has_nll = options_.objective.objective == PreferenceObjective::kOrpo ||
                (shape_ == PreferenceShape::kPairs && options_.objective.rpo_alpha > 0);
  out.is_kto = shape_ == PreferenceShape::kLabels;
  return out;
}

}  // namespace

PreferenceShape shape_of(PreferenceObjective objective) {
  switch (objective) {
    case PreferenceObjective::kGrouper:
      return PreferenceShape::kGroups;
    case PreferenceObjective::kKto:
      return PreferenceShape::kLabels;
    default:
      return PreferenceShape::kPairs;
  }
}

int64_t unit_rows(PreferenceShape shape, const PreferenceItem& item) {
  int64_t sum = 0, largest = std::ssize(item.mismatched.ids);
  for (const TokenDocument& document : item.responses) {
    sum += std::ssize(document.ids);
    largest = std::max(largest, std::ssize(document.ids));
  }
  return shape == PreferenceShape::kPairs ? sum : largest;
}

LearnerOptions preference_learner_options(const OptimiserOptions& optimiser, int64_t rows_max) {
  return {
      .optimiser = optimiser, .pass = {.rows_max = rows_max, .mtp = false}, .train_router = false};
}

int64_t response_tokens(const TokenDocument& document) {
  int64_t count = 0;
  for (size_t t = 1; t < document.ids.size(); ++t) count += document.is_trained(t) ? 1 : 0;
  return count;
}

std::vector<double> response_sums(std::span<const TokenDocument* const> documents, int64_t rows_max,
                                  Learner& learner, Stream& stream) {
  Packer packer(rows_max);
  for (size_t i = 0; i < documents.size(); ++i) {
    if (!documents[i]->ids.empty())
      packer.room_for(std::ssize(documents[i]->ids)).add(*documents[i], i, 0);
  }
  std::vector<double> out(documents.size(), 0.0);
  for (const DocumentBatch& batch : packer.batches()) {
    if (!forward_through(batch.input(), learner)) continue;
    learner.pass().token_log_probabilities(/*want_entropy=*/false, stream);
    for (const Placed& placed : batch.members) out[placed.item] = sum_of(learner.pass(), placed);
  }
  learner.link().pipeline().all_reduce(std::span(out), "log-probabilities");
  return out;
}

void PreferenceStats::add_to(Json& row, const std::string& prefix) const {
  const auto set = [&](const char* name, double value) { row[prefix + name] = value; };
  set("loss", loss);
  if (has_nll) set("nll_loss", nll_loss);
  if (chosen_count > 0) {
    set("rewards/chosen", chosen_reward);
    set("logps/chosen", chosen_sum);
    set("lengths/chosen", chosen_tokens);
  }
  if (rejected_count > 0) {
    set("rewards/rejected", rejected_reward);
    set("logps/rejected", rejected_sum);
    set("lengths/rejected", rejected_tokens);
  }
  if (chosen_count > 0 && rejected_count > 0) set("rewards/margins", margin);
  set("rewards/accuracies", accuracy);
  if (is_kto) set("kl", zero_point);
}

PreferenceLearnt learn_from_preferences(std::span<const ComparedItem> items,
                                        const PreferenceStepOptions& options,
                                        const StepContext& context, Learner& learner,
                                        Stream& stream) {
  Comparison comparison(items, options, learner, stream);
  comparison.learn();
  PreferenceLearnt out;
  out.stats = comparison.stats();
  out.tokens = comparison.tokens();
  require_finite(out.stats.loss, "the loss", context.where);
  out.updates.update(learner, context);
  return out;
}

PreferenceStats measure_preferences(std::span<const ComparedItem> items,
                                    const PreferenceStepOptions& options, Learner& learner,
                                    Stream& stream) {
  Comparison comparison(items, options, learner, stream);
  comparison.measure();
  return comparison.stats();
}

}  // namespace dure
