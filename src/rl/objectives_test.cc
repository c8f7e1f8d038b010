// Closed forms and invariances of the objectives: what the algebra says must hold, whatever the
// numbers.
#include "rl/objectives.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <numeric>

#include "base/rng.h"

namespace dure {
namespace {

struct Batch {
  std::vector<int64_t> groups, lengths;
  std::vector<double> rewards;
  std::vector<std::vector<double>> logprobs, sampler;
};

// `sizes`: responses of each group. off: how far the policy is from the sampler.
Batch random_batch(std::vector<int64_t> sizes, uint64_t seed, double off) {
  Rng rng(seed, 9);
  Batch batch;
  for (size_t g = 0; g < sizes.size(); ++g) {
    for (int64_t i = 0; i < sizes[g]; ++i) {
      batch.groups.push_back(static_cast<int64_t>(g) * 7 - 3);
      batch.rewards.push_back(rng.uniform());
      batch.lengths.push_back(rng.between(1, 6));
      batch.logprobs.emplace_back();
      batch.sampler.emplace_back();
      for (int64_t t = 0; t < batch.lengths.back(); ++t) {
        batch.logprobs.back().push_back(-3 * rng.uniform() - 0.01);
        batch.sampler.back().push_back(batch.logprobs.back().back() + off * rng.normal());
      }
    }
  }
  return batch;
}

struct Result {
  double loss = 0;
  std::vector<std::vector<double>> grads;
};

Result run(const ObjectiveOptions& options, const Batch& batch) {
  const ResponseWeights weights =
      weigh_responses(options, batch.groups, batch.rewards, batch.lengths);
  Result out;
  for (size_t i = 0; i < batch.groups.size(); ++i) {
    out.grads.emplace_back(batch.logprobs[i].size());
    out.loss += response_loss<double>(options, weights.advantages[i], weights.scales[i],
                                      batch.logprobs[i], batch.sampler[i], out.grads.back());
  }
  return out;
}

TEST(Advantages, LeaveOneOutSumsToZeroInEveryGroup) {
  const Batch batch = random_batch({4, 2, 7}, 1, 0);
  const ResponseWeights weights = weigh_responses(ObjectiveOptions(Objective::kRloo), batch.groups,
                                                  batch.rewards, batch.lengths);
  std::map<int64_t, double> sums;
  for (size_t i = 0; i < batch.groups.size(); ++i) sums[batch.groups[i]] += weights.advantages[i];
  for (const auto& [group, sum] : sums) EXPECT_NEAR(sum, 0, 1e-14);
}

// With equal group sizes the factor G / (G - 1) cancels: AGAPO = (R - group mean) / std over the
// batch of the same.
TEST(Advantages, AgapoWithEqualGroupsIsCentredRewardsOverBatchDeviation) {
  const Batch batch = random_batch({4, 4, 4}, 2, 0);
  ObjectiveOptions options(Objective::kAgapo);
  options.epsilon = 0;
  const ResponseWeights weights =
      weigh_responses(options, batch.groups, batch.rewards, batch.lengths);
  std::vector<double> centred;
  for (size_t i = 0; i < 12; ++i) {
    const size_t first = i / 4 * 4;
    centred.push_back(
        batch.rewards[i] -
        std::accumulate(batch.rewards.begin() + first, batch.rewards.begin() + first + 4, 0.0) / 4);
  }
  double squares = 0;
  for (const double c : centred) squares += c * c;
  for (size_t i = 0; i < 12; ++i)
    EXPECT_NEAR(weights.advantages[i], centred[i] / std::sqrt(squares / 11), 1e-13);
}

TEST(Advantages, UnequalGroupsKeepTheirFactor) {
  ObjectiveOptions options(Objective::kAgapo);
  options.epsilon = 0;
  const std::vector<int64_t> groups = {0, 0, 1, 1, 1, 1}, lengths(6, 1);
  const std::vector<double> rewards = {0, 1, 0, 1, 0, 1};
  const ResponseWeights weights = weigh_responses(options, groups, rewards, lengths);
  EXPECT_NEAR(weights.advantages[1] / weights.advantages[3], (2.0 / 1) / (4.0 / 3), 1e-14);
}

// Dead groups leave before the statistics: the live ones come out as if the dead had never been
// sampled.
TEST(Advantages, DroppedGroupsChangeNothingForTheOthers) {
  for (const Objective objective : {Objective::kAgapo, Objective::kDapo, Objective::kCispo}) {
    const char* name = name_of(objective);
    const Batch live = random_batch({4, 3}, 3, 0.3);
    Batch with_dead = live;
    for (const double reward :
         {1.0, 0.1}) {  // 0.1 three times: the mean in floating point differs from 0.1.
      for (int i = 0; i < 3; ++i) {
        with_dead.groups.push_back(reward == 1.0 ? 100 : 101);
        with_dead.rewards.push_back(reward);
        with_dead.lengths.push_back(2);
        with_dead.logprobs.push_back({-1, -2});
        with_dead.sampler.push_back({-1, -1});
      }
    }
    const Result a = run(ObjectiveOptions(objective), live);
    const Result b = run(ObjectiveOptions(objective), with_dead);
    EXPECT_EQ(a.loss, b.loss) << name;
    for (size_t i = 0; i < a.grads.size(); ++i) EXPECT_EQ(a.grads[i], b.grads[i]) << name;
    for (size_t i = a.grads.size(); i < b.grads.size(); ++i)
      EXPECT_EQ(b.grads[i], (std::vector<double>{0, 0})) << name;
  }
}

TEST(Advantages, KeptDeadGroupsGetExactlyZero) {
  for (const auto& [objective, name] : enum_names(Objective())) {
    ObjectiveOptions options(objective);
    options.drop_zero_variance = false;
    const std::vector<double> rewards = {0.1, 0.1, 0.1, 0.7, 0, 1};
    const ResponseWeights weights = weigh_responses(options, std::vector<int64_t>{0, 0, 0, 1, 2, 2},
                                                    rewards, std::vector<int64_t>(6, 2));
    for (size_t i = 0; i < 4; ++i) EXPECT_EQ(weights.advantages[i], 0) << name;
    EXPECT_EQ(weights.live_response_count, 6);
    EXPECT_GT(weights.scales[0], 0);
  }
}

TEST(Advantages, RowOrderAndGroupIdsDoNotMatter) {
  const Batch batch = random_batch({3, 5, 2}, 4, 0.2);
  for (const auto& [objective, name] : enum_names(Objective())) {
    const ObjectiveOptions options(objective);
    const ResponseWeights weights =
        weigh_responses(options, batch.groups, batch.rewards, batch.lengths);
    std::vector<size_t> order(batch.groups.size());
    std::iota(order.begin(), order.end(), size_t{0});
    Rng(5).shuffle(order);
    std::vector<int64_t> groups, lengths;
    std::vector<double> rewards;
    for (const size_t i : order) {
      groups.push_back(1000 - batch.groups[i]);
      rewards.push_back(batch.rewards[i]);
      lengths.push_back(batch.lengths[i]);
    }
    const ResponseWeights turned = weigh_responses(options, groups, rewards, lengths);
    for (size_t i = 0; i < order.size(); ++i)
      EXPECT_NEAR(turned.advantages[i], weights.advantages[order[i]], 1e-12) << name;
  }
}

TEST(Advantages, EmptyResponsesAndEmptyBatchesAreHarmless) {
  for (const auto& [objective, name] : enum_names(Objective())) {
    const ObjectiveOptions options(objective);
    EXPECT_EQ(weigh_responses(options, {}, {}, {}).live_group_count, 0);
    const ResponseWeights weights = weigh_responses(
        options, std::vector<int64_t>{0, 0}, std::vector<double>{0, 1}, std::vector<int64_t>{0, 0});
    EXPECT_EQ(weights.scales, (std::vector<double>{0, 0})) << name;
  }
}

// The derivative of the formula with the weights held fixed: differentiate numerically with the
// ratio of the unmoved policy where it only weighs (agapo, cispo), of the moved one where it is
// differentiated.
TEST(Objectives, GradientsAreThoseOfTheFormula) {
  const Batch batch = random_batch({4, 3, 2}, 6, 0.5);
  for (const auto& [objective, name] : enum_names(Objective())) {
    const ObjectiveOptions options(objective);
    const ResponseWeights weights =
        weigh_responses(options, batch.groups, batch.rewards, batch.lengths);
    const bool weighted = objective == Objective::kAgapo || objective == Objective::kCispo;
    for (size_t i = 0; i < batch.groups.size(); ++i) {
      const auto& logprobs = batch.logprobs[i];
      std::vector<double> grad(logprobs.size()), ignored(logprobs.size());
      response_loss<double>(options, weights.advantages[i], weights.scales[i], logprobs,
                            batch.sampler[i], grad);
      for (size_t t = 0; t < logprobs.size(); ++t) {
        double ends[2];
        for (const int side : {0, 1}) {
          std::vector<double> moved = logprobs, sampler = batch.sampler[i];
          const double by = (side == 0 ? -1 : 1) * 1e-6;
          moved[t] += by;
          if (weighted) sampler[t] += by;  // Keeps the ratio.
          ends[side] = response_loss<double>(options, weights.advantages[i], weights.scales[i],
                                             moved, sampler, ignored);
        }
        // gspo: n tokens whose s moves by s/n each give the same number as one token whose s moves
        // by s.
        EXPECT_NEAR(grad[t], (ends[1] - ends[0]) / 2e-6, 1e-6) << name;
      }
    }
  }
}

TEST(Objectives, OnPolicyAgapoIsReinforceWithMeanOverTokens) {
  const Batch batch = random_batch({4, 4}, 7, 0);
  const ObjectiveOptions options(Objective::kAgapo);
  const ResponseWeights weights =
      weigh_responses(options, batch.groups, batch.rewards, batch.lengths);
  const Result result = run(options, batch);
  for (size_t i = 0; i < batch.groups.size(); ++i) {
    for (const double g : result.grads[i])
      EXPECT_NEAR(g, -weights.advantages[i] / (8.0 * static_cast<double>(batch.lengths[i])), 1e-15);
  }
}

TEST(Objectives, TruncationIsDetachedAndVanishesForALargeBound) {
  ObjectiveOptions options(Objective::kAgapo);
  std::vector<double> grad(1);
  const std::vector<double> logprob = {-1.0}, sampler = {-3.0};  // Ratio e^2 = 7.39.
  response_loss<double>(options, 1, 1, logprob, sampler, grad);
  EXPECT_EQ(grad[0], -2.0);
  options.ratio_max = 1e30;
  ObjectiveStats stats;
  response_loss<double>(options, 1, 1, logprob, sampler, grad, &stats);
  EXPECT_DOUBLE_EQ(grad[0], -std::exp(2.0));
  EXPECT_EQ(stats.mismatch_max, 2.0);
  EXPECT_EQ(stats.clipped_count, 0);
}

TEST(Objectives, OneNameIsAWholeConfiguration) {
  ObjectiveOptions options;
  from_json(options, parse_yaml("objective: gspo\nclip_high: 0.001", "y"), "y");
  EXPECT_EQ(options.clip_low, 3e-4);
  EXPECT_EQ(options.clip_high, 0.001);
  EXPECT_FALSE(options.drop_zero_variance);
  ObjectiveOptions wrong, again;
  EXPECT_THROW(from_json(wrong, parse_yaml("objective: ppo", "y"), "y"), Error);
  from_json(again, to_json(options), "again");
  EXPECT_EQ(to_json(again), to_json(options));
  // A present objective named again keeps what was set beside it.
  from_json(again, parse_yaml("objective: gspo\nepsilon: 0.5", "y"), "y");
  EXPECT_EQ(again.clip_high, 0.001);
  // Writing changes nothing, whatever was set by hand.
  again.objective = Objective::kDapo;
  EXPECT_EQ(to_json(again).at("clip_high"), Json(0.001));
}

TEST(KlTerms, AreTheirFormulasAndDerivatives) {
  constexpr double kStep = 1e-6;
  for (const double p : {-0.01, -0.7, -3.0, -9.0}) {
    for (const double reference : {-0.02, -0.7, -2.0, -12.0}) {
      const double d = p - reference;
      EXPECT_DOUBLE_EQ(kl_term(KlEstimator::kK1, p, reference).value, d);
      EXPECT_DOUBLE_EQ(kl_term(KlEstimator::kK2, p, reference).value, d * d / 2);
      EXPECT_NEAR(kl_term(KlEstimator::kK3, p, reference).value, std::exp(-d) - 1 + d,
                  1e-12 * std::exp(std::abs(d)));
      EXPECT_GE(kl_term(KlEstimator::kK3, p, reference).value, 0);
      for (const auto kind : {KlEstimator::kK1, KlEstimator::kK2, KlEstimator::kK3}) {
        const double slope = (kl_term(kind, p + kStep, reference).value -
                              kl_term(kind, p - kStep, reference).value) /
                             (2 * kStep);
        EXPECT_NEAR(kl_term(kind, p, reference).derivative, slope, 1e-6 * (1 + std::abs(slope)));
      }
    }
  }
}

// Over all tokens of a small vocabulary: what the estimates and their gradients are on average.
TEST(KlTerms, EstimateTheDivergenceAsTheHeaderSays) {
  const std::vector<double> logits = {0.3, -1.2, 0.8, 0.1}, before = {0.1, -0.9, 1.0, -0.3};
  const auto log_softmax = [](const std::vector<double>& x) {
    double sum = 0;
    for (const double v : x) sum += std::exp(v);
    std::vector<double> out;
    for (const double v : x) out.push_back(v - std::log(sum));
    return out;
  };
  const std::vector<double> p = log_softmax(logits), q = log_softmax(before);
  const auto divergence = [](const std::vector<double>& a, const std::vector<double>& b) {
    double out = 0;
    for (size_t i = 0; i < a.size(); ++i) out += std::exp(a[i]) * (a[i] - b[i]);
    return out;
  };
  const auto mean_value = [&](KlEstimator kind) {
    double out = 0;
    for (size_t i = 0; i < p.size(); ++i) out += std::exp(p[i]) * kl_term(kind, p[i], q[i]).value;
    return out;
  };
  // Mean of derivative x d log p_i / d logit_k.
  const auto mean_gradient = [&](KlEstimator kind, size_t k) {
    double out = 0;
    for (size_t i = 0; i < p.size(); ++i)
      out += std::exp(p[i]) * kl_term(kind, p[i], q[i]).derivative *
             ((i == k ? 1 : 0) - std::exp(p[k]));
    return out;
  };
  const auto slope = [&](size_t k, const auto& of) {
    std::vector<double> more = logits, less = logits;
    more[k] += 1e-6;
    less[k] -= 1e-6;
    return (of(log_softmax(more)) - of(log_softmax(less))) / 2e-6;
  };
  EXPECT_NEAR(mean_value(KlEstimator::kK1), divergence(p, q), 1e-12);
  EXPECT_NEAR(mean_value(KlEstimator::kK3), divergence(p, q), 1e-12);
  for (size_t k = 0; k < p.size(); ++k) {
    EXPECT_NEAR(mean_gradient(KlEstimator::kK1, k), 0, 1e-12);
    EXPECT_NEAR(mean_gradient(KlEstimator::kK2, k),
                slope(k, [&](const std::vector<double>& x) { return divergence(x, q); }), 1e-8);
    EXPECT_NEAR(mean_gradient(KlEstimator::kK3, k),
                slope(k, [&](const std::vector<double>& x) { return divergence(q, x); }), 1e-8);
  }
}

TEST(KlTerms, AResponsesLossAddsToItsGradient) {
  const std::vector<double> now = {-1, -2}, then = {-1.5, -1};
  std::vector<double> gradient = {10, 20};
  double sum = 0;
  const KlOptions options{.beta = 0.5, .estimator = KlEstimator::kK2};
  const double loss = kl_loss<double>(options, 0.25, now, then, gradient, sum);
  EXPECT_DOUBLE_EQ(sum, 0.125 + 0.5);
  EXPECT_DOUBLE_EQ(loss, 0.25 * 0.5 * 0.625);
  EXPECT_DOUBLE_EQ(gradient[0], 10 + 0.125 * 0.5);
  EXPECT_DOUBLE_EQ(gradient[1], 20 - 0.125);
}

}  // namespace
}  // namespace dure
