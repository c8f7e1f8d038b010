// Drafts change nothing but the speed: tokens and log-probabilities bit for bit, greedy or sampled,
// by any drafter, at any length, fixed or measured, in any company, with masks, penalties, stop
// tokens, rings, pages and prefixes.
#include "engine/speculation.h"

#include <cmath>
#include <map>
#include <string>

#include "base/error.h"
#include "engine/engine_fixture.h"

namespace dure {
namespace {

using namespace testing_engine;

// A model whose MTP layer is right at times: attention and feed-forward add little to the residual
// stream (`mixing`), so the next token follows from the newest one, which the MTP layer reads
// through an fc that passes the embedding on. With mixing 0 it is always right (greedy).
struct DraftingModel : Model {
  DraftingModel(double mixing, int64_t mtp_window, int threads = 1, int64_t vocabulary = 97)
      : Model(config_with(mtp_window, vocabulary), threads) {
    for (const Parameter& p : parameters.list()) {
      const bool adds = p.name.ends_with("o_proj.weight") || p.name.ends_with("down_proj.weight");
      for (int64_t i = 0; adds && i < p.view.elements(); ++i)
        p.view.f32()[i] *= static_cast<float>(mixing);
    }
    const TensorView fc = parameters.at("mtp.fc.weight").view;
    for (int64_t n = 0; n < fc.dim(0); ++n) {
      for (int64_t k = 0; k < fc.dim(1); ++k)
        fc.f32()[n * fc.dim(1) + k] *= static_cast<float>(mixing);
      fc.f32()[n * fc.dim(1) + n] += 1;
    }
  }
  static ModelConfig config_with(int64_t mtp_window, int64_t vocabulary) {
    ModelConfig c = tiny_config();
    c.vocab_size = vocabulary;
    c.mtp_layer_count = 1;
    c.mtp_layer =
        mtp_window > 0 ? sliding_layer(c.mtp_layer, mtp_window) : global_layer(c.mtp_layer);
    return c;
  }
};

std::vector<GenerationRequest> greedy_requests(int count) {
  std::vector<GenerationRequest> all = requests(count);
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].sampling.temperature = 0;
    if (i % 4 == 2) all[i].sampling.repetition_penalty = 1.3;
    if (i % 4 == 3) all[i].sampling.presence_penalty = 0.7;
    if (i % 5 != 4)
      all[i].stop_tokens.clear();
    else
      all[i].stop_tokens = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
  }
  return all;
}

constexpr GeneratorOptions kBase{
    .sequences_max = 16, .context_tokens_max = 256, .batch_rows_max = 64, .chunk_tokens_max = 64};

GeneratorOptions drafting(int64_t drafts) {
  GeneratorOptions o = kBase;
  o.draft_tokens_max = drafts;
  o.batch_rows_max = std::max<int64_t>(64, o.sequences_max * (1 + drafts));
  return o;
}

TEST(Speculation, GreedyIsPlainGreedyAtAnyLength) {
  for (const int64_t mtp_window : {0, 4}) {
    for (const double mixing : {0.0, 0.03, 1.0}) {
      DraftingModel model(mixing, mtp_window);
      const auto plain = Generator(model.weights, kBase, model.stream).run(greedy_requests(20));
      for (const int64_t drafts : {1, 2, 5, 66}) {
        if (drafts == 66 && mixing > 0) continue;
        Generator generator(model.weights, drafting(drafts), model.stream);
        expect_same(generator.run(greedy_requests(20)), plain, "greedy with drafts");
        const auto [drafted, accepted] = generator.draft_counts();
        ASSERT_GT(drafted, 200);
        const double rate = static_cast<double>(accepted) / static_cast<double>(drafted);
        std::printf("mixing %.2f, mtp window %lld, %lld drafts: %.3f accepted\n", mixing,
                    static_cast<long long>(mtp_window), static_cast<long long>(drafts), rate);
        if (mixing == 0) {
          EXPECT_GT(rate, drafts < 6 ? 0.6 : 0.1);  // penalties disagree at times
        } else if (mixing == 1) {
          EXPECT_LT(rate, 0.5);
        } else if (drafts < 6) {
          EXPECT_TRUE(rate > 0.02 && rate < 0.98) << rate;
        }
      }
    }
  }
}

// Many rejections across every place of the rings' blocks, with the smallest ring there can be.
TEST(Speculation, SmallestRingsForgetNothingVisible) {
  DraftingModel model(0.03, 4);
  GeneratorOptions plain_options = kBase;
  const auto plain = Generator(model.weights, plain_options, model.stream).run(greedy_requests(24));
  for (const int64_t drafts : {1, 3, 58, 61}) {  // 58: W - 1 + M just below a block
    GeneratorOptions o = drafting(drafts);
    o.chunk_tokens_max = 1;
    expect_same(Generator(model.weights, o, model.stream).run(greedy_requests(24)), plain, "rings");
  }
}

// Which tokens may come depends on the one before, and on the place; at times only one.
class ChainMask : public TokenMask {
 public:
  std::span<const uint64_t> allowed(std::span<const int32_t> generated) override {
    words_.assign(2, 0);
    const int32_t before = generated.empty() ? 3 : generated.back();
    for (int32_t t = 0; t < 97; ++t) {
      const bool fits =
          generated.size() % 7 == 6 ? t == (before * 5 + 1) % 97 : (before + 2 * t) % 3 != 0;
      if (fits) words_[static_cast<size_t>(t / 64)] |= uint64_t{1} << (t % 64);
    }
    return words_;
  }

 private:
  std::vector<uint64_t> words_;
};

// Sampled and greedy, filtered, penalised, masked, with stop tokens, a least length, likeliest
// tokens, and prompts that begin alike.
std::vector<GenerationRequest> all_kinds(int count) {
  std::vector<GenerationRequest> all = requests(count);
  for (size_t i = 0; i < all.size(); ++i) {
    GenerationRequest& r = all[i];
    if (i % 5 == 0) r.sampling.temperature = 0;
    if (i % 5 == 1) r.sampling.temperature = 0.1;  // Loops soon, at times not for ever.
    if (i % 5 == 2) r.sampling.temperature = 0.5;
    if (i % 4 == 1) r.sampling.repetition_penalty = 1.3;
    if (i % 4 == 2) r.sampling.presence_penalty = 0.5;
    if (i % 7 == 3) r.sampling.top_k = 5;
    if (i % 3 == 2) r.mask = std::make_shared<ChainMask>();
    if (i % 4 == 3) r.new_tokens_min = r.new_tokens_max / 2;
    if (i % 6 == 1) r.top_count = 2;
    if (i % 2 == 1 && r.prompt.size() < 100) {
      const std::vector<int32_t>& shared = all[0].prompt;
      r.prompt.insert(r.prompt.begin(), shared.begin(),
                      shared.begin() + std::min<int64_t>(60, std::ssize(shared)));
    }
  }
  return all;
}

struct Way {
  DrafterChoice drafter = DrafterChoice::kMtp;
  DraftLength length = DraftLength::kFixed;
  int64_t drafts = 0;
  std::string name() const {
    return fmt::format("{} {} {}", name_of(drafter),
                       length == DraftLength::kFixed ? "fixed" : "measured", drafts);
  }
};

std::vector<Way> all_ways() {
  std::vector<Way> ways;
  for (const DrafterChoice drafter :
       {DrafterChoice::kMtp, DrafterChoice::kNgram, DrafterChoice::kAuto}) {
    for (const int64_t drafts : {1, 2, 3, 4})
      ways.push_back({drafter, DraftLength::kFixed, drafts});
    ways.push_back({drafter, DraftLength::kMeasured, 8});
  }
  return ways;
}

TEST(Speculation, TokensDependOnTheRequestAndItsSeedAlone) {
  DraftingModel model(0.03, 4);
  const auto plain = Generator(model.weights, kBase, model.stream).run(all_kinds(40));
  for (const Way& way : all_ways()) {
    for (const bool crowded : {false, true}) {
      GeneratorOptions o = drafting(way.drafts);
      o.drafter = way.drafter;
      o.draft_length = way.length;
      o.context_tokens_max = 320;
      if (crowded) {
        o.sequences_max = 5;
        o.batch_rows_max = 5 * (1 + way.drafts) + 3;
        o.chunk_tokens_max = 13;
        o.page_count = 9;
        o.prefix = {.keep = true, .bytes_max = 1 << 20, .stride_tokens = 64, .tokens_min = 2};
      }
      Generator generator(model.weights, o, model.stream);
      const auto got = generator.run(all_kinds(40));
      expect_same(got, plain, way.name().c_str());
      const GeneratorStatistics s = generator.statistics();
      EXPECT_EQ(s.pages_used, 0);
      int64_t drafted = 0, accepted = 0;
      for (const Generation& g : got) {
        drafted += g.drafted;
        accepted += g.accepted;
      }
      EXPECT_EQ(drafted, s.drafted);
      EXPECT_EQ(accepted, s.accepted);
      std::printf(
          "%-18s %s: %4lld of %5lld drafts stood (mtp %lld of %lld), %lld preemptions\n",
          way.name().c_str(), crowded ? "crowded" : "roomy  ", static_cast<long long>(accepted),
          static_cast<long long>(drafted), static_cast<long long>(s.drafts.mtp.accepted),
          static_cast<long long>(s.drafts.mtp.drafted), static_cast<long long>(s.preemptions));
      EXPECT_GT(accepted, way.length == DraftLength::kFixed ? 5 : -1) << way.name();
      EXPECT_EQ(s.drafts.ngram.drafted > 0, way.drafter != DrafterChoice::kMtp);
      if (way.length == DraftLength::kFixed && way.drafter != DrafterChoice::kNgram)
        EXPECT_GT(s.drafted, 500) << "the MTP layer drafts where n-grams have none";
    }
  }
}

// N-grams need no MTP layer, nor do they make one run.
TEST(Speculation, NgramsServeAModelWithoutMtp) {
  Model model;
  const auto plain = Generator(model.weights, kBase, model.stream).run(all_kinds(24));
  for (const DrafterChoice drafter : {DrafterChoice::kNgram, DrafterChoice::kAuto}) {
    GeneratorOptions o = drafting(3);
    o.context_tokens_max = 320;
    o.drafter = drafter;
    o.prefix = {.keep = true, .bytes_max = 1 << 20, .stride_tokens = 64, .tokens_min = 2};
    Generator generator(model.weights, o, model.stream);
    expect_same(generator.run(all_kinds(24)), plain, "n-grams");
    expect_same(generator.run(all_kinds(24)), plain, "n-grams, prefixes kept");
    EXPECT_GT(generator.statistics().drafts.ngram.accepted, 5);
    EXPECT_GT(generator.statistics().prefix_hits, 5);
    GeneratorOptions none = kBase;
    none.context_tokens_max = 320;
    none.batch_rows_max = o.batch_rows_max;
    none.prefix = o.prefix;
    EXPECT_LE(kv_cache_plan(model.config, kv_cache_options(o)).total_bytes(),
              kv_cache_plan(model.config, kv_cache_options(none)).total_bytes());
  }
}

// A loop is drafted whole, however long the drafts are, and drafts end with the answer.
TEST(Speculation, NgramsFollowALoop) {
  DraftingModel model(0, 0);  // The next token follows from the newest: greedy answers loop.
  GeneratorOptions o = drafting(12);
  o.sequences_max = 1;
  o.drafter = DrafterChoice::kNgram;
  Generator generator(model.weights, o, model.stream);
  GenerationRequest request{.prompt = {1, 2, 3}, .new_tokens_max = 200};
  request.sampling.temperature = 0;
  const Generation got = generator.run({request})[0];
  EXPECT_EQ(got.tokens.size(), 200u);
  EXPECT_GT(got.accepted, got.drafted * 9 / 10);
  EXPECT_LT(generator.statistics().steps, 120);
  const DraftStatistics d = generator.statistics().drafts;
  EXPECT_EQ(d.ngram.drafted, got.drafted);
  EXPECT_EQ(d.accepted_at[0] + d.accepted_at[5] > 0, true);
  EXPECT_GE(d.accepted_at[0], d.accepted_at[11]);
  int64_t drafted = 0, accepted = 0, tokens = 0;
  for (size_t i = 0; i < d.drafted_at.size(); ++i) {
    drafted += d.drafted_at[i];
    accepted += d.accepted_at[i];
    tokens += d.lengths[i];
  }
  EXPECT_EQ(drafted, got.drafted);
  EXPECT_EQ(accepted, got.accepted);
  EXPECT_EQ(tokens + accepted, 199)
      << "each checked token came with its drafts; the first with none";
  EXPECT_GT(d.pass_s[12], 0);
}

TEST(Speculation, SeededDrawsDependOnNothingElse) {
  DraftingModel model(0.03, 0);
  const auto reference = Generator(model.weights, drafting(3), model.stream).run(requests(20));
  GeneratorOptions small = drafting(3);
  small.sequences_max = 2;
  small.batch_rows_max = 8;
  small.chunk_tokens_max = 5;
  small.page_count = 9;
  expect_same(Generator(model.weights, small, model.stream).run(requests(20)), reference,
              "two at a time, small chunks, few pages");
  DraftingModel two_threads(0.03, 0, 2);
  expect_same(Generator(two_threads.weights, drafting(3), two_threads.stream).run(requests(20)),
              reference, "two threads");
}

TEST(Speculation, LogProbabilitiesAreTheTrainersOwn) {
  DraftingModel model(0.03, 0);
  const auto all = requests(8);
  const auto generated = Generator(model.weights, drafting(4), model.stream).run(all);
  expect_trainer_log_probabilities(model, all, generated);
}

TEST(Speculation, RefusesAModelWithoutMtp) {
  Model model;
  EXPECT_THROW(Generator(model.weights, drafting(1), model.stream), Error);
}

TEST(Speculation, CancelledAndFinishedSequencesLeaveNothing) {
  DraftingModel model(0.03, 0);
  Generator generator(model.weights, drafting(3), model.stream);
  const auto all = greedy_requests(20);
  std::vector<int64_t> ids;
  for (const auto& r : all) ids.push_back(generator.submit(r));
  for (int i = 0; i < 9; ++i) generator.step();
  generator.cancel(ids[0]);
  generator.cancel(ids[19]);
  while (generator.step()) {
  }
  const auto plain = Generator(model.weights, kBase, model.stream).run(all);
  for (size_t i = 1; i < 19; ++i) EXPECT_EQ(generator.take(ids[i]).tokens, plain[i].tokens) << i;
  EXPECT_EQ(generator.running_count(), 0);
}

constexpr size_t kLength = 5;  // of a continuation: one plain token, then up to four drafted

// All continuations with their exact probabilities under `sampling`.
class ExactTree {
 public:
  ExactTree(DraftingModel& model, const std::vector<int32_t>& prompt,
            const SamplingOptions& sampling)
      : model_(model), sampling_(sampling) {
    grow(prompt, prompt.size(), 1);
  }
  std::map<std::vector<int32_t>, double> probability;

 private:
  void grow(const std::vector<int32_t>& tokens, size_t prompt, double p) {
    if (tokens.size() == prompt + kLength) {
      probability[{tokens.begin() + static_cast<int64_t>(prompt), tokens.end()}] = p;
      return;
    }
    TrainPass pass(model_.config, {.rows_max = static_cast<int64_t>(tokens.size())});
    const std::vector<int32_t> targets(tokens.size(), kIgnore);
    const std::vector<int64_t> lengths = {static_cast<int64_t>(tokens.size())};
    pass.forward(model_.weights, {.ids = tokens, .targets = targets, .document_lengths = lengths},
                 model_.stream);
    const TensorView hidden = pass.activations().hidden().rows(lengths[0] - 1, 1);
    std::vector<float> logits(static_cast<size_t>(model_.config.vocab_size));
    head_logits(model_.weights, hidden,
                {logits.data(), {1, model_.config.vocab_size}, DType::kF32, Device::kCpu},
                model_.stream);
    Sampler sampler;
    const TokenCounts seen({}, std::span(tokens).subspan(prompt));
    const auto kept = sampler.distribution(sampling_, logits, {.seen = &seen});
    for (const TokenProbability& t : std::vector<TokenProbability>(kept.begin(), kept.end())) {
      std::vector<int32_t> longer = tokens;
      longer.push_back(t.token);
      grow(longer, prompt, p * t.probability);
    }
  }
  DraftingModel& model_;
  SamplingOptions sampling_;
};

// Chi-square of counts against probabilities, cells below five expected put together, as deviations
// from its mean in its own standard deviation.
double chi_square_sigmas(const std::map<std::vector<int32_t>, int>& counts, int draws,
                         const std::map<std::vector<int32_t>, double>& probability) {
  double sum = 0, rest_expected = 0, rest_counted = 0;
  int cells = 0, counted = 0;
  const auto add = [&](double expected, double seen) {
    sum += (seen - expected) * (seen - expected) / expected;
    ++cells;
  };
  for (const auto& [tokens, p] : probability) {
    const auto it = counts.find(tokens);
    const int seen = it == counts.end() ? 0 : it->second;
    counted += seen;
    if (p * draws < 5) {
      rest_expected += p * draws;
      rest_counted += seen;
    } else {
      add(p * draws, seen);
    }
  }
  EXPECT_EQ(counted, draws) << "tokens outside the distribution were drawn";
  if (rest_expected > 0) add(std::max(rest_expected, 1.0), rest_counted);
  return (sum - (cells - 1)) / std::sqrt(2.0 * (cells - 1));
}

TEST(Speculation, SampledTokensFollowTheModelsDistribution) {
  DraftingModel model(0.4, 0, 1, 4);
  const std::vector<int32_t> prompt = {1, 3, 2, 2, 0};
  const std::vector<SamplingOptions> settings = {
      {.temperature = 1.0},
      {.temperature = 0.7, .top_p = 0.8},
      {.temperature = 1.3, .top_k = 3, .min_p = 0.05, .presence_penalty = 0.8}};
  constexpr int kDraws = 6000;
  for (SamplingOptions sampling : settings) {
    sampling.seed = 2024;
    const ExactTree exact(model, prompt, sampling);
    SamplingOptions other = sampling;
    other.temperature *= 1.25;
    const ExactTree wrong(model, prompt, other);
    for (const int64_t drafts : {1, 2, 4}) {
      GeneratorOptions o = drafting(drafts);
      o.sequences_max = 64;
      o.batch_rows_max = 64 * (1 + drafts);
      o.context_tokens_max = 10;
      Generator generator(model.weights, o, model.stream);
      std::vector<GenerationRequest> all;
      for (int i = 0; i < kDraws; ++i) {
        all.push_back({.prompt = prompt,
                       .sampling = sampling,
                       .new_tokens_max = kLength,
                       .stream = static_cast<uint64_t>(i)});
      }
      std::map<std::vector<int32_t>, int> counts;
      for (const Generation& g : generator.run(std::move(all))) ++counts[g.tokens];
      const double sigmas = chi_square_sigmas(counts, kDraws, exact.probability);
      const auto [drafted, accepted] = generator.draft_counts();
      std::printf(
          "%lld drafts, temperature %.1f: %zu cells, chi-square %+.2f sigma, %.2f accepted\n",
          static_cast<long long>(drafts), sampling.temperature, exact.probability.size(), sigmas,
          static_cast<double>(accepted) / static_cast<double>(drafted));
      EXPECT_LT(std::abs(sigmas), 4.5);
      EXPECT_TRUE(accepted > drafted / 20 && accepted < drafted * 9 / 10);
      EXPECT_GT(chi_square_sigmas(counts, kDraws, wrong.probability), 6) << "the test has no power";
    }
  }
}

}  // namespace
}  // namespace dure
