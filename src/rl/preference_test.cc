// Losses over compared responses: derivatives by differences, limits, and values worked by hand.
#include "rl/preference.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/rng.h"

namespace dure {
namespace {

using enum PreferenceObjective;

constexpr PreferenceObjective kPairs[] = {kSimper, kDpo, kIpo, kOrpo, kSimpo};

ResponseLogProbability random_response(Rng& rng) {
  ResponseLogProbability out{.tokens = rng.between(1, 9)};
  out.sum = -(0.05 + 2 * rng.uniform()) * static_cast<double>(out.tokens);
  out.reference_sum = out.sum + rng.normal();
  return out;
}

// The derivative by a token's log-probability is that by the sum.
double difference(const std::function<double(double)>& loss, double at) {
  constexpr double kStep = 1e-6;
  return (loss(at + kStep) - loss(at - kStep)) / (2 * kStep);
}

// Central differences of step h of a function of size 1 are right to about h^2 + epsilon / h.
constexpr double kBound = 1e-8;

TEST(Preference, PairSlopesAreTheDerivatives) {
  for (const PreferenceObjective objective : kPairs) {
    Rng rng(5, static_cast<uint64_t>(objective));
    for (int trial = 0; trial < 50; ++trial) {
      PreferenceOptions options(objective);
      options.rpo_alpha = trial % 2 == 0 ? 0 : 0.7;
      const ResponseLogProbability chosen = random_response(rng), rejected = random_response(rng);
      const PairLoss got = pair_loss(options, chosen, rejected);
      const auto with = [&](double a, double b) {
        ResponseLogProbability c = chosen, r = rejected;
        c.sum = a;
        r.sum = b;
        return pair_loss(options, c, r).loss;
      };
      const double bound = kBound * (1 + std::abs(got.loss));
      EXPECT_NEAR(got.chosen_slope,
                  difference([&](double s) { return with(s, rejected.sum); }, chosen.sum), bound)
          << name_of(objective);
      EXPECT_NEAR(got.rejected_slope,
                  difference([&](double s) { return with(chosen.sum, s); }, rejected.sum), bound)
          << name_of(objective);
    }
  }
}

TEST(Preference, SlopesOfSingleResponsesAreTheDerivatives) {
  Rng rng(6);
  for (int trial = 0; trial < 50; ++trial) {
    const ResponseLogProbability response = random_response(rng);
    PreferenceOptions options(kKto);
    options.desirable_weight = 1.5;
    options.undesirable_weight = 0.75;
    const auto with = [&](double sum) {
      ResponseLogProbability r = response;
      r.sum = sum;
      return r;
    };
    const bool label = trial % 2 == 0;
    EXPECT_NEAR(kto_loss(options, label, 0.3, response).slope,
                difference([&](double s) { return kto_loss(options, label, 0.3, with(s)).loss; },
                           response.sum),
                kBound);
    EXPECT_NEAR(
        grouper_loss(-0.4, 5, response).slope,
        difference([&](double s) { return grouper_loss(-0.4, 5, with(s)).loss; }, response.sum),
        kBound);
  }
}

// Numbers of two short responses worked out from the papers' formulas.
TEST(Preference, ValuesWorkedByHand) {
  const ResponseLogProbability chosen{.sum = -2, .tokens = 4, .reference_sum = -3};
  const ResponseLogProbability rejected{.sum = -3, .tokens = 2, .reference_sum = -2};
  // ratios 1 and -1; means -0.5 and -1.5.
  EXPECT_NEAR(pair_loss(PreferenceOptions(kDpo), chosen, rejected).loss,
              std::log(1 + std::exp(-0.2)), 1e-12);
  EXPECT_NEAR(pair_loss(PreferenceOptions(kIpo), chosen, rejected).loss,
              (0.25 + 0.5 - 5) * (0.25 + 0.5 - 5), 1e-12);
  EXPECT_NEAR(pair_loss(PreferenceOptions(kSimpo), chosen, rejected).loss,
              std::log(1 + std::exp(-(2 * 1.0 - 1))), 1e-12);
  const double odds_chosen = std::exp(-0.5) / (1 - std::exp(-0.5));
  const double odds_rejected = std::exp(-1.5) / (1 - std::exp(-1.5));
  EXPECT_NEAR(pair_loss(PreferenceOptions(kOrpo), chosen, rejected).loss,
              0.5 + 0.1 * std::log(1 + odds_rejected / odds_chosen), 1e-12);
  EXPECT_NEAR(pair_loss(PreferenceOptions(kSimper), chosen, rejected).loss,
              std::exp(-1.5) - std::exp(-0.5), 1e-12);
  const PreferenceOptions kto(kKto);
  EXPECT_NEAR(kto_loss(kto, true, 0.5, chosen).loss, 1 - 1 / (1 + std::exp(-0.1 * 0.5)), 1e-12);
  EXPECT_NEAR(kto_loss(kto, false, 0.5, rejected).loss, 1 - 1 / (1 + std::exp(-0.1 * 1.5)), 1e-12);
}

// The odds ratio as the paper writes it, by differences of logarithms, not by the code's identity.
TEST(Preference, OrpoIsFiniteForCertainResponses) {
  const PreferenceOptions options(kOrpo);
  for (const double sum : {0.0, -1e-20, -1e-7, -700.0, -1e5}) {
    const PairLoss loss = pair_loss(options, {.sum = sum, .tokens = 1}, {.sum = -1, .tokens = 3});
    EXPECT_TRUE(std::isfinite(loss.loss) && std::isfinite(loss.chosen_slope) &&
                std::isfinite(loss.rejected_slope))
        << sum;
    const PairLoss other = pair_loss(options, {.sum = -1, .tokens = 3}, {.sum = sum, .tokens = 1});
    EXPECT_TRUE(std::isfinite(other.loss) && std::isfinite(other.rejected_slope)) << sum;
  }
}

TEST(Preference, DpoIsFiniteForAnyMargin) {
  PreferenceOptions options(kDpo);
  options.beta = 1;
  for (const double margin : {-1e4, 0.0, 1e4}) {
    const PairLoss loss = pair_loss(options, {.sum = margin, .tokens = 1}, {.tokens = 1});
    EXPECT_TRUE(std::isfinite(loss.loss));
    EXPECT_EQ(loss.chosen_slope, -loss.rejected_slope);
    EXPECT_EQ(loss.chosen_slope, margin < 0 ? -1.0 : margin == 0 ? -0.5 : 0.0);
  }
}

TEST(Preference, ReferenceCountsOnlyWhereItIsNeeded) {
  Rng rng(7);
  const ResponseLogProbability chosen = random_response(rng), rejected = random_response(rng);
  ResponseLogProbability moved = chosen;
  moved.reference_sum += 1;
  for (const PreferenceObjective objective : kPairs) {
    const PreferenceOptions options(objective);
    EXPECT_EQ(pair_loss(options, moved, rejected).loss != pair_loss(options, chosen, rejected).loss,
              needs_reference(objective))
        << name_of(objective);
  }
}

TEST(Preference, GrouperDropsEqualRewardsAndSpansMinusOneToOne) {
  EXPECT_TRUE(grouper_advantages(std::vector<double>{0.1, 0.1, 0.1}).empty());
  EXPECT_TRUE(grouper_advantages(std::vector<double>{0.1}).empty());
  EXPECT_EQ(grouper_advantages(std::vector<double>{1, 3, 2}), (std::vector<double>{-1, 1, 0}));
}

// A pair is a group of two.
TEST(Preference, GrouperOfAPairIsHalfOfSimper) {
  Rng rng(8);
  const ResponseLogProbability chosen = random_response(rng), rejected = random_response(rng);
  const double group = grouper_loss(1, 2, chosen).loss + grouper_loss(-1, 2, rejected).loss;
  EXPECT_NEAR(2 * group, pair_loss(PreferenceOptions(kSimper), chosen, rejected).loss, 1e-15);
}

TEST(Preference, TheZeroPointIsNeverNegative) {
  EXPECT_EQ(kto_zero_point({}), 0);
  EXPECT_EQ(kto_zero_point(std::vector<double>{-3, 1}), 0);
  EXPECT_EQ(kto_zero_point(std::vector<double>{-1, 4}), 1.5);
}

TEST(Preference, AnObjectiveBringsItsDefaults) {
  PreferenceOptions options;
  from_json(options, parse_json(R"({"objective": "simpo", "simpo_gamma": 0.5})", "t"), "t");
  EXPECT_EQ(options.beta, 2);
  EXPECT_EQ(options.simpo_gamma, 0.5);
  from_json(options, parse_json(R"({"objective": "dpo"})", "t"), "t");
  EXPECT_EQ(options.beta, 0.1);
}

}  // namespace
}  // namespace dure
