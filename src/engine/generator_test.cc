// Promises 2 and 3 where the engine keeps them: the sampler's log-probabilities are the trainer's,
// bit for bit; a request's tokens depend on nothing else in the batch, on no chunk size and on no
// thread count; rewinding a ring forgets nothing.
#include "engine/generator.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "engine/engine_fixture.h"

namespace dure {
namespace {

using namespace testing_engine;

TEST(Generator, ResultsDependOnNothingElse) {
  Model model;
  const GeneratorOptions base{
      .sequences_max = 16, .context_tokens_max = 256, .batch_rows_max = 64, .chunk_tokens_max = 64};
  const auto reference = Generator(model.weights, base, model.stream).run(requests(20));
  for (const int64_t chunk : {1, 3, 64, 200}) {
    GeneratorOptions o = base;
    o.chunk_tokens_max = chunk;
    o.batch_rows_max = std::max<int64_t>(chunk, 16);
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
  Model two_threads(tiny_config(), 2);
  expect_same(Generator(two_threads.weights, base, two_threads.stream).run(requests(20)), reference,
              "two threads");
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
  expect_trainer_log_probabilities(model, all, generated);
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

TEST(KvCache, RewindKeepsWhatItPromises) {
  Model model;
  const KvCacheOptions options{
      .sequence_count_max = 2, .context_tokens_max = 512, .append_tokens_max = 16};
  KvCache cache(model.config, options, model.stream);
  EXPECT_EQ(cache.allocated_bytes(), kv_cache_plan(model.config, options).total_bytes());
  Feeder feeder(model, cache);
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
    const auto got = feeder.feed(slot, tokens, from);
    const int other = cache.open();
    EXPECT_EQ(got, feeder.feed(other, tokens, 0)) << "round " << round;
    cache.close(other);
    const int64_t back = rng.between(
        0, std::min<int64_t>(static_cast<int64_t>(tokens.size()), round % 7 == 0 ? 200 : 8));
    const int64_t target = static_cast<int64_t>(tokens.size()) - back;
    if (cache.rewind(slot, target)) {
      tokens.resize(static_cast<size_t>(target));
      ++rewound;
    } else {
      ++refused;
    }
  }
  EXPECT_GT(rewound, 10);
  EXPECT_EQ(cache.free_sequences(), 1);
  cache.close(slot);
  EXPECT_EQ(cache.free_pages(), 2 * 8);
}

}  // namespace
}  // namespace dure
