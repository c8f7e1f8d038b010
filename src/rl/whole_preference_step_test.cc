// Whole steps of preference learning against a reference in double: the papers' formulas written
// out again, and the learner of train/reference_fixture.h; and what must not change a bit.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "rl/preference_step.h"
#include "tensor/cpu_stream.h"
#include "train/reference_fixture.h"

namespace dure {
namespace {

constexpr int64_t kRowsMax = 24;
constexpr double kPeak = 0.02, kClip = 0.02;

TokenDocument random_document(const std::vector<int32_t>& prompt, Rng& rng) {
  TokenDocument out{.ids = prompt, .trained = std::vector<uint8_t>(prompt.size(), 0)};
  for (int64_t i = rng.between(1, 5); i > 0; --i) {
    out.ids.push_back(static_cast<int32_t>(rng.below(kSmallVocabulary)));
    // A gap, as a tool's result leaves one; the last token is always learnt.
    out.trained.push_back(i != 3 ? 1 : 0);
  }
  return out;
}

std::vector<int32_t> random_prompt(Rng& rng) {
  std::vector<int32_t> out;
  for (int64_t i = rng.between(1, 3); i > 0; --i)
    out.push_back(static_cast<int32_t>(rng.below(kSmallVocabulary)));
  return out;
}

// Items of a step as their objective takes them.
std::vector<PreferenceItem> items_of(PreferenceObjective objective, int64_t step) {
  const PreferenceShape shape = shape_of(objective);
  Rng rng(11, static_cast<uint64_t>(step));
  std::vector<PreferenceItem> out(5);
  for (size_t i = 0; i < out.size(); ++i) {
    const std::vector<int32_t> prompt = random_prompt(rng);
    const size_t count = shape == PreferenceShape::kPairs    ? 2
                         : shape == PreferenceShape::kGroups ? 2 + i % 3
                                                             : 1;
    for (size_t r = 0; r < count; ++r) {
      out[i].responses.push_back(random_document(prompt, rng));
      out[i].rewards.push_back(shape == PreferenceShape::kPairs    ? (r == 0 ? 1 : 0)
                               : shape == PreferenceShape::kGroups ? rng.uniform()
                                                                   : (i % 2 == 0 ? 1 : 0));
    }
    if (shape == PreferenceShape::kLabels && i != 3)
      out[i].mismatched = random_document(prompt, rng);
  }
  return out;
}

std::vector<ComparedItem> compared(const std::vector<PreferenceItem>& items) {
  std::vector<ComparedItem> out;
  Rng rng(12);
  for (const PreferenceItem& item : items) {
    ComparedItem& one = out.emplace_back(&item);
    for (const TokenDocument& document : item.responses)
      one.reference.push_back(-3.0 * static_cast<double>(response_tokens(document)) + rng.normal());
    one.mismatched_reference = -3.0 * static_cast<double>(response_tokens(item.mismatched)) - 4;
  }
  return out;
}

// The sum of one document's response, by the plain model.
double plain_sum(const ref::WeightTable& weights, const TokenDocument& document) {
  if (document.ids.empty()) return 0;
  ref::RefInput input{.ids = document.ids,
                      .targets = std::vector<int32_t>(document.ids.size(), -100),
                      .document_lengths = {std::ssize(document.ids)}};
  for (size_t t = 0; t + 1 < document.ids.size(); ++t)
    if (document.trained[t + 1] != 0) input.targets[t] = document.ids[t + 1];
  double sum = 0;
  for (const double value : ref::run_model(small_model(), weights, input).log_probability)
    sum += value;
  return sum;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The formulas as the papers print them. `zero`: kto's, held.
double formula(const PreferenceOptions& o, const ComparedItem& one, const ref::WeightTable& weights,
               double zero) {
  using enum PreferenceObjective;
  const PreferenceItem& item = *one.item;
  std::vector<double> s, m, ratio, n;
  for (size_t r = 0; r < item.responses.size(); ++r) {
    s.push_back(plain_sum(weights, item.responses[r]));
    n.push_back(static_cast<double>(response_tokens(item.responses[r])));
    m.push_back(s[r] / n[r]);
    ratio.push_back(s[r] - one.reference[r]);
  }
  const auto odds = [&](size_t r) { return std::exp(m[r]) / (1 - std::exp(m[r])); };
  switch (o.objective) {
    case kGrouper: {
      const double low = *std::ranges::min_element(item.rewards);
      const double high = *std::ranges::max_element(item.rewards);
      double sum = 0;
      for (size_t r = 0; r < s.size(); ++r)
        sum += (2 * (item.rewards[r] - low) / (high - low) - 1) * std::exp(m[r]);
      return -sum / static_cast<double>(s.size());
    }
    case kSimper:
      return std::exp(m[1]) - std::exp(m[0]);
    case kDpo:
      return -std::log(sigmoid(o.beta * (ratio[0] - ratio[1]))) - o.rpo_alpha * m[0];
    case kIpo:
      return std::pow(ratio[0] / n[0] - ratio[1] / n[1] - 1 / (2 * o.beta), 2);
    case kOrpo:
      return -m[0] - o.beta * std::log(sigmoid(std::log(odds(0) / odds(1))));
    case kSimpo:
      return -std::log(sigmoid(o.beta * (m[0] - m[1]) - o.simpo_gamma));
    case kKto: {
      const double sign = item.rewards[0] > 0 ? 1 : -1;
      const double weight = sign > 0 ? o.desirable_weight : o.undesirable_weight;
      return weight * (1 - sigmoid(sign * o.beta * (ratio[0] - zero)));
    }
  }
  return 0;
}

double zero_of(std::span<const ComparedItem> items, const ref::WeightTable& weights) {
  double sum = 0, count = 0;
  for (const ComparedItem& one : items) {
    if (one.item->mismatched.ids.empty()) continue;
    sum += plain_sum(weights, one.item->mismatched) - one.mismatched_reference;
    count += 1;
  }
  return count > 0 ? std::max(0.0, sum / count) : 0;
}

PreferenceOptions options_of(PreferenceObjective objective) {
  PreferenceOptions out(objective);
  out.desirable_weight = 1.5;
  out.undesirable_weight = 0.5;
  if (objective == PreferenceObjective::kDpo) out.rpo_alpha = 0.3;
  return out;
}

TEST(WholePreferenceStep, EveryObjectiveMovesTheWeightsAsTheReferenceDoes) {
  for (const auto& [objective, name] : enum_names(PreferenceObjective())) {
    const LearnerOptions options =
        preference_learner_options(small_optimiser(OptimiserKind::kAdamW, kPeak, kClip), kRowsMax);
    CpuStream stream;
    Learner learner(small_model(), options, stream);
    learner.parameters().initialise(3, stream);
    ReferenceLearner reference(options, learner.parameters().list(), table_of(learner));
    const PreferenceOptions chosen = options_of(objective);
    double worst = 0;
    // Moments carry over alike for all: two steps of one objective are enough.
    const int64_t steps = objective == PreferenceObjective::kDpo ? 2 : 1;
    for (int64_t step = 0; step < steps; ++step) {
      const std::vector<PreferenceItem> items = items_of(objective, step);
      const std::vector<ComparedItem> all = compared(items);
      const double zero = zero_of(all, reference.weights());
      const auto loss = [&](const ref::WeightTable& weights) {
        double sum = 0;
        for (const ComparedItem& one : all) sum += formula(chosen, one, weights, zero);
        return sum / static_cast<double>(all.size());
      };
      const double wanted = loss(reference.weights());
      const double norm = reference.update(loss, kPeak, {});
      const PreferenceLearnt learnt = learn_from_preferences(
          all, {.objective = chosen, .rows_max = kRowsMax},
          {.index = step, .learning_rate = kPeak, .where = "test"}, learner, stream);
      EXPECT_NEAR(learnt.stats.loss, wanted, 1e-4 * std::abs(wanted) + 1e-6) << name;
      EXPECT_NEAR(learnt.updates.mean_gradient_norm(), norm, 1e-3 * norm + 1e-7) << name;
      if (objective == PreferenceObjective::kKto) {
        EXPECT_GT(zero, 0);
        EXPECT_NEAR(learnt.stats.zero_point, zero, 1e-4 * zero);
      }
      worst = std::max(worst, expect_near(table_of(learner), reference.weights(), 1e-3 * kPeak,
                                          fmt::format("{} step {}", name, step + 1)));
    }
    std::printf("%s: worst difference %.2e of the peak rate\n", name, worst / kPeak);
  }
}

// However a step is split, its numbers are those of the whole, to the bit before the update.
TEST(WholePreferenceStep, TheSplitChangesNoNumber) {
  for (const auto& [objective, name] : enum_names(PreferenceObjective())) {
    const std::vector<PreferenceItem> items = items_of(objective, 0);
    const std::vector<ComparedItem> all = compared(items);
    const auto stats = [&](int64_t rows) {
      CpuStream stream;
      Learner learner(
          small_model(),
          preference_learner_options(small_optimiser(OptimiserKind::kAdamW, kPeak, kClip), rows),
          stream);
      learner.parameters().initialise(3, stream);
      Json row = Json::object();
      measure_preferences(all, {.objective = PreferenceOptions(objective), .rows_max = rows},
                          learner, stream)
          .add_to(row, "eval_");
      return row;
    };
    EXPECT_EQ(stats(kRowsMax).dump(), stats(200).dump()) << name;
    EXPECT_NE(stats(200).find("eval_rewards/accuracies"), nullptr);
  }
}

}  // namespace
}  // namespace dure
