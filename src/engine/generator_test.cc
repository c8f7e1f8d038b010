// Promises 2 and 3 where the engine keeps them: the sampler's log-probabilities are the trainer's,
// bit for bit; a request's tokens depend on nothing else in the batch, on no chunk size and on no
// thread count; rewinding a ring forgets nothing.
#include "engine/generator.h"

#include <gtest/gtest.h>

#include <cmath>

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

// The other families' facts: whatever the chunks, the company, the pages and the threads (which
// share out the partitions of a row: sinks come after them), and the trainer.
TEST(Generator, FactsOfOtherFamiliesKeepThePromises) {
  for (const ModelConfig& config : {tiny_gptoss(), tiny_qwen3()}) {
    Model model(config), two_threads(config, 2);
    const GeneratorOptions base{.sequences_max = 8,
                                .context_tokens_max = 256,
                                .batch_rows_max = 64,
                                .chunk_tokens_max = 64};
    const auto all = requests(12);
    const auto reference = Generator(model.weights, base, model.stream).run(all);
    expect_trainer_log_probabilities(model, all, reference);
    GeneratorOptions other = base;
    other.chunk_tokens_max = 3;
    other.batch_rows_max = 40;
    other.page_count = 5;
    other.draft_tokens_max = 3;
    other.drafter = DrafterChoice::kNgram;
    expect_same(Generator(two_threads.weights, other, two_threads.stream).run(all), reference,
                "chunks, few pages, drafts and two threads");
  }
}

// Without a number of pages every sequence has its own: all run together.
TEST(Generator, DefaultPagesKeepNobodyWaiting) {
  Model model;
  for (const int64_t context : {40, 64, 200}) {
    Generator generator(model.weights,
                        {.sequences_max = 6, .context_tokens_max = context, .batch_rows_max = 48},
                        model.stream);
    for (int i = 0; i < 6; ++i)
      generator.submit({.prompt = {1, 2, 3}, .new_tokens_max = context - 3});
    generator.step();
    EXPECT_EQ(generator.running_count(), 6) << context;
  }
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

ModelConfig drafting_config() {
  ModelConfig c = tiny_config();
  c.mtp_layer_count = 1;
  return c;
}

// Penalties, likeliest tokens, greedy ones among them.
std::vector<GenerationRequest> varied_requests(int count) {
  std::vector<GenerationRequest> all = requests(count);
  for (size_t i = 0; i < all.size(); ++i) {
    if (i % 5 == 1) all[i].sampling.repetition_penalty = 1.3;
    if (i % 5 == 2) all[i].sampling.presence_penalty = 0.4;
    if (i % 5 == 3) all[i].sampling.temperature = 0;
    if (i % 4 == 0) all[i].top_count = 2;
    if (i % 4 == 1) all[i].new_tokens_min = all[i].new_tokens_max / 2;
  }
  return all;
}

void expect_same_top(const Generation& a, const Generation& b) {
  ASSERT_EQ(a.top.size(), b.top.size());
  for (size_t i = 0; i < a.top.size(); ++i) {
    EXPECT_EQ(a.top[i].token, b.top[i].token);
    EXPECT_EQ(a.top[i].log_probability, b.top[i].log_probability);
  }
}

// Pages run out again and again; who is read anew says the same.
TEST(Generator, PreemptedOnesGoOnWithTheSameBits) {
  Model model(drafting_config());
  for (const int64_t drafts : {0, 3}) {
    GeneratorOptions plenty{.sequences_max = 12,
                            .context_tokens_max = 256,
                            .batch_rows_max = 64,
                            .chunk_tokens_max = 30,
                            .draft_tokens_max = drafts};
    const std::vector<GenerationRequest> all = varied_requests(30);
    const auto reference = Generator(model.weights, plenty, model.stream).run(all);
    int64_t preemptions = 0;
    for (const int64_t pages : {4, 5, 7}) {
      GeneratorOptions few = plenty;
      few.page_count = pages;
      Generator generator(model.weights, few, model.stream);
      const auto got = generator.run(all);
      expect_same(got, reference, "few pages");
      for (size_t i = 0; i < got.size(); ++i) expect_same_top(got[i], reference[i]);
      const GeneratorStatistics statistics = generator.statistics();
      preemptions += statistics.preemptions;
      EXPECT_EQ(statistics.pages_used, 0);
      EXPECT_EQ(statistics.page_count, pages);
    }
    EXPECT_GT(preemptions, 3);
  }
}

// A request asks for no more pages than it uses: many long ones run where their longest forms would
// not fit, and one that never fits is refused with the numbers.
TEST(Generator, PagesAreTakenAsAnswersGrow) {
  Model model;
  const GeneratorOptions options{
      .sequences_max = 8, .context_tokens_max = 1024, .batch_rows_max = 64, .page_count = 9};
  Generator generator(model.weights, options, model.stream);
  EXPECT_THROW(generator.submit({.prompt = {1}, .new_tokens_max = 600}), Error);
  for (int i = 0; i < 8; ++i) generator.submit({.prompt = {1, 2, i}, .new_tokens_max = 500});
  generator.step();
  generator.step();
  EXPECT_EQ(generator.running_count(), 5) << "a page for each that runs stays free";
  for (int i = 0; i < 30; ++i) generator.step();
  EXPECT_EQ(generator.statistics().preemptions, 0);
}

TEST(Generator, PagesWithinABudget) {
  const ModelConfig config = tiny_config();
  GeneratorOptions o{.sequences_max = 4, .context_tokens_max = 512};
  o.page_count = 11;
  const int64_t bytes = kv_cache_plan(config, kv_cache_options(o)).total_bytes();
  EXPECT_EQ(pages_within(config, o, bytes), 11);
  EXPECT_EQ(pages_within(config, o, bytes - 1), 10);
  EXPECT_THROW(pages_within(config, o, bytes / 4), Error);
}

// Whatever comes, goes and is broken off beside it, at whatever time: a request's bits are those of
// the request alone.
TEST(Generator, RandomCompanyChangesNothing) {
  Model model(drafting_config());
  for (const auto& [drafts, drafter] :
       {std::pair(0, DrafterChoice::kMtp), {2, DrafterChoice::kMtp}, {3, DrafterChoice::kAuto}}) {
    const auto all = varied_requests(24);
    GeneratorOptions alone{.sequences_max = 1, .context_tokens_max = 256, .batch_rows_max = 256};
    const auto reference = Generator(model.weights, alone, model.stream).run(all);
    alone.draft_tokens_max = drafts;
    alone.drafter = drafter;
    alone.draft_length = drafts == 3 ? DraftLength::kMeasured : DraftLength::kFixed;
    for (uint64_t seed = 0; seed < 4; ++seed) {
      Rng rng(77, seed);
      GeneratorOptions o = alone;
      o.sequences_max = rng.between(2, 12);
      o.chunk_tokens_max = rng.between(1, 60);
      o.batch_rows_max = o.sequences_max * (1 + drafts) + rng.between(0, 40);
      o.page_count = rng.between(4, 20);
      Generator generator(model.weights, o, model.stream);
      std::vector<int64_t> ids;
      std::vector<bool> cancelled(all.size(), false);
      while (generator.step() || ids.size() < all.size()) {
        while (ids.size() < all.size() && rng.below(3) == 0)
          ids.push_back(generator.submit(all[ids.size()]));
        if (ids.empty() || rng.below(12) != 0) continue;
        const auto which = static_cast<size_t>(rng.below(std::ssize(ids)));
        generator.cancel(ids[which]);
        cancelled[which] = true;
      }
      int whole = 0;
      for (size_t i = 0; i < all.size(); ++i) {
        const Generation got = generator.take(ids[i]);
        if (got.finish == FinishReason::kCancelled) {
          ASSERT_TRUE(cancelled[i]);
          ASSERT_LE(got.tokens.size(), reference[i].tokens.size());
          EXPECT_TRUE(
              std::equal(got.tokens.begin(), got.tokens.end(), reference[i].tokens.begin()));
          continue;
        }
        ++whole;
        EXPECT_EQ(got.tokens, reference[i].tokens) << i;
        EXPECT_EQ(got.log_probabilities, reference[i].log_probabilities) << i;
        EXPECT_EQ(got.finish, reference[i].finish) << i;
        expect_same_top(got, reference[i]);
      }
      EXPECT_GT(whole, 5);
      EXPECT_EQ(generator.statistics().pages_used, 0);
    }
  }
}

TEST(Generator, EventsSayWhatTheResultHolds) {
  Model model;
  Generator generator(
      model.weights,
      {.sequences_max = 4, .context_tokens_max = 256, .batch_rows_max = 32, .chunk_tokens_max = 20},
      model.stream);
  std::vector<Generation> said(8);
  for (GenerationRequest& r : requests(8)) {
    r.top_count = r.stream % 2 == 0 ? 5 : 97;
    generator.submit(std::move(r));
  }
  while (generator.step()) {
    for (const TokenEvent& e : generator.events()) {
      Generation& out = said[static_cast<size_t>(e.id)];
      ASSERT_EQ(e.index, std::ssize(out.tokens));
      out.tokens.push_back(*e.token);
      out.log_probabilities.push_back(e.log_probability);
      out.top.insert(out.top.end(), e.top.begin(), e.top.end());
      out.finish = e.finish;
      double sum = 0;
      for (size_t i = 0; i < e.top.size(); ++i) {
        sum += std::exp(static_cast<double>(e.top[i].log_probability));
        EXPECT_LE(e.top[i].log_probability, e.top[i > 0 ? i - 1 : 0].log_probability);
        EXPECT_TRUE(e.top[i].token != *e.token || e.top[i].log_probability == e.log_probability);
      }
      EXPECT_NEAR(sum, 1, e.top.size() == 97 ? 1e-5 : 1);
    }
  }
  for (size_t i = 0; i < said.size(); ++i) {
    const Generation result = generator.take(static_cast<int64_t>(i));
    EXPECT_EQ(result.tokens, said[i].tokens);
    EXPECT_EQ(result.log_probabilities, said[i].log_probabilities);
    EXPECT_EQ(result.finish, said[i].finish);
    expect_same_top(result, said[i]);
  }
}

// A stop token that is due later is not drawn, drafted or not; one that is due is not hindered.
TEST(Generator, AnswersHaveTheirLeastLength) {
  Model model(drafting_config());
  for (const int64_t drafts : {0, 3}) {
    Generator generator(model.weights,
                        {.sequences_max = 8,
                         .context_tokens_max = 256,
                         .batch_rows_max = 64,
                         .draft_tokens_max = drafts},
                        model.stream);
    std::vector<GenerationRequest> all = requests(12);
    for (GenerationRequest& r : all) {
      r.new_tokens_max = 60;
      r.new_tokens_min = 10;
      r.stop_tokens.clear();
      for (int32_t t = 0; t < 50; ++t) r.stop_tokens.push_back(t);
      r.stop_tokens.push_back(4000);  // An id that the model has no row for.
    }
    for (const Generation& g : generator.run(all)) {
      ASSERT_EQ(g.finish, FinishReason::kStop);
      ASSERT_GE(g.tokens.size(), 11u);
      for (size_t i = 0; i < g.tokens.size(); ++i)
        EXPECT_EQ(g.tokens[i] < 50, i + 1 == g.tokens.size());
    }
    GenerationRequest wrong{.prompt = {1}, .new_tokens_max = 4, .new_tokens_min = 5};
    EXPECT_THROW(generator.submit(wrong), Error);
  }
}

// A long prompt holds up a short one by a chunk, and those that decode not at all.
TEST(Generator, PromptsTakeTurns) {
  Model model;
  Generator generator(model.weights,
                      {.sequences_max = 4,
                       .context_tokens_max = 1024,
                       .batch_rows_max = 16,
                       .chunk_tokens_max = 16},
                      model.stream);
  const int64_t decoding = generator.submit({.prompt = {5}, .new_tokens_max = 300});
  generator.step();
  const int64_t slow =
      generator.submit({.prompt = std::vector<int32_t>(600, 3), .new_tokens_max = 4});
  generator.step();
  const int64_t quick = generator.submit({.prompt = {1, 2, 3}, .new_tokens_max = 4});
  int quick_after = 0;
  for (int step = 1; generator.step() && quick_after == 0; ++step) {
    bool decoded = false;
    for (const TokenEvent& e : generator.events()) {
      decoded |= e.id == decoding;
      if (e.id == quick) quick_after = step;
      EXPECT_NE(e.id, slow);
    }
    EXPECT_TRUE(decoded);
  }
  EXPECT_LE(quick_after, 2);
}

// At the end of a context of 256K, whose earlier rows are there as zeros: places, tables,
// partitions and rotations there are those of any other position, whatever the chunk.
TEST(KvCache, FarPositionsHaveTheSameBitsInAnyChunk) {
  constexpr int64_t kFar = 262'144 - 200;
  Model model;
  std::vector<int32_t> tokens(static_cast<size_t>(kFar) + 200);
  Rng rng(3);
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng.below(97));
  std::vector<std::vector<float>> ends;
  for (const int64_t chunk : {1, 7, 64, 200}) {
    const KvCacheOptions options{.context_tokens_max = 262'144, .append_tokens_max = chunk};
    KvCache cache(model.config, options, model.stream);
    EXPECT_EQ(cache.allocated_bytes(), kv_cache_plan(model.config, options).total_bytes());
    const int slot = cache.open();
    Feeder feeder(model, cache);
    ASSERT_TRUE(cache.reserve(slot, kFar));
    feeder.skip(slot, kFar);
    ends.push_back(feeder.feed(slot, tokens, kFar));
    EXPECT_EQ(cache.length(slot), 262'144);
    EXPECT_FALSE(cache.reserve(slot, 1));
  }
  for (const std::vector<float>& end : ends) EXPECT_EQ(end, ends[0]);
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
