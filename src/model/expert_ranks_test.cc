// A pass whose experts lie on several ranks against the same pass of one process: hidden states,
// log-probabilities and gradients to the bit; ranks without rows; a device that fences its memory.
#include "model/expert_ranks.h"

#include <gtest/gtest.h>

#include <map>

#include "comm/thread_transport.h"
#include "model/model_fixture.h"
#include "tensor/cpu_stream.h"
#include "tensor/fenced_stream.h"

namespace dure {
namespace {

using namespace testing_model;

using Values = std::vector<float>;

Values values_of(TensorView view, Stream& stream) {
  HostCopy<float> copy(view.elements(), stream.device());
  const auto values = copy.of(view.reshaped({view.elements()}), stream);
  return {values.begin(), values.end()};
}

struct Outcome {
  Values log_probability;
  std::map<std::string, Values> gradients;  // by name; of an expert by its own
  std::vector<int64_t> counts;
};

LossOptions loss_of(const ModelConfig& config) {
  return {.mtp_coefficient = config.mtp_layer_count > 0 ? 0.3 : 0, .balance_coefficient = 0.1};
}

TrainPassOptions options_of(const ModelConfig& config, bool recompute, bool elsewhere) {
  return {.rows_max = 24,
          .recompute = recompute,
          .mtp = config.mtp_layer_count > 0,
          .experts_elsewhere = elsewhere};
}

// By name, experts one by one.
void add_gradients(const Parameters& block, Stream& stream, Outcome& out) {
  for (const Parameter& p : block.list()) {
    if (!is_of_experts(p.id.role)) {
      out.gradients[p.name] = values_of(p.view, stream);
      continue;
    }
    for (int64_t e = 0; e < p.shape[0]; ++e)
      out.gradients[fmt::format("{} {}", p.name, p.first + e)] =
          values_of(p.view.rows(e, 1), stream);
  }
}

Outcome alone(const ModelConfig& config, const Batch& batch, bool recompute) {
  CpuStream stream(1);
  Parameters parameters(config), gradients(config);
  randomise(parameters, 7);
  const ModelWeights weights = bind_weights(parameters, stream);
  TrainPass pass(config, options_of(config, recompute, false));
  pass.forward(weights, batch.input(), stream);
  const LossResult& result = pass.backward(loss_of(config), gradients.by_place(), stream);
  Outcome out{.counts = result.expert_counts};
  out.log_probability.assign(pass.log_probability().begin(), pass.log_probability().end());
  add_gradients(gradients, stream, out);
  return out;
}

// The values of a whole model's parameters that are held here.
void take(const Parameters& whole, const Parameters& held, Stream& stream) {
  for (const Parameter& p : held.list()) {
    const TensorView from = whole.at(p.name).view.rows(p.first, p.view.dim(0));
    copy_from_host(ConstTensorView(from), p.view, stream);
  }
}

// One rank of the group: its own outcome; of routed experts the gradients of every source's rows.
struct RankOutcome {
  Outcome own;
  std::vector<Outcome> by_source;
};
RankOutcome in_group(const ModelConfig& config, const Batch& batch, bool recompute, Group& group,
                     Stream& stream) {
  const Holding holding{.expert_part = group.rank(), .expert_parts = group.size()};
  Holding rest = holding, routed = holding;
  rest.routed = false;
  routed.rest = false;
  Parameters whole(config), parameters(config, holding, stream.device());
  randomise(whole, 7);
  take(whole, parameters, stream);
  ModelWeights weights = bind_weights(parameters, stream);
  const TrainPassOptions options = options_of(config, recompute, true);
  ExpertRanks exchange(config, options, group, stream.device());
  weights.experts = &exchange;
  Parameters dense(config, rest, stream.device());
  std::vector<Parameters> sources;
  std::vector<ModelGradients> places;
  std::vector<ExpertRanks::Source> pointers;
  for (int s = 0; s < group.size(); ++s) sources.emplace_back(config, routed, stream.device());
  for (const Parameters& source : sources) places.push_back(source.by_place());
  for (const ModelGradients& place : places) pointers.push_back({&place});
  exchange.add_to(pointers);
  TrainPass pass(config, options, stream.device());
  RankOutcome out;
  if (batch.ids.empty()) {
    pass.idle_forward(weights, stream);
    pass.idle_backward(weights, stream);
  } else {
    pass.forward(weights, batch.input(), stream);
    out.own.counts = pass.backward(loss_of(config), dense.by_place(), stream).expert_counts;
    out.own.log_probability.assign(pass.log_probability().begin(), pass.log_probability().end());
  }
  add_gradients(dense, stream, out.own);
  for (const Parameters& source : sources)
    add_gradients(source, stream, out.by_source.emplace_back());
  return out;
}

void expect_alike(const ModelConfig& config, int ranks, bool recompute, bool one_idle) {
  std::vector<Batch> batches;
  for (int r = 0; r < ranks; ++r) {
    const auto at = static_cast<uint64_t>(r);
    batches.push_back(one_idle && r == 1 ? Batch{} : random_batch(config, {9, 4 + r, 2}, 40 + at));
  }
  std::vector<RankOutcome> found(static_cast<size_t>(ranks));
  run_ranks(ranks, [&](Group& group) {
    CpuStream stream(1);
    const auto at = static_cast<size_t>(group.rank());
    found[at] = in_group(config, batches[at], recompute, group, stream);
  });
  for (size_t s = 0; s < batches.size(); ++s) {
    if (batches[s].ids.empty()) continue;
    const Outcome wanted = alone(config, batches[s], recompute);
    std::map<std::string, Values> gradients = found[s].own.gradients;
    for (const RankOutcome& owner : found)
      gradients.insert(owner.by_source[s].gradients.begin(), owner.by_source[s].gradients.end());
    EXPECT_EQ(found[s].own.log_probability, wanted.log_probability) << s;
    EXPECT_EQ(found[s].own.counts, wanted.counts) << s;
    EXPECT_EQ(gradients.size(), wanted.gradients.size());
    for (const auto& [name, values] : wanted.gradients)
      EXPECT_EQ(gradients[name], values) << name << ", source " << s;
  }
}

TEST(ExpertRanks, APassHasTheBitsOfOneProcess) {
  expect_alike(tiny_k1(), 2, /*recompute=*/false, false);
  expect_alike(tiny_k1(), 3, /*recompute=*/true, false);
  expect_alike(tiny_k2(), 4, /*recompute=*/false, false);
  expect_alike(tiny_exaone4(), 2, /*recompute=*/true, false);
}

TEST(ExpertRanks, BiasesOfExpertsAreOwnedAsTheyAre) {
  expect_alike(tiny_gptoss(), 2, false, false);
  expect_alike(tiny_gptoss(), 3, true, false);
}

TEST(ExpertRanks, ARankWithoutRowsComputesForOthers) {
  expect_alike(tiny_k1(), 2, false, true);
  expect_alike(tiny_k1(), 3, true, true);
}

TEST(ExpertRanks, NobodyTouchesADevicesMemory) {
  const ModelConfig config = tiny_k1();
  const Batch batch = random_batch(config, {9, 5}, 3);
  FencedStream stream(1);
  const RankOutcome found = in_group(config, batch, false, Group::alone(), stream);
  const Outcome wanted = alone(config, batch, false);
  EXPECT_EQ(found.own.log_probability, wanted.log_probability);
  for (const auto& [name, values] : found.by_source[0].gradients)
    EXPECT_EQ(wanted.gradients.at(name), values) << name;
}

TEST(Holding, OfEveryTensorSomebodyHasEachPieceOnce) {
  for (const ModelConfig& config : {tiny_k1(), tiny_k2(), tiny_gptoss()}) {
    int64_t held = 0, all = 0;
    for (const int64_t part : {0, 1}) {
      for (const HeldTensor& tensor :
           held_tensors(config, {.rest = part == 0, .expert_part = part, .expert_parts = 2}))
        held += tensor.shape.elements();
    }
    for (const ImpliedTensor& tensor : tensor_list(config)) all += tensor.shape.elements();
    EXPECT_EQ(held, all);
  }
}

// A part of an expert's stack starts with the bits that it has in the whole.
TEST(Holding, FreshExpertsAreThoseOfTheWholeModel) {
  ModelConfig config = tiny_k1();
  CpuStream stream(2);
  Parameters whole(config);
  whole.initialise(3, stream);
  for (const int64_t part : {0, 1, 2}) {
    Parameters held(config, Holding{.expert_part = part, .expert_parts = 3}, Device::kCpu);
    held.initialise(3, stream);
    for (const Parameter& p : held.list())
      EXPECT_EQ(values_of(p.view, stream),
                values_of(whole.at(p.name).view.rows(p.first, p.view.dim(0)), stream))
          << p.name;
  }
}

}  // namespace
}  // namespace dure
