// The optimiser over a list of tensors: rules by kind, experts apart, threads, clipping; the
// schedule's breakpoints; router load.
#include "train/optimiser.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "base/rng.h"
#include "formats/config_fixture.h"
#include "tensor/fenced_stream.h"
#include "train/router_load.h"
#include "train/schedule.h"

namespace dure {
namespace {

using Values = std::vector<std::vector<float>>;

struct Start {
  const char* name;
  TensorKind kind;
  Shape shape;
};
const std::vector<Start>& starts() {
  static const std::vector<Start> list = {
      {"model.embed_tokens.weight", TensorKind::kEmbedding, {50, 24}},
      {"model.layers.0.self_attn.q_proj.weight", TensorKind::kMatrix, {32, 24}},
      {"model.layers.1.mlp.experts.gate_proj", TensorKind::kExperts, {5, 16, 24}},
      {"model.layers.1.mlp.gate.weight", TensorKind::kRouter, {5, 24}},
      {"model.layers.1.input_layernorm.weight", TensorKind::kNorm, {24}},
      {"model.norm.weight", TensorKind::kNorm, {24}},
      {"lm_head.weight", TensorKind::kHead, {50, 24}},
      {"model.layers.1.mlp.shared_experts.down_proj.weight", TensorKind::kMatrix, {24, 16}}};
  return list;
}

// A handful of tensors of a real model, in the memory of a stream's device.
struct Model {
  Stream& stream;
  std::vector<Buffer> buffers;
  std::vector<TrainedTensor> parameters;

  explicit Model(Stream& on, uint64_t seed = 3) : stream(on) {
    for (size_t i = 0; i < starts().size(); ++i) {
      const auto& [name, kind, shape] = starts()[i];
      Rng rng(seed, i);
      const TensorView weight = allocate(shape), gradient = allocate(shape);
      std::vector<float> w, g;
      for (int64_t j = 0; j < shape.elements(); ++j) {
        w.push_back(static_cast<float>(rng.normal() * 0.02));
        g.push_back(static_cast<float>(rng.normal()));
      }
      put(weight, w);
      put(gradient, g);
      parameters.push_back({name, kind, weight, gradient});
    }
  }
  TensorView allocate(const Shape& shape) {
    buffers.push_back(Buffer::of(DType::kF32, shape, stream.device()));
    return buffers.back().view(DType::kF32, shape);
  }
  void put(TensorView view, const std::vector<float>& values) {
    stream.upload(values.data(), view.data, values.size() * sizeof(float));
  }
  std::vector<float> get(ConstTensorView view) const {
    std::vector<float> values(static_cast<size_t>(view.elements()));
    stream.download(view.data, values.data(), values.size() * sizeof(float));
    return values;
  }
  Values weights() const {
    Values all;
    for (const TrainedTensor& p : parameters) all.push_back(get(p.weight));
    return all;
  }
  Values gradients() const {
    Values all;
    for (const TrainedTensor& p : parameters) all.push_back(get(p.gradient));
    return all;
  }
};

// What docs/training.md says of each tensor, told from its name.
bool muon_by_name(std::string_view name, const Shape& shape) {
  for (const char* end :
       {"embed_tokens.weight", "lm_head.weight", "mlp.gate.weight", "norm.weight", "bias"}) {
    if (name.ends_with(end)) return false;
  }
  return shape.rank() >= 2;
}

TEST(Optimiser, RuleFollowsTheKind) {
  const ModelConfig config = k_exaone_236b();
  OptimiserOptions muon, adamw;
  adamw.kind = OptimiserKind::kAdamW;
  int64_t matrices = 0;
  for (const ImpliedTensor& t : implied_stacks(config)) {
    const bool want = muon_by_name(t.name, t.shape);
    EXPECT_EQ(update_rule(muon, t.kind) == UpdateRule::kMuon, want) << t.name;
    EXPECT_EQ(update_rule(adamw, t.kind), UpdateRule::kAdamW) << t.name;
    matrices += want;
  }
  EXPECT_GT(matrices, 0);
  EXPECT_EQ(update_rule(muon, TensorKind::kAdapter), UpdateRule::kAdamW);
}

TEST(Optimiser, ThreadsAndDevicesDoNotChangeABit) {
  const auto trained = [](Stream& stream) {
    Model model(stream);
    Optimiser optimiser({}, model.parameters, stream);
    for (int step = 0; step < 3; ++step)
      optimiser.step(0.01, optimiser.clip_factor(optimiser.gradient_norm()));
    return model.weights();
  };
  CpuStream one(1), two(2), five(5);
  FencedStream fenced(2);  // A touch of a tensor's memory outside the kernels ends the test.
  const Values want = trained(one);
  EXPECT_EQ(trained(two), want);
  EXPECT_EQ(trained(five), want);
  EXPECT_EQ(trained(fenced), want);
}

TEST(Optimiser, EachExpertIsAMatrixOfItsOwn) {
  CpuStream stream(2);
  Model model(stream), alone(stream);
  const TrainedTensor& experts = model.parameters[2];
  Optimiser optimiser({}, {experts}, stream);
  optimiser.step(0.01, 1);
  for (int64_t e = 0; e < 5; ++e) {
    TrainedTensor one = alone.parameters[2];
    one.kind = TensorKind::kMatrix;
    one.weight = one.weight.slice(e);
    one.gradient = one.gradient.slice(e);
    Optimiser({}, {one}, stream).step(0.01, 1);
  }
  EXPECT_EQ(alone.weights(), model.weights());
}

TEST(Optimiser, NormsAreNotDecayedAndStateIsNamed) {
  CpuStream stream(1);
  Model model(stream);
  for (const TrainedTensor& p : model.parameters)
    model.put(p.gradient, std::vector<float>(static_cast<size_t>(p.gradient.elements())));
  const Values before = model.weights();
  Optimiser optimiser({}, model.parameters, stream);
  optimiser.step(0.5, 1);
  const Values after = model.weights();
  EXPECT_EQ(after[5], before[5]);
  for (const size_t decayed : {0, 1, 2, 3, 6, 7})
    EXPECT_FLOAT_EQ(after[decayed][3], before[decayed][3] * 0.95f) << decayed;
  EXPECT_EQ(optimiser.state().size(), 5u * 2 + 3);
  EXPECT_EQ(optimiser.state()[0].name, "first_moment.model.embed_tokens.weight");
  EXPECT_EQ(optimiser.state()[1].name, "second_moment.model.embed_tokens.weight");
  EXPECT_EQ(optimiser.state()[2].name, "momentum.model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(optimiser.state()[2].view.shape, (Shape{32, 24}));
}

TEST(Optimiser, ClipsToTheGlobalNorm) {
  CpuStream stream(2);
  Model model(stream);
  double squares = 0;
  for (const auto& gradient : model.gradients()) {
    for (const float g : gradient) squares += static_cast<double>(g) * g;
  }
  Optimiser optimiser({}, model.parameters, stream);
  const double norm = optimiser.gradient_norm();
  EXPECT_NEAR(norm, std::sqrt(squares), 1e-12 * norm);
  EXPECT_DOUBLE_EQ(optimiser.clip_factor(norm), 1 / (norm + 1e-6));
  EXPECT_EQ(optimiser.clip_factor(0.5), 1);
  std::vector<float> broken = model.get(model.parameters[6].gradient);
  broken[5] = std::numeric_limits<float>::infinity();
  model.put(model.parameters[6].gradient, broken);
  EXPECT_TRUE(std::isinf(optimiser.gradient_norm()));
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
}

// A recipe of thousands of steps, tried for ten.
TEST(Schedule, IsShortenedToAShortTrial) {
  for (const int64_t warmup : {11, 100, 4000}) {
    const WsdSchedule s = make_schedule({.warmup_steps = warmup}, 1, 10);
    EXPECT_EQ(s.warmup_steps, 4);
    EXPECT_EQ(s.stable_steps, 4);
    EXPECT_EQ(s.decay_steps, 2);
  }
  const WsdSchedule both = make_schedule({.warmup_steps = 60, .decay_steps = 40}, 1, 10);
  EXPECT_EQ(both.warmup_steps, 6);
  EXPECT_EQ(both.decay_steps, 4);
  EXPECT_EQ(make_schedule({.warmup_steps = 0, .decay_steps = 40}, 1, 10).decay_steps, 10);
  const WsdSchedule one = make_schedule({.warmup_steps = 100}, 1, 1);
  EXPECT_EQ(one.warmup_steps, 0);
  EXPECT_EQ(one.rate(0), 1);
  // What fits is left alone.
  EXPECT_EQ(make_schedule({.warmup_steps = 10}, 1, 10).warmup_steps, 10);
  EXPECT_THROW(enum_from_name<DecayShape>("cubic", "decay"), Error);
}

TEST(RouterLoad, IsZeroInBalanceAndWithoutTokens) {
  EXPECT_EQ(router_load(std::vector<int64_t>{4, 4, 4}).cv, 0);
  EXPECT_EQ(router_load(std::vector<int64_t>{0, 0}).cv, 0);
}

}  // namespace
}  // namespace dure
