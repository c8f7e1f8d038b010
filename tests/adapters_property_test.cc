// Adapters beside a base in its stored types: gradients through quantised matrices and experts
// against finite differences, fresh adapters and stretches of rows to the bit, merging.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "engine/scorer.h"
#include "formats/config_fixture.h"
#include "formats/gguf_model.h"
#include "kernels/cross_entropy.h"
#include "kernels/rows.h"
#include "model/document_kv.h"
#include "model/load.h"
#include "model/merge.h"
#include "model/train_pass.h"
#include "quantise/quantise_model.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

// Rows of 256, so that every block type fits; LLLG has a dense layer and three with experts.
ModelConfig wide_config() {
  ModelConfig c = tiny_config(64);
  c.hidden_size = 256;
  c.head_width = 64;
  c.initializer_range = 0.06;
  LayerFacts each = c.mtp_layer;
  each.dense_width = 256;
  each.experts.width = 256;
  set_layers(c, 2, 8, each);
  c.mtp_layer_count = 0;
  return c;
}

LoraOptions every_target(int64_t rank) {
  return {.rank = rank,
          .targets = {LoraTarget::kAttention, LoraTarget::kDense, LoraTarget::kShared,
                      LoraTarget::kExperts, LoraTarget::kHead}};
}

class AdaptersProperty : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    Parameters parameters(wide_config());
    CpuStream stream(1);
    parameters.initialise(5, stream);
    write_hf_folder(at("model"), wide_config(), {}, *provide(parameters));
  }
  static void TearDownTestSuite() { delete folder_; }
  static Path at(const std::string& name) { return folder_->path() / name; }

  static ModelWeights base(const std::string& mixture) {
    const Path out = at(mixture + ".gguf");
    if (mixture.empty()) return open_weights(std::make_shared<ModelFiles>(at("model")));
    if (!path_exists(out)) {
      const ModelFiles files(at("model"));
      QuantiseJob job{.files = files,
                      .choices = choose_types(files.config(), {.mixture = find_mixture(mixture)}),
                      .out = out,
                      .metadata = gguf_config(files.config())};
      CpuStream stream(1);
      quantise_model(job, stream, [](int64_t) {});
    }
    return open_weights(std::make_shared<ModelFiles>(out));
  }

  // Rows of two documents, every next token a target.
  static TrainInput input() {
    static std::vector<int32_t> ids, targets;
    static const std::vector<int64_t> lengths = {7, 6};
    if (ids.empty()) {
      Rng rng(9);
      for (int i = 0; i < 13; ++i) ids.push_back(static_cast<int32_t>(rng.below(64)));
      for (int i = 0; i < 13; ++i)
        targets.push_back(i == 6 || i == 12 ? kIgnore : ids[static_cast<size_t>(i) + 1]);
    }
    return {.ids = ids, .targets = targets, .document_lengths = lengths};
  }

  inline static TemporaryFolder* folder_ = nullptr;
};

// A learner's worth of an adapter: factors that are not zero, a pass, gradients.
struct Adapted {
  ModelWeights weights;
  AdapterParameters factors, gradients;
  TrainPass pass;
  CpuStream stream{1};
  std::vector<int64_t> experts;  // chosen in the last loss()

  Adapted(ModelWeights base, const AdapterLayout& layout)
      : weights(std::move(base)),
        factors(weights.config, layout),
        gradients(weights.config, layout),
        pass(weights.config, {.rows_max = 13, .mtp = false, .adapter_rank = largest_rank(layout)}) {
    factors.initialise(3, stream);
    Rng rng(4);
    for (const AdapterParameter& p : factors.list()) {
      if (!p.is_up) continue;
      for (int64_t i = 0; i < p.view.elements(); ++i)
        p.view.f32()[i] = static_cast<float>(0.05 * rng.normal());
    }
    weights.adapter = std::make_shared<ModelAdapter>(factors.bind());
  }

  double loss(const TrainInput& input) {
    pass.forward(weights, input, stream);
    const LossResult& result = pass.losses({}, stream);
    experts = result.expert_counts;
    return result.loss_sum;
  }
  void backward(const TrainInput& input) {
    ModelGradients frozen;
    frozen.layers.resize(weights.config.layers.size());
    gradients.zero(stream);
    const ModelAdapterGradients places = gradients.by_place();
    pass.forward(weights, input, stream);
    pass.backward({.valid_count = 1}, frozen, stream, &places);
  }
};

// Along its own gradient each factor's loss changes by the gradient's norm; but for a token that
// stands between two experts, whose choice then jumps.
TEST_F(AdaptersProperty, GradientsThroughStoredTypesAreFiniteDifferences) {
  for (const char* mixture : {"", "Q8_0", "Q4_K_M", "IQ4_XS"}) {
    Adapted a(base(mixture), adapter_layout(every_target(3), wide_config(), "test"));
    a.backward(input());
    double worst = 0;
    int jumps = 0;
    a.loss(input());
    const std::vector<int64_t> chosen = a.experts;
    for (size_t i = 0; i < a.factors.list().size(); ++i) {
      const AdapterParameter& p = a.factors.list()[i];
      const float* g = a.gradients.list()[i].view.f32();
      const int64_t n = p.view.elements();
      double norm = 0;
      for (int64_t k = 0; k < n; ++k) norm += double{g[k]} * g[k];
      norm = std::sqrt(norm);
      ASSERT_GT(norm, 0) << mixture << " " << p.name;
      const std::vector<float> kept(p.view.f32(), p.view.f32() + n);
      const double step = std::min(0.02, 0.02 / norm);
      bool jumped = false;
      const auto at = [&](double factor) {
        for (int64_t k = 0; k < n; ++k)
          p.view.f32()[k] = static_cast<float>(kept[static_cast<size_t>(k)] + factor * g[k] / norm);
        const double loss = a.loss(input());
        jumped = jumped || a.experts != chosen;
        return loss;
      };
      const double slope = (at(step) - at(-step)) / (2 * step);
      std::copy(kept.begin(), kept.end(), p.view.f32());
      if (jumped) {
        ++jumps;
        continue;
      }
      const double difference = std::abs(slope - norm) / (norm + 0.01);
      worst = std::max(worst, difference);
      EXPECT_LT(difference, 0.02) << mixture << " " << p.name << ": " << slope << " and " << norm;
    }
    EXPECT_LE(jumps, 8) << mixture;
    std::printf("base %s: worst difference %.3g of %zu factors\n", *mixture ? mixture : "F32",
                worst, a.factors.list().size() - static_cast<size_t>(jumps));
  }
}

TEST_F(AdaptersProperty, AFreshAdapterIsTheBaseToTheBit) {
  ModelWeights plain = base("Q4_K_M");
  Adapted a(base("Q4_K_M"), adapter_layout(every_target(4), wide_config(), "test"));
  a.factors.initialise(7, a.stream);
  const double with = a.loss(input());
  a.weights.adapter = nullptr;
  EXPECT_EQ(with, a.loss(input()));
}

// Rows in stretches, each with an adapter of its own or none, have the bits that they have alone.
TEST_F(AdaptersProperty, StretchesOfRowsAreAsAlone) {
  LoraOptions options = every_target(4);
  std::erase(options.targets, LoraTarget::kExperts);
  const AdapterLayout layout = adapter_layout(options, wide_config(), "test");
  Adapted a(base("Q8_0"), layout);
  AdapterParameters other(a.weights.config, layout);
  other.initialise(11, a.stream);
  for (const AdapterParameter& p : other.list())
    for (int64_t i = 0; i < p.view.elements(); ++i) p.view.f32()[i] += 0.01f;
  const ModelAdapter first = a.factors.bind(), second = other.bind();
  a.weights.adapter = nullptr;
  // Three documents of four rows: the first adapter, none, the second.
  std::vector<int32_t> ids, positions;
  Rng rng(12);
  for (int i = 0; i < 12; ++i) {
    ids.push_back(static_cast<int32_t>(rng.below(64)));
    positions.push_back(i % 4);
  }
  const auto hidden = [&](int64_t first_row, int64_t count, std::span<const AdapterRows> rows) {
    Arena plan;
    const ActivationOptions room{.rows_max = 12, .adapter_rank = 4};
    Activations(a.weights.config, room, plan);
    Arena arena(plan.used_bytes());
    Activations activations(a.weights.config, room, arena);
    DocumentKv kv;
    kv.reserve(3);
    const std::vector<int64_t> lengths(static_cast<size_t>(count / 4), 4);
    kv.set_documents(lengths);
    const auto part = [&](const std::vector<int32_t>& list) {
      return host_view(std::span<const int32_t>(list).subspan(static_cast<size_t>(first_row),
                                                              static_cast<size_t>(count)));
    };
    forward(a.weights, {.ids = part(ids), .positions = part(positions), .adapters = rows}, kv,
            activations, a.stream);
    std::vector<float> out(static_cast<size_t>(count * 64));
    const TensorView logits{out.data(), {count, 64}, DType::kF32, Device::kCpu};
    head_logits(a.weights, activations.hidden(), logits, a.stream,
                {.inner = activations.adapter_inner(), .rows = rows});
    return out;
  };
  const AdapterRows together[] = {{&first, 0, 4}, {&second, 8, 4}};
  const AdapterRows first_alone{&first, 0, 4}, second_alone{&second, 0, 4};
  std::vector<float> wanted = hidden(0, 4, {&first_alone, 1});
  for (const auto& part : {hidden(4, 4, {}), hidden(8, 4, {&second_alone, 1})})
    wanted.insert(wanted.end(), part.begin(), part.end());
  const std::vector<float> got = hidden(0, 12, together);
  EXPECT_EQ(std::memcmp(got.data(), wanted.data(), got.size() * sizeof(float)), 0);
}

// The engine's chunks and caches give the trainer's log-probabilities.
TEST_F(AdaptersProperty, TheEngineIsTheTrainerToTheBit) {
  Adapted a(base("Q8_0"), adapter_layout(every_target(4), wide_config(), "test"));
  const TrainInput whole = input();
  std::vector<int32_t> ids(whole.ids.begin(), whole.ids.begin() + 7);
  std::vector<int32_t> targets(ids.begin() + 1, ids.end());
  targets.push_back(kIgnore);
  const int64_t length = 7;
  a.pass.forward(a.weights, {.ids = ids, .targets = targets, .document_lengths = {&length, 1}},
                 a.stream);
  a.pass.token_log_probabilities(false, a.stream);
  Scorer scorer(a.weights, {.sequence_tokens_max = 7, .chunk_tokens = 3, .sequences_max = 1},
                a.stream);
  std::vector<float> got;
  const std::vector<std::span<const int32_t>> rows = {ids};
  scorer.score(rows, [&](const ScoredRows& scored) {
    got.insert(got.end(), scored.log_probability.begin(), scored.log_probability.end());
  });
  ASSERT_EQ(got.size(), 7u);
  EXPECT_EQ(std::memcmp(got.data(), a.pass.log_probability().data(), 6 * sizeof(float)), 0);
}

TEST_F(AdaptersProperty, MergedItIsTheSameModel) {
  Adapted a(base(""), adapter_layout(every_target(3), wide_config(), "test"));
  const double with = a.loss(input());
  const auto files = std::make_shared<ModelFiles>(at("model"));
  AdapterMerger merger(a.weights.adapter, files->config());
  Parameters merged(files->config());
  load_parameters(*files, merged, a.stream);
  int64_t changed = 0;
  for (const ImpliedTensor& tensor : files->tensors()) {
    if (!merger.changes(tensor.id)) continue;
    copy_to(merger.merged(tensor.id, files->tensor(tensor.id)), merged.view(tensor.id), a.stream);
    ++changed;
  }
  EXPECT_EQ(changed, 2 * 4 + 3 + 3 + 3 * 4 + 1);
  const ModelWeights weights = bind_weights(merged, a.stream);
  a.pass.forward(weights, input(), a.stream);
  EXPECT_NEAR(a.pass.losses({}, a.stream).loss_sum / with, 1, 1e-5);
}

}  // namespace
}  // namespace dure
