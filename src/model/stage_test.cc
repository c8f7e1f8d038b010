// A pass in stages, rows and gradients handed from one to the next, against the whole pass: the
// same bits of losses, counts and gradients, also with passes in flight.
#include <gtest/gtest.h>

#include <array>
#include <optional>

#include "model/model_fixture.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

using namespace testing_model;

std::vector<float> copy(TensorView view) { return {view.f32(), view.f32() + view.elements()}; }
void fill(TensorView view, const std::vector<float>& values) {
  ASSERT_EQ(view.elements(), std::ssize(values));
  std::ranges::copy(values, view.f32());
}

struct Outcome {
  double loss = 0, mtp_loss = 0, balance = 0;
  std::vector<int64_t> counts;
  std::vector<float> gradients;

  void add(const LossResult& r) {
    loss += r.loss_sum;
    mtp_loss += r.mtp_loss_sum;
    counts.resize(r.expert_counts.size());
    for (size_t i = 0; i < counts.size(); ++i) counts[i] += r.expert_counts[i];
  }
};

class StageTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    constexpr std::array kConfigs = {tiny_k1, tiny_exaone4, tiny_mixed, tiny_qwen3, tiny_gptoss};
    config = kConfigs.at(static_cast<size_t>(GetParam()))();
    parameters.emplace(config);
    randomise(*parameters, 7);
    weights = bind_weights(*parameters, stream);
    for (const uint64_t seed : {3, 4, 5, 6})
      batches.push_back(random_batch(config, {7, 1, 5, static_cast<int64_t>(seed)}, seed));
  }

  Outcome whole(bool recompute) {
    Outcome out;
    TrainPass pass(config, {.rows_max = 32, .recompute = recompute});
    Parameters gradients(config);
    for (const Batch& batch : batches) {
      pass.forward(weights, batch.input(), stream);
      const LossResult& r = pass.backward(losses, gradients.by_place(), stream);
      out.add(r);
      out.balance += r.balance_loss;
    }
    out.gradients = copy(gradients.flat());
    return out;
  }

  // The first stage is one pass ahead.
  Outcome in_stages(int64_t count, bool recompute) {
    Outcome out;
    Parameters gradients(config);
    std::vector<std::unique_ptr<TrainPass>> stages;
    std::vector<ModelGradients> places;
    for (int64_t s = 0; s < count; ++s) {
      const Holding held{.layer_begin = config.layer_count() * s / count,
                         .layer_end = config.layer_count() * (s + 1) / count,
                         .embedding = s == 0,
                         .head = s == count - 1,
                         .mtp = s == count - 1};
      stages.push_back(std::make_unique<TrainPass>(
          config,
          TrainPassOptions{
              .rows_max = 32, .recompute = recompute, .holding = held, .in_flight = count - s}));
      places.push_back(gradients.by_place());
      if (s > 0) places.back().embedding = {};
    }
    std::vector<std::vector<float>> rows(batches.size()), next(batches.size());
    const auto forward = [&](size_t i, size_t s) {
      TrainPass& pass = *stages[s];
      pass.begin(weights, batches[i].input(), static_cast<int64_t>(i) % pass.options().in_flight);
      if (s > 0) fill(pass.rows_in(), rows[i]);
      pass.run(stream);
      rows[i] = copy(pass.rows_out());
      if (s == 0) pass.embed_next(stream);
      if (s == 0) next[i] = copy(pass.next_rows());
      if (s + 1 == stages.size()) fill(pass.next_rows(), next[i]);
    };
    forward(0, 0);
    for (size_t i = 0; i < batches.size(); ++i) {
      if (i + 1 < batches.size()) forward(i + 1, 0);
      for (size_t s = 1; s < stages.size(); ++s) forward(i, s);
      double balance = 0;
      for (size_t s = stages.size(); s-- > 0;) {
        TrainPass& pass = *stages[s];
        pass.select(static_cast<int64_t>(i) % pass.options().in_flight);
        if (s + 1 < stages.size()) fill(pass.gradient(), rows[i]);
        if (s == 0) fill(pass.next_gradient(), next[i]);
        LossOptions here = losses;
        here.balance_before = balance;
        const LossResult& r = pass.backward(here, places[s], stream);
        out.add(r);
        balance = r.balance_loss;
        rows[i] = copy(pass.gradient());
        if (s + 1 == stages.size()) next[i] = copy(pass.next_gradient());
      }
      out.balance += balance;
    }
    out.gradients = copy(gradients.flat());
    return out;
  }

  CpuStream stream{2};
  ModelConfig config;
  std::optional<Parameters> parameters;
  ModelWeights weights;
  std::vector<Batch> batches;
  const LossOptions losses{.mtp_coefficient = 0.3,
                           .balance_coefficient = 0.05,
                           .valid_count = 40,
                           .mtp_valid_count = 30,
                           .document_count = 16};
};

TEST_P(StageTest, StagesGiveTheBitsOfTheWholePass) {
  const Outcome expected = whole(false);
  for (const int64_t count : {2, 3}) {
    for (const bool recompute : {false, true}) {
      const Outcome got = in_stages(count, recompute);
      EXPECT_EQ(got.loss, expected.loss) << count;
      EXPECT_EQ(got.mtp_loss, expected.mtp_loss) << count;
      EXPECT_EQ(got.balance, expected.balance) << count;
      EXPECT_EQ(got.counts, expected.counts) << count;
      EXPECT_TRUE(got.gradients == expected.gradients) << count << recompute;
    }
  }
}

// Room for the layers that are held alone, and inputs alone for passes in flight with recompute.
TEST_P(StageTest, APlanIsOfTheLayersThatAreHeldAndThePassesInFlight) {
  const auto bytes = [&](int64_t layers, int64_t in_flight, bool recompute) {
    return TrainPass::bytes(config, {.rows_max = 32,
                                     .recompute = recompute,
                                     .holding = {.layer_end = layers, .head = false, .mtp = false},
                                     .in_flight = in_flight});
  };
  EXPECT_LT(bytes(1, 1, false), bytes(2, 1, false));
  EXPECT_LT(bytes(2, 1, false), bytes(2, 2, false));
  EXPECT_LT(bytes(2, 2, true), bytes(2, 2, false));
  EXPECT_LT(2 * (bytes(2, 2, true) - bytes(2, 1, true)), bytes(2, 2, false) - bytes(2, 1, false));
}

INSTANTIATE_TEST_SUITE_P(Families, StageTest, ::testing::Range(0, 5));

}  // namespace
}  // namespace dure
