// The sampler's distribution by counting, its masks, its refusal of bad options.
#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/rng.h"

namespace dure {
namespace {

TEST(Sampler, FrequenciesFollowTheDistribution) {
  const std::vector<float> logits = {0.5f, 2.0f, -1.0f, 1.0f, 0.0f};
  const SamplingOptions options{.temperature = 0.8, .top_p = 0.9};
  Sampler sampler;
  std::map<int32_t, double> expected;
  for (const TokenProbability& t : sampler.distribution(options, logits, {}))
    expected[t.token] = t.probability;
  std::map<int32_t, int> counts;
  Rng rng(3);
  constexpr int kDraws = 20000;
  for (int i = 0; i < kDraws; ++i) ++counts[sampler.sample(options, logits, {}, rng.uniform())];
  for (const auto& [token, count] : counts) {
    const double p = expected[token];
    EXPECT_NEAR(count / double{kDraws}, p, 5 * std::sqrt(p * (1 - p) / kDraws)) << token;
  }
}

TEST(Sampler, MaskAndGreedy) {
  const std::vector<float> logits = {3, 1, 3, 2};
  const uint64_t mask = 0b1010;
  Sampler sampler;
  EXPECT_EQ(greedy_token(logits), 0);
  EXPECT_EQ(greedy_token(logits, {&mask, 1}), 3);
  EXPECT_EQ(sampler.sample({.temperature = 0}, logits, {.allowed = {&mask, 1}}, 0.99), 3);
  for (const double u : {0.0, 0.5, 0.999}) {
    const int32_t token = sampler.sample({}, logits, {.allowed = {&mask, 1}}, u);
    EXPECT_TRUE(token == 1 || token == 3);
  }
  const uint64_t none = 0;
  EXPECT_THROW(greedy_token(logits, {&none, 1}), Error);
}

// Prompt tokens count for the repetition penalty alone, and nothing counts for the next sequence.
TEST(Sampler, PenaltiesCountOneSequence) {
  const std::vector<float> logits = {1.0f, -1.0f, 0.5f, 0.0f};
  const SamplingOptions options{
      .repetition_penalty = 2, .presence_penalty = 0.25, .frequency_penalty = 0.5};
  Sampler sampler;
  const auto expect = [&](std::vector<int32_t> prompt, std::vector<int32_t> generated,
                          const std::vector<double>& wanted) {
    std::map<int32_t, double> got;
    const TokenCounts seen(prompt, generated);
    for (const TokenProbability& t : sampler.distribution(options, logits, {.seen = &seen}))
      got[t.token] = std::log(t.probability);
    for (int32_t i = 0; i < 4; ++i)
      EXPECT_NEAR(got[i] - got[3], wanted[static_cast<size_t>(i)] - wanted[3], 1e-6) << i;
  };
  expect({1}, {0, 0}, {1.0 / 2 - 2 * 0.5 - 0.25, -2, 0.5, 0});
  expect({}, {2}, {1, -1, 0.5 / 2 - 0.5 - 0.25, 0});
  expect({}, {}, {1, -1, 0.5, 0});
}

TEST(Sampler, TopPSortsInStepsLikeAFullSort) {
  Rng rng(5);
  std::vector<float> logits(5000);
  for (float& x : logits) x = static_cast<float>(rng.normal());
  Sampler a, b;
  const auto kept = a.distribution({.top_p = 0.9}, logits, {});
  const auto all = b.distribution({.top_k = 5000}, logits, {});  // A full sort.
  double sum = 0;
  size_t count = 0;
  while (sum < 0.9) sum += all[count++].probability;
  ASSERT_EQ(kept.size(), count);
  for (size_t i = 0; i < count; ++i) EXPECT_EQ(kept[i].token, all[i].token);
}

// Counts that grow and shrink, as with drafts, are those of the history.
TEST(Sampler, CountsFollowTheHistory) {
  Rng rng(9);
  const std::vector<int32_t> prompt = {3, 1, 4, 1, 5};
  TokenCounts counts(prompt, {});
  std::vector<int32_t> generated;
  std::vector<float> logits(8);
  for (float& x : logits) x = static_cast<float>(rng.normal());
  const SamplingOptions options{
      .repetition_penalty = 1.3, .presence_penalty = 0.25, .frequency_penalty = 0.5};
  Sampler a, b;
  for (int i = 0; i < 300; ++i) {
    if (!generated.empty() && rng.below(5) < 2) {
      counts.remove(generated.back());
      generated.pop_back();
    } else {
      generated.push_back(static_cast<int32_t>(rng.below(8)));
      counts.add(generated.back());
    }
    const TokenCounts anew(prompt, generated);
    const auto p = a.distribution(options, logits, {.seen = &counts}),
               q = b.distribution(options, logits, {.seen = &anew});
    ASSERT_EQ(p.size(), q.size());
    for (size_t k = 0; k < p.size(); ++k) ASSERT_EQ(p[k].probability, q[k].probability);
  }
}

TEST(Sampler, ForbiddenTokensWaitUnlessNothingElseIsAllowed) {
  const std::vector<float> logits = {3, 1, 3, 2};
  const std::vector<int32_t> forbidden = {0, 3, 99, -1};
  const uint64_t only_three = 0b1000;
  Sampler sampler;
  EXPECT_EQ(sampler.sample({.temperature = 0}, logits, {.forbidden = forbidden}, 0), 2);
  EXPECT_EQ(sampler.sample({}, logits, {.allowed = {&only_three, 1}, .forbidden = forbidden}, 0.5),
            3);
}

TEST(Sampler, LikeliestTokensAreThoseOfASort) {
  Rng rng(4);
  std::vector<float> logits(500);
  for (float& x : logits) x = static_cast<float>(rng.below(60)) / 8;
  std::vector<int32_t> order(500);
  for (int32_t i = 0; i < 500; ++i) order[static_cast<size_t>(i)] = i;
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
  });
  for (const int64_t count : {0, 1, 20, 500}) {
    std::vector<TokenLogProbability> out = {{-1, -1}};
    add_likeliest(logits, 7.25f, count, out);
    ASSERT_EQ(std::ssize(out), count + 1);
    for (size_t i = 0; i < static_cast<size_t>(count); ++i) {
      EXPECT_EQ(out[i + 1].token, order[i]);
      EXPECT_EQ(out[i + 1].log_probability, logits[static_cast<size_t>(order[i])] - 7.25f);
    }
  }
}

TEST(Sampler, RefusesBadOptions) {
  EXPECT_THROW(check_sampling({.temperature = -1}, 10), Error);
  EXPECT_THROW(check_sampling({.top_p = 0}, 10), Error);
  EXPECT_THROW(check_sampling({.logit_bias = {{10, 1.0}}}, 10), Error);
  for (const double bias : std::initializer_list<double>{INFINITY, NAN, 1e39, -1e39}) {
    try {
      check_sampling({.logit_bias = {{1, bias}}}, 10);
      ADD_FAILURE() << bias;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find("logit_bias of token 1"), std::string::npos);
    }
  }
  check_sampling({.logit_bias = {{1, -INFINITY}, {2, 3.4e38}}}, 10);
}

// What a damaged model says is an error, at any temperature, wherever the bad number stands.
TEST(Sampler, RefusesLogitsThatAreNotFinite) {
  Sampler sampler;
  for (const float bad : {NAN, INFINITY}) {
    for (const size_t place : {0, 17, 99}) {
      std::vector<float> logits(100, 0.5f);
      logits[place] = bad;
      for (const double temperature : {0.0, 1.0})
        EXPECT_THROW(sampler.sample({.temperature = temperature, .top_p = 0.9}, logits, {}, 0.5),
                     Error)
            << bad << " at " << place;
    }
  }
  const std::vector<float> all(100, NAN);
  EXPECT_THROW(sampler.sample({}, all, {}, 0.5), Error);
}

}  // namespace
}  // namespace dure
