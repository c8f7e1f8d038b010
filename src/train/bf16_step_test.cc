// The gradient of a whole step with products in BF16, against one in double.
#include <gtest/gtest.h>

#include "base/rng.h"
#include "kernels/isa.h"
#include "tensor/cpu_stream.h"
#include "train/reference_fixture.h"

namespace dure {
namespace {

using Gradient = std::map<std::string, ref::Row>;

struct Step {
  std::vector<int32_t> ids, targets;
  std::vector<int64_t> lengths = {9, 7, 5};
  Step() {
    Rng rng(11);
    for (const int64_t length : lengths) {
      for (int64_t t = 0; t < length; ++t)
        ids.push_back(static_cast<int32_t>(rng.below(kSmallVocabulary)));
      for (int64_t t = length; t > 1; --t) targets.push_back(*(ids.end() - t + 1));
      targets.push_back(kIgnore);
    }
  }
  ref::RefInput reference() const {
    ref::RefInput input{.ids = ids, .targets = targets, .document_lengths = lengths};
    for (int32_t& target : input.targets) target = target == kIgnore ? -100 : target;
    input.mtp_coefficient = 0.3;
    return input;
  }
};

// Wider than a block, so that sums have several.
ModelConfig wide_model() {
  ModelConfig c = small_model();
  c.hidden_size = 40;
  c.initializer_range = 0.15;
  return c;
}

struct Lent {
  CpuStream stream;
  Learner learner;
  explicit Lent(Arithmetic arithmetic, int threads = 2)
      : stream(threads),
        learner(wide_model(),
                {.optimiser = small_optimiser(OptimiserKind::kAdamW, 0.01, 0),
                 .pass = {.rows_max = 21, .mtp = true},
                 .arithmetic = arithmetic},
                stream) {
    learner.parameters().initialise(5, stream);
    learner.parameters_changed();
  }
  // Moments after one step of AdamW from zero are (1 - beta1) times the gradient.
  Gradient gradient(const Step& step) {
    learner.accumulate({.ids = step.ids, .targets = step.targets, .document_lengths = step.lengths},
                       {.mtp_coefficient = 0.3});
    counts.assign(learner.expert_counts().begin(), learner.expert_counts().end());
    learner.update(0.01, "test");
    Gradient out;
    for (const NamedTensor& moment : learner.optimiser().state()) {
      const std::string first = "first_moment.";
      if (!moment.name.starts_with(first)) continue;
      ref::Row& row = out[moment.name.substr(first.size())];
      const float* values = moment.view.f32();
      for (int64_t i = 0; i < moment.view.elements(); ++i) row.push_back(values[i] / (1 - 0.8f));
    }
    return out;
  }
  std::vector<int64_t> counts;
};

double norm(const Gradient& g) {
  double sum = 0;
  for (const auto& [name, row] : g)
    for (const double v : row) sum += v * v;
  return std::sqrt(sum);
}
Gradient minus(Gradient a, const Gradient& b) {
  for (auto& [name, row] : a)
    for (size_t i = 0; i < row.size(); ++i) row[i] -= b.at(name)[i];
  return a;
}

// By central differences along random directions is not enough for every matrix: element by
// element, of `count` elements a tensor.
Gradient in_double(const ref::WeightTable& weights, const Step& step, const Gradient& wanted,
                   size_t count) {
  const ref::RefInput input = step.reference();
  ref::WeightTable table = weights;
  Gradient out;
  for (const auto& [name, row] : wanted) {
    ref::Row& values = table.at(name);
    for (size_t n = 0; n < std::min(count, row.size()); ++n) {
      double& value = values[n * row.size() / std::min(count, row.size())];
      const double before = value;
      value = before + 1e-5;
      const double above = ref::run_model(wide_model(), table, input).objective;
      value = before - 1e-5;
      out[name].push_back((above - ref::run_model(wide_model(), table, input).objective) / 2e-5);
      value = before;
    }
  }
  return out;
}

Gradient sampled(const Gradient& g, size_t count) {
  Gradient out;
  for (const auto& [name, row] : g) {
    const size_t taken = std::min(count, row.size());
    for (size_t n = 0; n < taken; ++n) out[name].push_back(row[n * row.size() / taken]);
  }
  return out;
}

// The tolerance: rounding a factor to 8 bits moves it by at most 2^-9 of itself. What the weights'
// rounding does to the gradient is measured: E, the difference between the exact gradients at the
// rounded weights and at the given ones. Rounding the activations of the forward pass and the
// gradients of the backward pass disturbs every product as much as rounding its weights does, so
// the three together stay below 3 E; and both factors of a weight's gradient are rounded once
// more: 2 x 2^-9 of it.
TEST(Bf16Step, GradientIsWithinTheRoundingOfItsFactors) {
  const Step step;
  Lent exact(Arithmetic::kExact), bf16(Arithmetic::kBf16), rounded(Arithmetic::kExact);
  const ref::WeightTable weights = table_of(exact.learner);
  for (const Parameter& p : rounded.learner.parameters().list()) {
    if (!is_multiplied(p, wide_model())) continue;
    for (int64_t i = 0; i < p.view.elements(); ++i)
      p.view.f32()[i] = bf16_to_f32(f32_to_bf16(p.view.f32()[i]));
  }
  const Gradient g = exact.gradient(step), got = bf16.gradient(step);
  ASSERT_EQ(exact.counts, bf16.counts) << "a router's choice changed: take another seed";
  const double size = norm(g), weights_error = norm(minus(rounded.gradient(step), g));
  const double error = norm(minus(got, g)), tolerance = 3 * weights_error + 0x1p-8 * size;
  std::printf("  gradient %.3g, rounded weights move it by %.2g, bf16 by %.2g of %.2g\n", size,
              weights_error, error, tolerance);
  EXPECT_LE(error, tolerance);
  EXPECT_GT(error, 0);
  // The truth, at some elements of every tensor.
  const size_t count = 6;
  const Gradient truth = in_double(weights, step, g, count);
  EXPECT_LE(norm(minus(sampled(got, count), truth)), tolerance);
  EXPECT_LE(norm(minus(sampled(g, count), truth)), 1e-4 * size);
}

TEST(Bf16Step, NeitherThreadsNorInstructionSetsChangeABit) {
  const Step step;
  const Isa before = isa();
  std::vector<Gradient> all;
  for (const Isa now : kIsas) {
    if (!isa_available(now)) continue;
    set_isa(now);
    for (const int threads : {1, 3}) {
      Lent lent(Arithmetic::kBf16, threads);
      all.push_back(lent.gradient(step));
      EXPECT_TRUE(all.back() == all.front()) << isa_name(now) << ", " << threads << " threads";
    }
  }
  set_isa(before);
}

// Two micro-batches of a step read the same copies, and every update makes new ones.
TEST(Bf16Step, CopiesFollowTheMasters) {
  Lent lent(Arithmetic::kBf16);
  const auto expect_rounded = [&] {
    const WeightView& q = lent.learner.weights().layers[0].q;
    ASSERT_EQ(q.dtype(), DType::kBF16);
    ASSERT_EQ(q.arithmetic, Arithmetic::kBf16);
    const Parameter& master =
        lent.learner.parameters().at("model.layers.0.self_attn.q_proj.weight");
    for (int64_t i = 0; i < q.data.elements(); ++i)
      ASSERT_EQ(q.data.bf16()[i], f32_to_bf16(master.view.f32()[i])) << i;
    EXPECT_EQ(lent.learner.weights().layers[1].router.dtype(), DType::kF32);
    EXPECT_EQ(lent.learner.weights().embedding.dtype(), DType::kF32);
    EXPECT_EQ(lent.learner.weights().head.dtype(), DType::kBF16);
  };
  expect_rounded();
  lent.gradient(Step());
  expect_rounded();
}

}  // namespace
}  // namespace dure
