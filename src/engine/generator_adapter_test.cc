// Adapters by request: any mixture of them in a batch gives each request the bits that it has where
// its adapter is the weights' own, and alone; prefixes are never another adapter's.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/testing.h"
#include "engine/engine_fixture.h"
#include "model/adapter_fixture.h"

namespace dure {
namespace {

using namespace testing_engine;

std::vector<LoraTarget> targets_of(const ModelConfig& config) {
  std::vector<LoraTarget> out = {LoraTarget::kAttention, LoraTarget::kExperts, LoraTarget::kHead};
  for (const LayerFacts& layer : config.layers) {
    if (layer.sparse && layer.experts.shared_count > 0 && out.back() != LoraTarget::kShared)
      out.push_back(LoraTarget::kShared);
  }
  if (std::ranges::any_of(config.layers, [](const LayerFacts& l) { return !l.sparse; }))
    out.push_back(LoraTarget::kDense);
  return out;
}

// Every target there is, with values that say something.
std::shared_ptr<const ModelAdapter> adapter(const ModelConfig& config, int64_t rank, uint64_t seed,
                                            Stream& stream) {
  const auto values = random_adapter(config, rank, targets_of(config), seed, 0.1, stream);
  auto out = std::make_shared<ModelAdapter>(values->bind());
  out->fingerprint = seed;
  out->source = values;
  return out;
}

struct Fixture {
  Model model;
  std::shared_ptr<const ModelAdapter> a, b;
  explicit Fixture(const ModelConfig& config, int threads = 2)
      : model(config, threads),
        a(adapter(config, 4, 21, model.stream)),
        b(adapter(config, 7, 22, model.stream)) {}

  // Request i without one, with a or with b.
  std::shared_ptr<const ModelAdapter> of(size_t i) const {
    return i % 3 == 0 ? nullptr : i % 3 == 1 ? a : b;
  }
  std::vector<GenerationRequest> mixed(int count) const {
    std::vector<GenerationRequest> all = requests(count);
    for (size_t i = 0; i < all.size(); ++i) all[i].adapter = of(i);
    return all;
  }
  // Each alone, in an engine whose weights have its adapter.
  std::vector<Generation> alone(const std::vector<GenerationRequest>& all) {
    std::vector<Generation> out;
    for (GenerationRequest request : all) {
      model.weights.adapter = std::exchange(request.adapter, nullptr);
      Generator generator(model.weights, {.sequences_max = 1, .context_tokens_max = 300},
                          model.stream);
      out.push_back(std::move(generator.run({request})[0]));
    }
    model.weights.adapter = nullptr;
    return out;
  }
  Generator generator(GeneratorOptions options) {
    options.context_tokens_max = 300;
    options.adapter_rank = 7;
    return Generator(model.weights, options, model.stream);
  }
};

ModelConfig with_mtp() {
  ModelConfig c = tiny_config();
  c.mtp_layer_count = 1;
  c.mtp_layer = global_layer(c.mtp_layer);
  return c;
}

TEST(GeneratorAdapter, AMixtureHasTheBitsOfEachAlone) {
  Fixture f(with_mtp());
  const std::vector<GenerationRequest> all = f.mixed(12);
  const std::vector<Generation> alone = f.alone(all);
  expect_same(
      f.generator({.sequences_max = 6, .batch_rows_max = 64, .chunk_tokens_max = 17}).run(all),
      alone, "together");
  expect_same(f.generator({.sequences_max = 4, .page_count = 9}).run(all), alone, "preempted");
  expect_same(f.generator({.sequences_max = 6, .draft_tokens_max = 2}).run(all), alone, "drafted");
  expect_same(
      f.generator({.sequences_max = 6, .draft_tokens_max = 3, .drafter = DrafterChoice::kNgram})
          .run(all),
      alone, "drafted from the text");
}

TEST(GeneratorAdapter, OtherFamiliesToo) {
  for (const ModelConfig& config : {tiny_gptoss(), tiny_qwen3()}) {
    Fixture f(config);
    const std::vector<GenerationRequest> all = f.mixed(6);
    expect_same(f.generator({.sequences_max = 6}).run(all), f.alone(all), "together");
  }
}

TEST(GeneratorAdapter, APrefixIsOfItsAdapterAlone) {
  Fixture f(tiny_config());
  std::vector<GenerationRequest> all = f.mixed(6);
  for (GenerationRequest& request : all) {
    request.prompt = requests(8)[2].prompt;
    while (request.prompt.size() < 150) request.prompt.push_back(5);
    request.new_tokens_max = 20;
  }
  const std::vector<Generation> alone = f.alone(all);
  EXPECT_NE(alone[0].log_probabilities, alone[1].log_probabilities);
  GeneratorOptions options{.sequences_max = 2};
  options.prefix = {.keep = true,
                    .bytes_max = prefix_bytes_for(f.model.config, options, 30),
                    .stride_tokens = 32};
  Generator generator = f.generator(options);
  const std::vector<Generation> shared = generator.run(all);
  expect_same(shared, alone, "with prefixes");
  for (size_t i = 0; i < 3; ++i) EXPECT_EQ(shared[i].cached_tokens, 0) << i;
  for (size_t i = 3; i < 6; ++i) EXPECT_GT(shared[i].cached_tokens, 100) << i;
}

TEST(GeneratorAdapter, ARankBeyondThePlanIsRefused) {
  Fixture f(tiny_config());
  Generator generator(f.model.weights, {.adapter_rank = 4}, f.model.stream);
  GenerationRequest request{.prompt = {1}};
  request.adapter = f.a;
  generator.check(request);
  request.adapter = f.b;
  EXPECT_EQ(message_of([&] { generator.check(request); }),
            "an adapter of rank 7, where 4 is the highest planned");
}

}  // namespace
}  // namespace dure
