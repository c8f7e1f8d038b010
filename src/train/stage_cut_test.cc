// Cuts of layers into stages: the least largest cost, what the table says, and what it may not say.
#include "train/stage_cut.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "formats/config_fixture.h"

namespace dure {
namespace {

ModelConfig model(int64_t layers) {
  ModelConfig c;
  c.vocab_size = 29;
  c.hidden_size = 12;
  c.head_count = 4;
  c.kv_head_count = 2;
  c.head_width = 6;
  set_layers(c, layers, 3,
             {.rope = {.theta = 1e4},
              .dense_width = 40,
              .experts = {.count = 6, .per_token = 2, .width = 7, .shared_count = 1}});
  c.mtp_layer_count = 1;
  return c;
}

int64_t largest_cost(const ModelConfig& c, const std::vector<int64_t>& layers) {
  int64_t largest = 0, at = 0;
  for (size_t s = 0; s < layers.size(); ++s) {
    int64_t cost = s + 1 == layers.size() ? c.vocab_size * c.hidden_size : 0;
    for (int64_t i = 0; i < layers[s]; ++i) cost += layer_cost(c, c.layer(at++));
    largest = std::max(largest, cost);
  }
  return largest;
}

// All ways to cut five layers into three stages.
TEST(StageCut, NoCutHasACheaperCostliestStage) {
  const ModelConfig c = model(5);
  const std::vector<int64_t> chosen = cut_layers(c, 3, false);
  EXPECT_EQ(std::reduce(chosen.begin(), chosen.end()), 5);
  for (int64_t a = 1; a <= 3; ++a) {
    for (int64_t b = 1; a + b <= 4; ++b)
      EXPECT_LE(largest_cost(c, chosen), largest_cost(c, {a, b, 5 - a - b}));
  }
  EXPECT_EQ(cut_layers(c, 5, true), (std::vector<int64_t>{1, 1, 1, 1, 1}));
  EXPECT_EQ(cut_layers(c, 1, true), (std::vector<int64_t>{5}));
}

TEST(StageCut, StagesHoldTheModelOnce) {
  const std::vector<int64_t> layers{2, 1, 3};
  const Holding first = stage_holding({0, 3}, layers), second = stage_holding({1, 3}, layers),
                last = stage_holding({2, 3}, layers);
  EXPECT_EQ(first, (Holding{.layer_begin = 0, .layer_end = 2, .head = false, .mtp = false}));
  EXPECT_EQ(
      second,
      (Holding{.layer_begin = 2, .layer_end = 3, .embedding = false, .head = false, .mtp = false}));
  EXPECT_EQ(last, (Holding{.layer_begin = 3, .layer_end = 6, .embedding = false}));
  EXPECT_TRUE(stage_holding({0, 1}, {}).whole());
}

std::string error_of(const RankOptions& ranks, const ModelConfig& config) {
  try {
    stage_layers(ranks, config, true, "c.yaml");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(StageCut, TheTableIsCheckedAgainstTheModel) {
  EXPECT_EQ(stage_layers({}, model(4), true, "c.yaml"), std::vector<int64_t>{});
  EXPECT_EQ(stage_layers({.pipeline = 2, .layers = {3, 1}}, model(4), true, "c.yaml"),
            (std::vector<int64_t>{3, 1}));
  EXPECT_EQ(error_of({.pipeline = 5}, model(4)),
            "c.yaml: ranks.pipeline is 5, but the model has 4 layers, and a stage at least one: "
            "set it to 4 or less");
  for (const std::vector<int64_t>& layers :
       {std::vector<int64_t>{4}, {2, 1}, {4, 0}, {5, -1}, {1, 1, 2}})
    EXPECT_NE(error_of({.pipeline = 2, .layers = layers}, model(4)).find("ranks.layers has"),
              std::string::npos);
  ModelConfig tied = model(4);
  tied.tied_embeddings = true;
  EXPECT_NE(error_of({.pipeline = 2}, tied).find("tie_word_embeddings"), std::string::npos);
}

}  // namespace
}  // namespace dure
