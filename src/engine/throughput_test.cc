// Counts against counts by hand; the timed part of a test is the forwards that its name says.
#include "engine/throughput.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "engine/engine_fixture.h"

namespace dure {
namespace {

using namespace testing_engine;

Throughput measure(Model& model, const ThroughputTest& test, const ThroughputOptions& options) {
  return measure_throughput(model.weights, test, options, model.stream, [](int64_t) {});
}

// D 48, Q 4, G 2, H 16, F 64, E 8, K 3, I 24, V 97; windows of 5, the fourth layer global.
constexpr double kAttention = 48 * 64 + 2 * 48 * 32 + 64 * 48, kDense = 3 * 48 * 64,
                 kExpert = 3 * 48 * 24, kRouter = 8 * 48, kHead = 97 * 48;

TEST(Work, CountsWhatOneTokenMeets) {
  const Model model;
  const Work one = forward_work(model.weights, {.first_position = 20, .head_rows = 1});
  const double matrices = 4 * kAttention + kDense + 3 * (kRouter + 4 * kExpert) + kHead;
  EXPECT_DOUBLE_EQ(one.operations, 2 * matrices);
  const double vectors = 4 * (2 * 48 + 2 * 16) + 48 + 3 * 8;
  EXPECT_DOUBLE_EQ(one.weight_bytes, 4 * (matrices + vectors + 48));
  EXPECT_DOUBLE_EQ(one.kv_bytes, 2 * 4 * 32 * (3 * 5 + 21));
}

TEST(Work, ExpertsOfManyRowsAreTheExpectedDistinctOnes) {
  const Model model;
  const Work one = forward_work(model.weights, {.head_rows = 1}),
             five = forward_work(model.weights, {.rows_each = 5, .head_rows = 1}),
             apart = forward_work(model.weights, {.sequence_count = 5, .head_rows = 1});
  const double touched = 8 * (1 - std::pow(1 - 3.0 / 8, 5));
  EXPECT_NEAR(five.weight_bytes - one.weight_bytes, 4 * (3 * kExpert * (touched - 3) + 4 * 48),
              1e-6);
  EXPECT_DOUBLE_EQ(apart.weight_bytes, five.weight_bytes);
  EXPECT_DOUBLE_EQ(five.operations - 2 * kHead, 5 * (one.operations - 2 * kHead));
  EXPECT_DOUBLE_EQ(apart.kv_bytes, 5 * one.kv_bytes);
}

TEST(Work, TheHeadIsReadOnceAndOnlyForLogits) {
  const Model model;
  const Work none = forward_work(model.weights, {.rows_each = 4}),
             two = forward_work(model.weights, {.rows_each = 4, .head_rows = 2});
  EXPECT_DOUBLE_EQ(two.weight_bytes - none.weight_bytes, 4 * kHead);
  EXPECT_DOUBLE_EQ(two.operations - none.operations, 2 * 2 * kHead);
  ModelConfig config = tiny_config();
  config.tied_embeddings = true;
  const Model tied(config);
  const Work with = forward_work(tied.weights, {.rows_each = 4, .head_rows = 2});
  EXPECT_DOUBLE_EQ(with.operations, two.operations);
  EXPECT_DOUBLE_EQ(with.weight_bytes, two.weight_bytes);
}

TEST(Throughput, SamplesAreOfTheRepetitions) {
  Model model;
  for (const ThroughputTest& test : {ThroughputTest{.prompt_tokens = 20},
                                     {.prompt_tokens = 7, .depth_tokens = 16},
                                     {.new_tokens = 5},
                                     {.new_tokens = 5, .sequence_count = 6},
                                     {.new_tokens = 3, .depth_tokens = 21},
                                     {.new_tokens = 4, .depth_tokens = 50, .sequence_count = 7}}) {
    SCOPED_TRACE(test.name());
    int64_t last = 0;
    const ThroughputOptions options{.repetitions = 3, .batch_rows = 8};
    const Throughput out =
        measure_throughput(model.weights, test, options, model.stream, [&](int64_t done) {
          EXPECT_GT(done, last);
          last = done;
        });
    EXPECT_EQ(out.samples_ns.size(), 3u);
    EXPECT_GT(out.mean_ts, 0);
    EXPECT_GT(out.work.operations, 0);
    EXPECT_GE(last, test.tokens() * 4);
  }
}

TEST(Throughput, WorkOfATestIsTheSumOfItsForwards) {
  Model model;
  const ThroughputOptions options{.repetitions = 1, .batch_rows = 8};
  Work prompt = forward_work(model.weights, {.rows_each = 8, .first_position = 16});
  prompt.add(forward_work(model.weights, {.rows_each = 3, .first_position = 24, .head_rows = 1}));
  const Work told = measure(model, {.prompt_tokens = 11, .depth_tokens = 16}, options).work;
  EXPECT_DOUBLE_EQ(told.weight_bytes, prompt.weight_bytes);
  EXPECT_DOUBLE_EQ(told.kv_bytes, prompt.kv_bytes);
  EXPECT_DOUBLE_EQ(told.operations, prompt.operations);
}

TEST(Throughput, RefusesWhatCannotBeMeasured) {
  const ModelConfig config = tiny_config();
  const ThroughputOptions options{.batch_rows = 8};
  EXPECT_NO_THROW(check_test(config, {.prompt_tokens = 5, .depth_tokens = 8}, options));
  EXPECT_NO_THROW(check_test(config, {.new_tokens = 5, .depth_tokens = 9}, options));
  EXPECT_THROW(check_test(config, {.prompt_tokens = 5, .depth_tokens = 9}, options), Error);
  EXPECT_THROW(check_test(config, {.new_tokens = 5, .sequence_count = 9}, options), Error);
  EXPECT_THROW(check_test(config, {.new_tokens = 2049}, options), Error);
  EXPECT_EQ(ThroughputTest({.prompt_tokens = 5, .depth_tokens = 8}).name(), "pp5 @ d8");
  EXPECT_EQ(ThroughputTest({.new_tokens = 5, .sequence_count = 2}).name(), "tg5 x2");
}

}  // namespace
}  // namespace dure
