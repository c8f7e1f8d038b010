// Promises 2 and 3 where the engine keeps them: the sampler's log-probabilities are the trainer's,
// bit for bit; a request's tokens depend on nothing else in the batch, on no chunk size and on no
// thread count; rewinding a ring forgets nothing.
#include "engine/generator.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "model/train_pass.h"

namespace dure {
namespace {

// LLLG with a window far shorter than the sequences, a dense first layer, routed experts with a
// shared one.
ModelConfig tiny_config() {
  ModelConfig c;
  c.vocab_size = 97, c.hidden_size = 48, c.head_count = 4, c.kv_head_count = 2, c.head_width = 16;
  c.dense_width = 64, c.expert_width = 24, c.expert_count = 8, c.experts_per_token = 3,
  c.shared_expert_count = 1;
  c.routed_scale = 2.5, c.initializer_range = 0.2;
  for (int i = 0; i < 4; ++i)
    c.layers.push_back({.window_tokens = i == 3 ? 0 : 5, .rotary = i != 3, .sparse = i > 0});
  return c;
}

struct Model {
  ModelConfig config = tiny_config();
  Stream stream;
  Parameters parameters{config};
  ModelWeights weights;
  explicit Model(int threads = 2) : stream(threads) {
    parameters.initialise(11, stream);
    weights = bind_weights(parameters);
  }
};

std::vector<GenerationRequest> requests(int count) {
  std::vector<GenerationRequest> all;
  for (int i = 0; i < count; ++i) {
    Rng rng(5, static_cast<uint64_t>(i));
    GenerationRequest r;
    const int64_t length = rng.between(1, 150);
    for (int64_t k = 0; k < length; ++k) r.prompt.push_back(static_cast<int32_t>(rng.below(97)));
    r.new_tokens_max = rng.between(1, 90);
    r.stop_tokens = {7};
    r.stream = static_cast<uint64_t>(i);
    r.sampling.seed = 99;
    if (i % 3 == 1) r.sampling.top_p = 0.9;
    all.push_back(r);
  }
  return all;
}

void expect_same(const std::vector<Generation>& a, const std::vector<Generation>& b,
                 const char* what) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].tokens, b[i].tokens) << what << ", request " << i;
    EXPECT_EQ(a[i].log_probabilities, b[i].log_probabilities) << what << ", request " << i;
    EXPECT_EQ(a[i].finish, b[i].finish);
  }
}

TEST(Generator, ResultsDependOnNothingElse) {
  Model model;
  const GeneratorOptions base{
      .sequences_max = 16, .context_tokens_max = 256, .batch_rows_max = 64, .chunk_tokens_max = 64};
  const auto reference = Generator(model.weights, base, model.stream).run(requests(20));
  for (const int64_t chunk : {1, 3, 64, 200}) {
    GeneratorOptions o = base;
    o.chunk_tokens_max = chunk, o.batch_rows_max = std::max<int64_t>(chunk, 16);
    expect_same(Generator(model.weights, o, model.stream).run(requests(20)), reference, "chunks");
  }
  GeneratorOptions alone = base;
  alone.sequences_max = 1;
  expect_same(Generator(model.weights, alone, model.stream).run(requests(20)), reference,
              "one at a time");
  GeneratorOptions few_pages = base;
  few_pages.page_count = 5;
  expect_same(Generator(model.weights, few_pages, model.stream).run(requests(20)), reference,
              "few pages");
  Model one_thread(1);
  expect_same(Generator(one_thread.weights, base, one_thread.stream).run(requests(20)), reference,
              "one thread");
}

TEST(Generator, SamplerEqualsTrainerBitForBit) {
  Model model;
  const auto all = requests(12);
  const auto generated = Generator(model.weights,
                                   {.sequences_max = 8,
                                    .context_tokens_max = 256,
                                    .batch_rows_max = 32,
                                    .chunk_tokens_max = 20},
                                   model.stream)
                             .run(all);
  std::vector<int32_t> ids, targets;
  std::vector<int64_t> lengths;
  for (size_t i = 0; i < all.size(); ++i) {
    std::vector<int32_t> row = all[i].prompt;
    row.insert(row.end(), generated[i].tokens.begin(), generated[i].tokens.end());
    lengths.push_back(static_cast<int64_t>(row.size()));
    for (size_t t = 0; t < row.size(); ++t) {
      ids.push_back(row[t]);
      targets.push_back(t + 1 >= all[i].prompt.size() && t + 1 < row.size() ? row[t + 1] : kIgnore);
    }
  }
  TrainPass pass(model.config, {.rows_max = static_cast<int64_t>(ids.size())});
  pass.forward(model.weights, {.ids = ids, .targets = targets, .document_lengths = lengths},
               model.stream);
  pass.token_log_probabilities(false, model.stream);
  size_t at = 0, compared = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t k = 0; k < generated[i].tokens.size(); ++k, ++compared) {
      ASSERT_EQ(pass.log_probability()[at + all[i].prompt.size() - 1 + k],
                generated[i].log_probabilities[k])
          << "request " << i << " token " << k;
    }
    at += static_cast<size_t>(lengths[i]);
  }
  EXPECT_GT(compared, 100u);
}

TEST(Generator, RefusesAndCancels) {
  Model model;
  Generator generator(model.weights,
                      {.sequences_max = 2, .context_tokens_max = 64, .batch_rows_max = 8},
                      model.stream);
  EXPECT_THROW(generator.submit({}), Error);
  EXPECT_THROW(generator.submit({.prompt = {97}}), Error);
  EXPECT_THROW(generator.submit({.prompt = {1, 2}, .new_tokens_max = 63}), Error);
  const int64_t a = generator.submit({.prompt = {1, 2}, .new_tokens_max = 30});
  const int64_t b = generator.submit({.prompt = {3}, .new_tokens_max = 3});
  generator.step();
  generator.cancel(a);
  while (generator.step()) {
  }
  EXPECT_EQ(generator.take(a).finish, FinishReason::kCancelled);
  EXPECT_EQ(generator.take(b).tokens.size(), 3u);
  EXPECT_FALSE(generator.step());
}

// Feeds tokens through the cache and returns the last hidden state.
std::vector<float> feed(Model& model, KvCache& cache, int slot, const std::vector<int32_t>& tokens,
                        int64_t from) {
  BatchKv kv(cache);
  Arena plan;
  Activations(model.config, {.rows_max = 16}, plan);
  Arena arena(plan.used_bytes());
  Activations activations(model.config, {.rows_max = 16}, arena);
  std::vector<float> last;
  for (int64_t at = from; at < static_cast<int64_t>(tokens.size());) {
    const int64_t count = std::min<int64_t>(16, static_cast<int64_t>(tokens.size()) - at);
    EXPECT_TRUE(cache.reserve(slot, count));
    std::vector<int32_t> positions;
    for (int64_t i = 0; i < count; ++i) positions.push_back(static_cast<int32_t>(at + i));
    const BatchKv::Run run{.slot = slot, .first_row = 0, .row_count = count, .first_position = at};
    kv.set_runs({&run, 1});
    forward(model.weights,
            {.ids = std::span(tokens).subspan(static_cast<size_t>(at), static_cast<size_t>(count)),
             .positions = positions},
            kv, activations, model.stream);
    kv.commit();
    const float* row = activations.hidden().f32() + (count - 1) * model.config.hidden_size;
    last.assign(row, row + model.config.hidden_size);
    at += count;
  }
  return last;
}

TEST(KvCache, RewindKeepsWhatItPromises) {
  Model model;
  const KvCacheOptions options{
      .sequence_count_max = 2, .context_tokens_max = 512, .append_tokens_max = 16};
  KvCache cache(model.config, options);
  EXPECT_EQ(cache.allocated_bytes(), kv_cache_plan(model.config, options).total_bytes());
  Rng rng(1);
  const auto random_tokens = [&](int64_t n) {
    std::vector<int32_t> t;
    for (int64_t i = 0; i < n; ++i) t.push_back(static_cast<int32_t>(rng.below(97)));
    return t;
  };
  const int slot = cache.open();
  int rewound = 0, refused = 0;
  std::vector<int32_t> tokens;
  for (int round = 0; round < 60; ++round) {
    const auto more = random_tokens(rng.between(1, 20));
    const int64_t from = static_cast<int64_t>(tokens.size());
    if (from + 20 > 500) break;
    tokens.insert(tokens.end(), more.begin(), more.end());
    const auto got = feed(model, cache, slot, tokens, from);
    const int other = cache.open();
    EXPECT_EQ(got, feed(model, cache, other, tokens, 0)) << "round " << round;
    cache.close(other);
    const int64_t back = rng.between(
        0, std::min<int64_t>(static_cast<int64_t>(tokens.size()), round % 7 == 0 ? 200 : 8));
    const int64_t target = static_cast<int64_t>(tokens.size()) - back;
    if (cache.rewind(slot, target))
      tokens.resize(static_cast<size_t>(target)), ++rewound;
    else
      ++refused;
  }
  EXPECT_GT(rewound, 10);
  EXPECT_EQ(cache.free_sequences(), 1);
  cache.close(slot);
  EXPECT_EQ(cache.free_pages(), 2 * 8);
}

}  // namespace
}  // namespace dure
