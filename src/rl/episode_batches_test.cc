// Episodes as rows of a batch: what the environment said has no target, and takes no part.
#include <gtest/gtest.h>

#include "rl/response_batches.h"

namespace dure {
namespace {

Rollout episode() {
  Rollout r;
  r.prompt = {1, 2, 3};
  r.generation.tokens = {10, 11, 50, 51, 52, 12};
  r.generation.log_probabilities = {-1, -2, 0, 0, 0, -3};
  r.episode = PlayedEpisode{.answers = {{.begin = 0, .count = 2}, {.begin = 5, .count = 1}}};
  return r;
}

TEST(EpisodeBatches, OnlyTheModelsOwnTokensAreTargets) {
  const std::vector<Rollout> all = {episode(), episode()};
  ResponseWeights weights;
  weights.scales = {1, 1};
  const auto batches = response_batches(all, weights, {0, 2}, 100);
  ASSERT_EQ(batches.size(), 1u);
  const std::vector<int32_t> one = {kIgnore, kIgnore, 10, 11,     kIgnore,
                                    kIgnore, kIgnore, 12, kIgnore};
  std::vector<int32_t> both = one;
  both.insert(both.end(), one.begin(), one.end());
  EXPECT_EQ(batches[0].targets, both);
  EXPECT_EQ(batches[0].lengths, (std::vector<int64_t>{9, 9}));
  EXPECT_EQ(batches[0].answer_rows, (std::vector<int64_t>{2, 11}));
  EXPECT_EQ(answer_length(all[0]), 3);
}

TEST(EpisodeBatches, GatherAndScatterAnswers) {
  const Rollout r = episode();
  EXPECT_EQ(of_answers(r, r.generation.log_probabilities), (std::vector<float>{-1, -2, -3}));
  std::vector<float> rows(6, 9.0f);
  to_answers(r, std::vector<float>{1, 2, 3}, rows);
  EXPECT_EQ(rows, (std::vector<float>{1, 2, 9, 9, 9, 3}));
  Rollout plain;
  plain.generation.tokens = {4, 5};
  EXPECT_EQ(of_answers(plain, std::vector<float>{1, 2}), (std::vector<float>{1, 2}));
}

}  // namespace
}  // namespace dure
