// What is said of steps that taught nothing, by what their answers have in common.
#include "rl/quiet_steps.h"

#include <gtest/gtest.h>

namespace dure {
namespace {

std::string why(const std::vector<Rollout>& rollouts) {
  QuietSteps quiet;
  quiet.add(rollouts);
  return quiet.why();
}

bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(QuietSteps, NameWhatAllAnswersHaveInCommon) {
  std::vector<Rollout> rollouts(4);
  EXPECT_TRUE(says(why(rollouts), "make the tasks easier or harder"));
  for (Rollout& r : rollouts) r.grade.failure = "bad_reward";
  rollouts[1].grade.failure = "timeout";
  const std::string failed = why(rollouts);
  EXPECT_TRUE(says(failed, "the verifier graded none of 4 answers (3 bad_reward, 1 timeout)"))
      << failed;
  EXPECT_FALSE(says(failed, "easier")) << failed;
  rollouts[0].grade.failure = "";
  EXPECT_TRUE(says(why(rollouts), "(3 of 4 answers could not be graded")) << why(rollouts);
}

TEST(QuietSteps, NameTheLimitThatEndsAllEpisodes) {
  std::vector<Rollout> rollouts(3);
  for (Rollout& r : rollouts) r.episode = PlayedEpisode{.too_long = true};
  EXPECT_TRUE(says(why(rollouts), "raise environment.max_tokens")) << why(rollouts);
  rollouts[0].episode = PlayedEpisode{.end = EpisodeEnd::kTokens};
  EXPECT_TRUE(says(why(rollouts), "raise environment.max_tokens")) << why(rollouts);
  for (Rollout& r : rollouts) {
    r.episode.reset();
    r.generation.finish = FinishReason::kLength;
  }
  EXPECT_TRUE(says(why(rollouts), "raise rollout.new_tokens_max")) << why(rollouts);
}

}  // namespace
}  // namespace dure
