// The arithmetic of gains, and a measurement on a tiny model.
#include "engine/verify_cost.h"

#include "base/error.h"
#include "engine/engine_fixture.h"

namespace dure {
namespace {

TEST(VerifyCost, GainsFollowFromTheRatio) {
  const VerifyCost two{.rows = 2, .ratio = 1.25}, four{.rows = 4, .ratio = 1.5};
  EXPECT_DOUBLE_EQ(two.gain(0.5), 1.2);
  EXPECT_DOUBLE_EQ(four.gain(0.5), 1.25);
  EXPECT_DOUBLE_EQ(four.gain(1), 4 / 1.5);
  EXPECT_NEAR(two.break_even(), 0.25, 1e-9);
  EXPECT_NEAR(four.gain(four.break_even()), 1, 1e-9);
  EXPECT_EQ((VerifyCost{.rows = 2, .ratio = 2.1}).break_even(), 1);
}

TEST(VerifyCost, MeasuresEveryNumberOfRows) {
  testing_engine::Model model;
  const VerifyCostOptions options{.rows = {2, 5}, .depth_tokens = 300, .repetitions = 3};
  int64_t made = 0;
  const auto got = measure_verify_cost(model.weights, options, model.stream,
                                       [&](int64_t passes) { made = passes; });
  EXPECT_EQ(made, verify_cost_passes(options));
  ASSERT_EQ(got.size(), 3u);
  EXPECT_EQ(got[0].rows, 1);
  EXPECT_EQ(got[0].ratio, 1);
  EXPECT_EQ(got[2].rows, 5);
  for (const VerifyCost& cost : got) EXPECT_GT(cost.median_ns, 0);
  EXPECT_GT(got[1].byte_ratio, 1);
  EXPECT_GT(got[2].byte_ratio, got[1].byte_ratio);
  VerifyCostOptions far = options;
  far.depth_tokens = model.config.context_tokens;
  EXPECT_THROW(measure_verify_cost(model.weights, far, model.stream, [](int64_t) {}), Error);
}

}  // namespace
}  // namespace dure
