// Parts of the reward, on answers made by hand.
#include "rl/reward.h"

#include <gtest/gtest.h>

namespace dure {
namespace {

const std::string kKorean = "이 마을 사람들은 모두 함께 일하고, 저녁이면 강가에 모여 쉰다.";
const std::string kEnglish = "The people of this village work together and rest by the river.";

double language_part(const std::string& content, const std::string& language) {
  RewardOptions options;
  options.language = 0.5;
  const Reward reward = reward_of(options, {.score = 1,
                                            .finished = true,
                                            .reasoning_closed = true,
                                            .tokens = 10,
                                            .tokens_max = 100,
                                            .content = content,
                                            .language = language});
  const double part = reward.parts.at("language").as_double();
  EXPECT_DOUBLE_EQ(reward.value, 1 + 0.5 * part);
  return part;
}

TEST(Reward, LanguageIsThatOfTheAnswer) {
  EXPECT_EQ(language_part(kKorean, "ko"), 1);
  EXPECT_EQ(language_part(kEnglish, "ko"), 0);
  EXPECT_EQ(language_part(kEnglish, "en"), 1);
  EXPECT_EQ(language_part(kKorean, "en"), 0);
  EXPECT_EQ(language_part("12345", "ko"), 1) << "numbers are of every language";
  EXPECT_EQ(language_part(kKorean, ""), 1) << "nobody says which";
  EXPECT_EQ(language_part(kKorean, "ko-KR"), 1);
}

TEST(Reward, PartsWithoutWeightAreNotThere) {
  const std::string none;
  EXPECT_TRUE(reward_of({}, {.score = 1, .content = kEnglish, .language = none}).parts.is_null());
}

TEST(Reward, OverlongFallsFromZeroToMinusOne) {
  EXPECT_EQ(overlong_penalty(80, 100, 20), 0);
  EXPECT_EQ(overlong_penalty(85, 100, 20), -0.25);
  EXPECT_EQ(overlong_penalty(100, 100, 20), -1);
  EXPECT_EQ(overlong_penalty(80, 100, 0), 0) << "a fifth";
  EXPECT_EQ(overlong_penalty(90, 100, 0), -0.5);
}

}  // namespace
}  // namespace dure
