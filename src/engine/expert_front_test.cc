// A model over ranks is the model: tokens and log-probabilities bit for bit, by family, with
// drafts, prefixes, adapters and scores beside; what is sent is the arithmetic; a rank that is lost
// ends requests with its name.
#include "engine/expert_front.h"

#include <atomic>
#include <thread>

#include "comm/faulty_transport.h"
#include "comm/thread_transport.h"
#include "engine/engine_fixture.h"
#include "engine/scorer.h"

namespace dure {
namespace {

using namespace testing_engine;

// What rank r of n holds: views of the same memory.
ModelWeights part_of(const Model& whole, int64_t rank, int64_t ranks) {
  CpuStream stream(1);
  ModelWeights out = bind_weights(whole.parameters, stream);
  const auto cut = [&](auto& layer, const LayerFacts& facts) {
    if (!facts.sparse) return;
    const int64_t each = facts.experts.count / ranks, begin = rank * each;
    for (WeightView* w : {&layer.expert_gate, &layer.expert_up, &layer.expert_down})
      w->data = w->data.rows(begin, each);
    for (ConstTensorView* b :
         {&layer.expert_gate_bias, &layer.expert_up_bias, &layer.expert_down_bias})
      if (*b) *b = b->rows(begin, each);
    if (rank > 0) layer.router = {};  // It is the first one's.
  };
  for (int64_t i = 0; i < whole.config.layer_count(); ++i)
    cut(out.layers[static_cast<size_t>(i)], whole.config.layer(i));
  if (whole.config.mtp_layer_count > 0) cut(out.mtp.layer, whole.config.mtp_layer);
  return out;
}

constexpr GeneratorOptions kBase{
    .sequences_max = 8, .context_tokens_max = 256, .batch_rows_max = 48, .chunk_tokens_max = 20};

// work(weights, front) on the first of `ranks`, the others computing for it.
void over_ranks(Model& model, int ranks,
                const std::function<void(const ModelWeights&, ExpertFront&)>& work) {
  run_ranks(ranks, [&](Group& group) {
    if (!group.is_first()) {
      CpuStream stream(1);
      return serve_experts(group, part_of(model, group.rank(), ranks), 20, stream);
    }
    ModelWeights weights = part_of(model, 0, ranks);
    ExpertFront front(group, weights.config, {.rows_max = kBase.batch_rows_max, .limit_s = 20},
                      Device::kCpu);
    weights.experts = &front;
    work(weights, front);
    front.end();
  });
}

void expect_as_alone(Model& model, const GeneratorOptions& options) {
  const auto all = requests(14);
  const auto alone = Generator(model.weights, options, model.stream).run(all);
  for (const int ranks : {2, 4}) {
    over_ranks(model, ranks, [&](const ModelWeights& weights, ExpertFront& front) {
      expect_same(Generator(weights, options, model.stream).run(all), alone,
                  fmt::format("{} ranks", ranks).c_str());
      EXPECT_GT(front.statistics().rows_away, 0);
    });
  }
}

TEST(ExpertFront, EveryFamilyHasItsBits) {
  for (const ModelConfig& config : {tiny_config(), tiny_gptoss(), tiny_qwen3()}) {
    Model model(config);
    expect_as_alone(model, kBase);
  }
}

TEST(ExpertFront, DraftsAndPrefixesKeepThem) {
  ModelConfig config = tiny_config();
  config.mtp_layer_count = 1;
  Model model(config);
  GeneratorOptions options = kBase;
  options.draft_tokens_max = 2;
  options.prefix = {.keep = true};
  expect_as_alone(model, options);
}

// Whatever else asks: a scorer of its own thread takes turns with the engine.
TEST(ExpertFront, PassesOfTwoThreadsTakeTurns) {
  Model model;
  const auto all = requests(10);
  const auto alone = Generator(model.weights, kBase, model.stream).run(all);
  std::vector<int32_t> text(40, 3);
  const auto score = [&](const ModelWeights& weights) {
    CpuStream stream(1);
    Scorer scorer(weights, {.sequence_tokens_max = 64, .chunk_tokens = 16, .sequences_max = 2},
                  stream);
    std::vector<float> out;
    const std::span<const int32_t> ids = text;
    scorer.score({&ids, 1}, [&](const ScoredRows& rows) {
      out.insert(out.end(), rows.log_probability.begin(), rows.log_probability.end());
    });
    return out;
  };
  const auto scores = score(model.weights);
  over_ranks(model, 2, [&](const ModelWeights& weights, ExpertFront&) {
    std::thread beside([&] {
      for (int i = 0; i < 3; ++i) EXPECT_EQ(score(weights), scores);
    });
    expect_same(Generator(weights, kBase, model.stream).run(all), alone, "beside a scorer");
    beside.join();
  });
}

// An order of 4 x (2 + C) bytes and D floats a row go out, D floats a row come back.
TEST(ExpertFront, WhatIsSentIsTheArithmetic) {
  Model model;
  over_ranks(model, 2, [&](const ModelWeights& weights, ExpertFront& front) {
    Generator(weights, kBase, model.stream).run(requests(5));
    const ExpertStatistics s = front.statistics();
    const int64_t row_bytes = s.rows_away * model.config.hidden_size * 4;
    EXPECT_EQ(s.received_bytes, row_bytes);
    const int64_t orders = s.sent_bytes - row_bytes, each = 4 * (2 + 8 / 2);
    EXPECT_EQ(orders % each, 0);
    EXPECT_GT(orders, 0);
    EXPECT_LE(orders, s.layers * each);
    EXPECT_EQ(s.ranks, 2);
  });
}

TEST(ExpertFront, ALostRankEndsRequestsWithItsName) {
  Model model;
  struct Killed {};
  ThreadWorld world(4);
  std::vector<std::thread> others;
  for (int r = 1; r < 4; ++r) {
    others.emplace_back([&, r] {
      FaultyTransport transport(
          world.transport(r),
          r == 2 ? Fault{.kind = Fault::Kind::kKill, .at = 30, .kill = [] { throw Killed(); }}
                 : Fault{});
      Group group(transport, {0, 1, 2, 3}, 0, 20);
      CpuStream stream(1);
      try {
        serve_experts(group, part_of(model, r, 4), 20, stream);
      } catch (const Killed&) {
        world.set_dead(r);
      } catch (const RankFailure&) {
      }
    });
  }
  ModelConfig config = model.config;
  Group group(world.transport(0), {0, 1, 2, 3}, 0, 20);
  std::atomic<int> told = 0;
  ModelWeights weights = part_of(model, 0, 4);
  ExpertFront front(group, config, {.rows_max = kBase.batch_rows_max, .limit_s = 20}, Device::kCpu,
                    [&](std::exception_ptr) { ++told; });
  weights.experts = &front;
  Generator generator(weights, kBase, model.stream);
  for (int i = 0; i < 2; ++i) {
    try {
      generator.run(requests(6));
      ADD_FAILURE() << "it ended";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnavailable);
      EXPECT_NE(std::string(error.what()).find("rank 2 (thread 2) died"), std::string::npos)
          << error.what();
    }
  }
  EXPECT_EQ(told, 1);
  world.set_dead(0);  // The others wait for it.
  for (std::thread& other : others) other.join();
}

TEST(ExpertFront, ExpertsThatDoNotDivideAreRefused) {
  const auto message = [](const ModelConfig& config, int64_t ranks) -> std::string {
    try {
      check_expert_parts(config, ranks, "here");
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
  };
  ModelConfig dense = tiny_config();
  for (LayerFacts& layer : dense.layers) layer.sparse = false;
  EXPECT_EQ(message(tiny_config(), 4), "");
  EXPECT_NE(message(tiny_config(), 3).find("8 experts, which 3 ranks cannot share evenly"),
            std::string::npos);
  EXPECT_NE(message(dense, 2).find("no routed experts"), std::string::npos);
}

}  // namespace
}  // namespace dure
