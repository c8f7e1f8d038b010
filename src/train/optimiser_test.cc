// The optimiser over a list of tensors: rules by name, experts apart, threads, clipping; the
// schedule's breakpoints; router load.
#include "train/optimiser.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kernels/optimiser.h"
#include "tensor/cpu_stream.h"
#include "train/router_bias.h"
#include "train/schedule.h"

namespace dure {
namespace {

struct Model {  // A handful of tensors with the names of a real model.
  std::vector<std::vector<float>> weights, gradients;
  std::vector<TrainedTensor> parameters;
  explicit Model(uint64_t seed = 3) {
    const std::vector<std::pair<std::string, Shape>> kTensors = {
        {"model.embed_tokens.weight", {50, 24}},
        {"model.layers.0.self_attn.q_proj.weight", {32, 24}},
        {"model.layers.1.mlp.experts.gate_proj", {5, 16, 24}},
        {"model.layers.1.mlp.gate.weight", {5, 24}},
        {"model.layers.1.input_layernorm.weight", {24}},
        {"model.norm.weight", {24}},
        {"lm_head.weight", {50, 24}},
        {"model.layers.1.mlp.shared_experts.down_proj.weight", {24, 16}}};
    weights.reserve(kTensors.size());
    gradients.reserve(kTensors.size());
    for (const auto& [name, shape] : kTensors) {
      Rng rng(seed, weights.size());
      weights.emplace_back();
      gradients.emplace_back();
      for (int64_t i = 0; i < shape.elements(); ++i) {
        weights.back().push_back(static_cast<float>(rng.normal() * 0.02));
        gradients.back().push_back(static_cast<float>(rng.normal()));
      }
      parameters.push_back({name, host_view(weights.back().data(), shape),
                            host_view(gradients.back().data(), shape)});
    }
  }
};

TEST(Optimiser, RuleFollowsTheName) {
  const Model model;
  OptimiserOptions options;
  std::vector<UpdateRule> rules;
  for (const TrainedTensor& p : model.parameters)
    rules.push_back(update_rule(options, p.name, p.weight.shape));
  const auto kA = UpdateRule::kAdamW, kM = UpdateRule::kMuon;
  EXPECT_EQ(rules, (std::vector<UpdateRule>{kA, kM, kM, kA, kA, kA, kA, kM}));
  options.kind = OptimiserKind::kAdamW;
  EXPECT_EQ(update_rule(options, "model.layers.0.self_attn.q_proj.weight", {32, 24}), kA);
}

TEST(Optimiser, ThreadsDoNotChangeABit) {
  std::vector<std::vector<std::vector<float>>> results;
  for (const int threads : {1, 2, 5}) {
    CpuStream stream(threads);
    Model model;
    Optimiser optimiser({}, model.parameters, stream);
    for (int step = 0; step < 3; ++step)
      optimiser.step(0.01, optimiser.clip_factor(optimiser.gradient_norm()));
    results.push_back(model.weights);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST(Optimiser, EachExpertIsAMatrixOfItsOwn) {
  CpuStream stream(2);
  Model model;
  const TrainedTensor& experts = model.parameters[2];
  std::vector<float> alone(model.weights[2]);
  Optimiser optimiser({}, {experts}, stream);
  optimiser.step(0.01, 1);
  for (int64_t e = 0; e < 5; ++e) {
    std::vector<float> momentum(16 * 24), scratch(static_cast<size_t>(muon_scratch_floats(16, 24)));
    muon_update(&alone[static_cast<size_t>(e * 16 * 24)],
                &model.gradients[2][static_cast<size_t>(e * 16 * 24)], momentum.data(), 16, 24,
                {.learning_rate = 0.01, .weight_decay = 0.1}, scratch, stream.threads());
  }
  EXPECT_EQ(alone, model.weights[2]);
}

TEST(Optimiser, NormsAreNotDecayedAndStateIsNamed) {
  CpuStream stream(1);
  Model model;
  for (auto& gradient : model.gradients) std::fill(gradient.begin(), gradient.end(), 0.0f);
  const auto before = model.weights;
  Optimiser optimiser({}, model.parameters, stream);
  optimiser.step(0.5, 1);
  EXPECT_EQ(model.weights[5], before[5]);
  EXPECT_FLOAT_EQ(model.weights[0][3], before[0][3] * 0.95f);
  EXPECT_FLOAT_EQ(model.weights[1][3], before[1][3] * 0.95f);
  EXPECT_EQ(optimiser.state().size(), 5u * 2 + 3);
  EXPECT_EQ(optimiser.state()[2].name, "momentum.model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(optimiser.state()[2].view.shape, (Shape{32, 24}));
}

TEST(Optimiser, ClipsToTheGlobalNorm) {
  CpuStream stream(2);
  Model model;
  double squares = 0;
  for (const auto& gradient : model.gradients) {
    for (const float g : gradient) squares += static_cast<double>(g) * g;
  }
  Optimiser optimiser({}, model.parameters, stream);
  const double norm = optimiser.gradient_norm();
  EXPECT_NEAR(norm, std::sqrt(squares), 1e-12 * norm);
  EXPECT_DOUBLE_EQ(optimiser.clip_factor(norm), 1 / (norm + 1e-6));
  EXPECT_EQ(optimiser.clip_factor(0.5), 1);
  model.gradients[6][5] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isinf(optimiser.gradient_norm()));
}

TEST(TreeSum, FoldsPairsInOrder) {
  std::vector<double> values = {1e16, 1, -1e16, 1, 1};
  EXPECT_EQ(tree_sum(values), ((1e16 + 1) + (-1e16 + 1)) + 1);
  std::vector<double> none;
  EXPECT_EQ(tree_sum(none), 0);
}

TEST(Schedule, Breakpoints) {
  const WsdSchedule s = make_schedule({.warmup_steps = 10,
                                       .decay_fraction = 0.2,
                                       .final_fraction = 0.1,
                                       .decay = DecayShape::kMinusSqrt},
                                      2.0, 100);
  EXPECT_EQ(s.stable_steps, 70);
  EXPECT_DOUBLE_EQ(s.rate(0), 0.2);
  EXPECT_EQ(s.rate(9), 2.0);
  EXPECT_EQ(s.rate(79), 2.0);
  EXPECT_LT(s.rate(80), 2.0);
  EXPECT_DOUBLE_EQ(s.rate(99), 0.2);
  EXPECT_DOUBLE_EQ(s.rate(1000), 0.2);
  for (const DecayShape shape : {DecayShape::kLinear, DecayShape::kCosine, DecayShape::kExponential,
                                 DecayShape::kMinusSqrt}) {
    EXPECT_EQ(decay_factor(shape, 0), 1);
    EXPECT_NEAR(decay_factor(shape, 1), 0, 1e-15);
    for (double r = 0.1; r < 1; r += 0.1)
      EXPECT_LT(decay_factor(shape, r), decay_factor(shape, r - 0.1));
  }
  EXPECT_NEAR(decay_factor(DecayShape::kExponential, 0.5), 2 * std::sqrt(0.5) - 1, 1e-15);
}

TEST(Schedule, ShortRunsShortenTheirDecayAndImpossibleOnesAreRefused) {
  EXPECT_EQ(make_schedule({.warmup_steps = 9, .decay_fraction = 0.5}, 1, 10).decay_steps, 1);
  EXPECT_THROW(make_schedule({.warmup_steps = 11}, 1, 10), Error);
  EXPECT_THROW(make_schedule({.warmup_steps = 5, .decay_steps = 6}, 1, 10), Error);
  EXPECT_THROW(enum_from_name<DecayShape>("cubic", "decay"), Error);
}

TEST(RouterLoad, IsZeroInBalanceAndWithoutTokens) {
  EXPECT_EQ(router_load(std::vector<int64_t>{4, 4, 4}).cv, 0);
  EXPECT_EQ(router_load(std::vector<int64_t>{0, 0}).cv, 0);
}

}  // namespace
}  // namespace dure
