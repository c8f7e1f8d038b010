// Prefix reuse changes no bit: random branching conversations, parting anywhere, with and without
// drafts, preemption, cancels and a tiny budget, against an engine that keeps nothing. What is
// shared is read once.
#include <gtest/gtest.h>

#include "engine/engine_fixture.h"

namespace dure {
namespace {

using namespace testing_engine;

ModelConfig windowed(int64_t window, int64_t mtp_window = 0) {
  ModelConfig c = tiny_config();
  for (LayerFacts& layer : c.layers)
    if (layer.window_tokens > 0) layer.window_tokens = window;
  c.mtp_layer_count = 1;
  c.mtp_layer = mtp_window > 0 ? sliding_layer(c.mtp_layer, mtp_window) : global_layer(c.mtp_layer);
  return c;
}

// Requests that go on from, part inside of, or repeat what was asked and answered before.
class Conversations {
 public:
  Conversations(uint64_t seed, int64_t answer_tokens) : rng_(seed), answer_tokens_(answer_tokens) {}

  GenerationRequest next() {
    GenerationRequest r;
    if (!texts_.empty() && rng_.below(5) > 0) {
      r.prompt = texts_[rng_.below(texts_.size())];
      if (rng_.below(3) > 0) r.prompt.resize(rng_.below(r.prompt.size()) + 1);
    }
    const int64_t more = rng_.below(4) == 0 ? 0 : rng_.between(1, 90);
    for (int64_t i = 0; i < more; ++i) r.prompt.push_back(static_cast<int32_t>(rng_.below(97)));
    if (r.prompt.empty()) r.prompt.push_back(5);
    if (r.prompt.size() > 280) r.prompt.resize(280);
    r.new_tokens_max = rng_.between(1, answer_tokens_);
    r.stop_tokens = {7};
    r.stream = count_++;
    r.sampling.seed = 99;
    if (rng_.below(3) == 0) r.sampling.temperature = 0;
    if (rng_.below(5) == 0) r.sampling.repetition_penalty = 1.2;
    r.prefix_salt = rng_.below(6) == 0 ? 1 : 0;
    return r;
  }
  void said(const GenerationRequest& request, const Generation& answer) {
    texts_.push_back(request.prompt);
    texts_.back().insert(texts_.back().end(), answer.tokens.begin(), answer.tokens.end());
  }
  Rng& rng() { return rng_; }

 private:
  Rng rng_;
  int64_t answer_tokens_;
  uint64_t count_ = 0;
  std::vector<std::vector<int32_t>> texts_;
};

struct Case {
  const char* name;
  int64_t window, mtp_window, drafts, pages, prefix_bytes, stride;
  bool sinks = false;  // GPT-OSS's facts
  DType kv_dtype = DType::kF32;
};

class Branching : public ::testing::TestWithParam<Case> {};

TEST_P(Branching, BitsAreThoseWithoutPrefixes) {
  const Case& c = GetParam();
  ModelConfig config = c.sinks ? tiny_gptoss() : windowed(c.window, c.mtp_window);
  if (is_block(c.kv_dtype)) config.head_width = 32;
  Model model(config);
  GeneratorOptions o{.sequences_max = 5,
                     .context_tokens_max = 420,
                     .batch_rows_max = 96,
                     .chunk_tokens_max = 50,
                     .page_count = c.pages,
                     .kv_dtype = c.kv_dtype,
                     .draft_tokens_max = c.drafts};
  Generator plain(model.weights, o, model.stream);
  o.prefix = {
      .keep = true, .bytes_max = c.prefix_bytes, .stride_tokens = c.stride, .tokens_min = 2};
  Generator keeping(model.weights, o, model.stream);
  Conversations conversations(static_cast<uint64_t>(c.window + c.drafts), c.pages > 0 ? 120 : 40);
  Rng& rng = conversations.rng();
  int64_t cancelled = 0, prompt_tokens = 0;
  for (int round = 0; round < 40; ++round) {
    std::vector<GenerationRequest> all;
    const int64_t count = rng.between(1, 8);
    for (int64_t i = 0; i < count; ++i) all.push_back(conversations.next());
    if (rng.below(3) == 0) all.resize(4, all[0]);  // a group
    std::vector<int64_t> ids;
    for (const GenerationRequest& r : all) {
      ids.push_back(keeping.submit(r));
      for (uint64_t n = rng.below(3); n > 0; --n) keeping.step();
    }
    const size_t victim = rng.below(all.size());
    const uint64_t steps = rng.below(40);
    for (uint64_t n = 0; n < steps; ++n) keeping.step();
    const bool cancels = rng.below(4) == 0;
    if (cancels) keeping.cancel(ids[victim]);
    while (keeping.step()) {
    }
    const std::vector<Generation> expected = plain.run(all);
    for (size_t i = 0; i < all.size(); ++i) {
      const Generation got = keeping.take(ids[i]);
      conversations.said(all[i], expected[i]);
      prompt_tokens += std::ssize(all[i].prompt);
      EXPECT_LT(got.cached_tokens, std::ssize(all[i].prompt));
      if (got.finish == FinishReason::kCancelled) {
        ++cancelled;
        continue;
      }
      ASSERT_EQ(got.tokens, expected[i].tokens) << c.name << " round " << round << " request " << i;
      ASSERT_EQ(got.log_probabilities, expected[i].log_probabilities)
          << c.name << " round " << round << " request " << i;
      ASSERT_EQ(got.finish, expected[i].finish);
    }
  }
  const GeneratorStatistics s = keeping.statistics(), p = plain.statistics();
  std::printf(
      "%s: %lld of %lld rows; %lld hits, %lld tokens of %lld; %lld replayed, %lld waits, %lld "
      "evictions, %lld preemptions (%lld plain), %lld cancelled\n",
      c.name, static_cast<long long>(s.rows), static_cast<long long>(p.rows),
      static_cast<long long>(s.prefix_hits), static_cast<long long>(s.prefix_tokens),
      static_cast<long long>(prompt_tokens), static_cast<long long>(s.prefix_replayed_tokens),
      static_cast<long long>(s.prefix_waits), static_cast<long long>(s.prefix_evictions),
      static_cast<long long>(s.preemptions), static_cast<long long>(p.preemptions),
      static_cast<long long>(cancelled));
  EXPECT_GT(s.prefix_hits, c.pages > 0 ? 15 : 60);
  EXPECT_LT(s.rows, p.rows);
  EXPECT_EQ(s.pages_used, 0);
  EXPECT_GT(s.prefixes, 0);
  keeping.forget_prefixes();
  EXPECT_EQ(keeping.statistics().prefix_bytes, 0);
  EXPECT_EQ(keeping.statistics().prefixes, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Prefix, Branching,
    ::testing::Values(Case{"windows of 5", 5, 0, 0, 0, 12 << 20, 64},
                      Case{"windows of a block", 64, 0, 0, 0, 12 << 20, 64},
                      Case{"windows over a block", 100, 0, 0, 0, 12 << 20, 128},
                      Case{"tiny budget", 70, 0, 0, 9, 0, 64}, Case{"few pages", 5, 0, 0, 7, 0, 64},
                      Case{"drafts", 5, 4, 3, 0, 12 << 20, 64},
                      Case{"sinks", 5, 0, 0, 0, 12 << 20, 64, true},
                      Case{"drafts, global MTP layer", 66, 0, 2, 0, 12 << 20, 64},
                      Case{"drafts, tiny budget", 66, 66, 2, 9, 0, 64},
                      Case{"eight bits, drafts", 66, 4, 2, 9, 0, 64, false, DType::kQ8_0}),
    [](const auto& info) {
      std::string name;
      for (const char* at = info.param.name; *at != 0; ++at)
        if (std::isalnum(static_cast<unsigned char>(*at)) != 0) name += *at;
      return name;
    });

// Eight answers to one prompt: it is read once, and each has the bits of its own request alone.
TEST(Prefix, AGroupReadsItsPromptOnce) {
  Model model(windowed(5));
  for (const int64_t drafts : {0, 2}) {
    GeneratorOptions o{.sequences_max = 16,
                       .context_tokens_max = 256,
                       .batch_rows_max = 64,
                       .chunk_tokens_max = 64,
                       .draft_tokens_max = drafts};
    std::vector<GenerationRequest> all;
    for (uint64_t i = 0; i < 8; ++i) {
      GenerationRequest r{.prompt = std::vector<int32_t>(150, 3),
                          .new_tokens_max = drafts > 0 ? 4 : 1};
      for (size_t k = 0; k < r.prompt.size(); ++k) r.prompt[k] = static_cast<int32_t>(k * k % 97);
      r.stream = i;
      all.push_back(r);
    }
    Generator plain(model.weights, o, model.stream);
    const auto expected = plain.run(all);
    o.prefix.keep = true;
    Generator keeping(model.weights, o, model.stream);
    expect_same(keeping.run(all), expected, "a group");
    EXPECT_EQ(plain.statistics().rows - keeping.statistics().rows, 7 * 149);
    EXPECT_EQ(keeping.statistics().prefix_waits, 7);
  }
}

// What one reads that another reads now, and parts from it in the middle of a block.
TEST(Prefix, WhoPartsFromAPromptBeingReadWaitsForThatPlace) {
  Model model(windowed(70));
  GeneratorOptions o{.sequences_max = 4,
                     .context_tokens_max = 512,
                     .batch_rows_max = 40,
                     .chunk_tokens_max = 40,
                     .prefix = {.keep = true, .bytes_max = 1 << 20}};
  Generator generator(model.weights, o, model.stream);
  GenerationRequest a{.prompt = std::vector<int32_t>(400, 3), .new_tokens_max = 2}, b = a, c = a;
  b.prompt.resize(275);
  b.prompt.push_back(9);
  c.prefix_salt = 1;
  const int64_t first = generator.submit(a), second = generator.submit(b),
                other = generator.submit(c);
  while (generator.step()) {
  }
  EXPECT_EQ(generator.take(first).cached_tokens, 0);
  EXPECT_EQ(generator.take(second).cached_tokens, 275);
  EXPECT_EQ(generator.take(other).cached_tokens, 0);
  // Nobody reads it now: from the snapshot before the last token, and where the first two parted.
  const auto again = [&](int64_t length) {
    GenerationRequest r = a;
    r.prompt.resize(static_cast<size_t>(length));
    r.prompt.push_back(11);
    const int64_t id = generator.submit(r);
    while (generator.step()) {
    }
    return generator.take(id).cached_tokens;
  };
  EXPECT_EQ(again(400), 399);
  EXPECT_EQ(again(300), 275);
  EXPECT_EQ(again(300), 300);  // The last one left a snapshot where it parted.
}

}  // namespace
}  // namespace dure
