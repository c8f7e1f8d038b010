// Whole steps of reinforcement learning on given rollouts against a reference in double: the
// formulas of docs/objectives.md written out again, and the learner of train/reference_fixture.h.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "rl/rl_step.h"
#include "tensor/cpu_stream.h"
#include "train/reference_fixture.h"
#include "train/run.h"

namespace dure {
namespace {

constexpr int64_t kSteps = 3, kShares = 2, kRowsMax = 24;
constexpr int64_t kLengthConstant = 4;
constexpr double kPeak = 0.02, kClip = 0.02;
// Warm-up of 2 steps, then a decay to a half: by hand.
constexpr double kRates[kSteps] = {0.5 * kPeak, kPeak, 0.5 * kPeak};
// Groups of different sizes; the second is all right, and one answer is empty.
constexpr size_t kGroupSizes[] = {3, 2, 4, 3};
constexpr double kRewards[] = {0, 1, 0, 1, 1, 0, 1, 1, 0.5, 1, 0, 0};
constexpr size_t kEmpty = 8;

std::vector<Rollout> rollouts_of(int64_t step) {
  std::vector<Rollout> out;
  Rng rng(9, static_cast<uint64_t>(step));
  const auto draw = [&](std::vector<int32_t>& ids, int64_t count) {
    for (int64_t i = 0; i < count; ++i)
      ids.push_back(static_cast<int32_t>(rng.below(kSmallVocabulary)));
  };
  for (size_t group = 0; group < std::size(kGroupSizes); ++group) {
    std::vector<int32_t> prompt;
    draw(prompt, rng.between(1, 3));
    for (size_t member = 0; member < kGroupSizes[group]; ++member) {
      Rollout& r = out.emplace_back();
      r.group = static_cast<int64_t>(group);
      r.prompt = prompt;
      r.reward = kRewards[out.size() - 1];
      draw(r.generation.tokens, out.size() - 1 == kEmpty ? 0 : rng.between(1, 5));
      for (size_t t = 0; t < r.generation.tokens.size(); ++t)
        r.generation.log_probabilities.push_back(
            static_cast<float>(-std::log(kSmallVocabulary) + 0.5 * rng.normal()));
    }
  }
  return out;
}

class RolloutStage : public Stage {
 public:
  RolloutStage(const ObjectiveOptions& objective, OptimiserKind kind)
      : step_options_{.objective = objective, .updates = kShares, .rows_max = kRowsMax},
        options_(rl_learner_options(small_optimiser(kind, kPeak, kClip), kRowsMax)) {}
  Json identity() const override { return Json::object(); }
  void open(const Checkpoint*) override {
    learner_.emplace(small_model(), options_, stream_);
    learner_->parameters().initialise(3, stream_);
    tables.push_back(table_of(*learner_));
  }
  Learner& learner() override { return *learner_; }
  const ModelTexts& texts() const override { return texts_; }
  StepReport step(const StepContext& context) override {
    learnt.push_back(
        learn_from_rollouts(rollouts_of(context.index), step_options_, context, *learner_));
    tables.push_back(table_of(*learner_));
    return {};
  }
  const LearnerOptions& options() const { return options_; }
  const ObjectiveOptions& objective() const { return step_options_.objective; }

  std::vector<ref::WeightTable> tables;  // before the first step, after each
  std::vector<RlLearnt> learnt;          // of each step

 private:
  RlStepOptions step_options_;
  LearnerOptions options_;
  CpuStream stream_;
  ModelTexts texts_;
  std::optional<Learner> learner_;
};

// A response as the tables of docs/objectives.md see it.
struct Counted {
  const Rollout* rollout = nullptr;
  double advantage = 0, scale = 0;
  double tokens() const { return static_cast<double>(rollout->generation.tokens.size()); }
};

using Group = std::vector<Counted>;

std::vector<Group> groups_of(const std::vector<Rollout>& rollouts) {
  std::vector<Group> out(std::size(kGroupSizes));
  for (const Rollout& r : rollouts) out[static_cast<size_t>(r.group)].push_back({&r});
  return out;
}

double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double sample_deviation(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += (value - mean(values)) * (value - mean(values));
  return std::sqrt(squares / static_cast<double>(values.size() - 1));
}

class Formulas {
 public:
  Formulas(const ObjectiveOptions& options, const std::vector<Rollout>& rollouts)
      : options_(options), groups_(groups_of(rollouts)) {
    using enum Objective;
    // The group of equal rewards.
    if (is({kAgapo, kDapo, kCispo})) groups_[1].clear();
    for (Group& group : groups_) set_advantages(group);
    if (is({kAgapo})) normalise();
    set_scales();
  }
  const std::vector<Group>& groups() const { return groups_; }

  // -sum_t term(t), with log-probabilities of the policy now and, where they only weigh, of the
  // policy that the step began with.
  double loss(const Counted& c, std::span<const double> now, std::span<const double> held) const {
    using enum Objective;
    const std::vector<float>& sampler = c.rollout->generation.log_probabilities;
    double sum = 0, log_ratios = 0;
    for (size_t t = 0; t < now.size(); ++t) log_ratios += now[t] - sampler[t];
    for (size_t t = 0; t < now.size(); ++t) {
      const double a = c.advantage, log_ratio = now[t] - sampler[t];
      if (is({kAgapo, kCispo}))
        sum += std::min(std::exp(held[t] - sampler[t]), options_.ratio_max) * a * now[t];
      else if (is({kRloo}))
        sum += a * now[t];
      else
        sum += clipped(is({kGspo}) ? log_ratios / c.tokens() : log_ratio, a);
    }
    return -c.scale * sum;
  }

 private:
  bool is(std::initializer_list<Objective> some) const {
    return std::ranges::find(some, options_.objective) != some.end();
  }

  double clipped(double log_ratio, double advantage) const {
    const double ratio = std::exp(log_ratio);
    const double held = std::clamp(ratio, 1 - options_.clip_low, 1 + options_.clip_high);
    return std::min(ratio * advantage, held * advantage);
  }

  void set_advantages(Group& group) const {
    using enum Objective;
    std::vector<double> rewards;
    for (const Counted& c : group) rewards.push_back(c.rollout->reward);
    for (size_t i = 0; i < group.size(); ++i) {
      std::vector<double> others = rewards;
      others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
      if (is({kAgapo, kRloo}))
        group[i].advantage = rewards[i] - mean(others);
      else if (is({kDrGrpo}))
        group[i].advantage = rewards[i] - mean(rewards);
      else
        group[i].advantage =
            (rewards[i] - mean(rewards)) / (sample_deviation(rewards) + options_.epsilon);
    }
  }

  void normalise() {
    std::vector<double> all;
    for (const Group& group : groups_) {
      for (const Counted& c : group) all.push_back(c.advantage);
    }
    for (Group& group : groups_) {
      for (Counted& c : group)
        c.advantage = (c.advantage - mean(all)) / (sample_deviation(all) + options_.epsilon);
    }
  }

  void set_scales() {
    using enum Objective;
    double live = 0, responses = 0, tokens = 0;
    for (const Group& group : groups_) {
      live += group.empty() ? 0 : 1;
      responses += static_cast<double>(group.size());
      for (const Counted& c : group) tokens += c.tokens();
    }
    for (Group& group : groups_) {
      for (Counted& c : group) {
        const double size = static_cast<double>(group.size());
        c.scale = c.tokens() == 0       ? 0
                  : is({kRloo})         ? 1 / responses
                  : is({kDrGrpo})       ? 1 / (responses * kLengthConstant)
                  : is({kDapo, kCispo}) ? 1 / tokens
                                        : 1 / (live * size * c.tokens());
      }
    }
  }

  ObjectiveOptions options_;
  std::vector<Group> groups_;
};

// The groups of one update; each response a document that only its answer is learnt of.
struct Share {
  std::vector<Counted> responses;
  ref::RefInput input;
  std::vector<size_t> first_rows;  // of each response: the row that predicts its first token

  Share(std::span<const Group> groups) {
    for (const Group& group : groups) {
      for (const Counted& c : group) {
        if (c.tokens() > 0) add(c);
      }
    }
  }
  void add(const Counted& c) {
    const auto& [prompt, answer] = std::tie(c.rollout->prompt, c.rollout->generation.tokens);
    responses.push_back(c);
    first_rows.push_back(input.ids.size() + prompt.size() - 1);
    input.ids.insert(input.ids.end(), prompt.begin(), prompt.end());
    input.targets.insert(input.targets.end(), prompt.size() - 1, -100);
    input.ids.insert(input.ids.end(), answer.begin(), answer.end());
    input.targets.insert(input.targets.end(), answer.begin(), answer.end());
    input.targets.push_back(-100);
    input.document_lengths.push_back(std::ssize(prompt) + std::ssize(answer));
  }
  std::span<const double> answer(const ref::RefOutput& output, size_t i) const {
    return std::span(output.log_probability)
        .subspan(first_rows[i], responses[i].rollout->generation.tokens.size());
  }
};

// Of one update: the norm before clipping, the loss before it moves anything.
struct Updated {
  double norm = 0, loss = 0;
};
Updated update(ReferenceLearner& reference, const Formulas& formulas, const Share& share,
               double rate) {
  const ref::RefOutput held = ref::run_model(small_model(), reference.weights(), share.input);
  const auto objective = [&](const ref::RefOutput& now) {
    double sum = 0;
    for (size_t i = 0; i < share.responses.size(); ++i) {
      sum +=
          kShares * formulas.loss(share.responses[i], share.answer(now, i), share.answer(held, i));
    }
    return sum;
  };
  const double norm = reference.update(
      [&](const ref::WeightTable& weights) {
        return objective(ref::run_model(small_model(), weights, share.input));
      },
      rate, held.routing);
  return {norm, objective(held)};
}

// Bounds that some of the rollouts pass.
ObjectiveOptions tight(Objective objective) {
  ObjectiveOptions out(objective);
  out.length_constant = kLengthConstant;
  if (objective == Objective::kCispo) out.ratio_max = 1.5;
  if (objective == Objective::kGspo) out.clip_low = out.clip_high = 0.3;
  return out;
}

void expect_reference_steps(Objective objective, OptimiserKind kind, int64_t steps) {
  ::setenv("DURE_PROGRESS", "off", 1);
  const TemporaryFolder folder;
  RolloutStage stage(tight(objective), kind);
  dure::Run({.title = "whole",
             .folder = folder.path() / "run",
             .config = Json::object(),
             .steps = steps,
             .schedule = make_schedule({.warmup_steps = 2,
                                        .decay_steps = 1,
                                        .final_fraction = 0.5,
                                        .decay = DecayShape::kLinear},
                                       kPeak, kSteps),  // Of which a short run sees a part.
             .tensorboard = false},
            stage)
      .run();
  ReferenceLearner reference(stage.options(), stage.learner().parameters().list(),
                             stage.tables.front());
  double worst = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const std::vector<Rollout> rollouts = rollouts_of(step);
    const Formulas formulas(stage.objective(), rollouts);
    double loss = 0, largest_norm = 0;
    for (size_t k = 0; k < kShares; ++k) {
      const Share share(std::span(formulas.groups()).subspan(2 * k, 2));
      const Updated updated = update(reference, formulas, share, kRates[step]);
      loss += updated.loss;
      largest_norm = std::max(largest_norm, updated.norm);
    }
    EXPECT_GT(largest_norm, 1.5 * kClip) << "clipping must be active";
    const RlLearnt& learnt = stage.learnt[static_cast<size_t>(step)];
    EXPECT_NEAR(learnt.loss, loss, 1e-4 * std::abs(loss) + 1e-7);
    EXPECT_EQ(learnt.updates.count, kShares);
    EXPECT_GT(learnt.objective.clipped_count, objective == Objective::kRloo ? -1 : 0);
    worst = std::max(
        worst, expect_near(stage.tables[static_cast<size_t>(step) + 1], reference.weights(),
                           1e-3 * kPeak, fmt::format("{} step {}", name_of(objective), step + 1)));
  }
  std::printf("%s: worst difference %.2e of the peak rate\n", name_of(objective), worst / kPeak);
}

TEST(WholeRlStep, SeveralStepsMoveTheWeightsAsTheReferenceDoes) {
  expect_reference_steps(Objective::kAgapo, OptimiserKind::kMuon, kSteps);
  expect_reference_steps(Objective::kGrpo, OptimiserKind::kAdamW, kSteps);
}

TEST(WholeRlStep, EveryObjectiveMovesTheWeightsAsTheReferenceDoes) {
  for (const auto& [objective, name] : enum_names(Objective()))
    expect_reference_steps(objective, OptimiserKind::kAdamW, 1);
}

}  // namespace
}  // namespace dure
