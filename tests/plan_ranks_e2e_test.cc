// `dure plan --ranks` of serving beside `mpirun dure serve`: what each rank holds in memory, and
// the bytes that its counters say, on a model whose tokens choose all experts, so that routing is
// even.
#include <array>

#include "base/json.h"
#include "formats/config_fixture.h"
#include "model/load.h"
#include "program.h"
#include "served_by_ranks.h"
#include "tensor/cpu_stream.h"
#include "text/bpe_trainer.h"
#include "text/chat_template.h"

namespace dure {
namespace {

constexpr int64_t kSparseLayers = 7;

class PlanRanks : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TemporaryFolder();
    BpeTrainer trainer({.vocab_size = 400});
    for (int i = 0; i < 300; ++i) trainer.add("the village shares its work " + std::to_string(i));
    const Tokenizer tokenizer = trainer.train();
    ModelTexts texts;
    texts.tokenizer_json = tokenizer.to_json();
    texts.tokenizer_config = tokenizer.to_config_json().dump();
    texts.chat_template = std::string(released_chat_template(ChatFormat::kK1));
    ModelConfig c;
    c.vocab_size = tokenizer.vocab_size();
    c.hidden_size = 256;
    c.head_count = 8;
    c.kv_head_count = 2;
    c.head_width = 32;
    c.eos_tokens = {*tokenizer.eos_id()};
    set_layers(
        c, 1 + kSparseLayers, 128,
        {.dense_width = 700,
         .experts = {.count = 8, .per_token = 8, .width = 256, .shared_count = 1, .scale = 2.5}});
    c.context_tokens = 4096;
    Parameters parameters(c);
    CpuStream stream(1);
    parameters.initialise(5, stream);
    write_hf_folder(model(), c, texts, *provide(parameters));
  }
  static void TearDownTestSuite() { delete folder_; }
  void SetUp() override {
    if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed (openmpi-bin)";
  }
  static std::string model() { return (folder_->path() / "even").string(); }
  static Json plan(const std::string& flags) {
    const Outcome outcome =
        run_program("plan " + model() + " --flops 1e10 --memory-rate 1e10 --json " + flags);
    EXPECT_EQ(outcome.code, 0) << outcome.error;
    return parse_json(outcome.out, "dure plan");
  }

  inline static TemporaryFolder* folder_ = nullptr;
};

// Of a rank in the plan, less the pages of files.
int64_t allocated(const Json& rank) {
  return rank.at("total_bytes").as_int() - rank.at("mapped_bytes").as_int();
}

// What a process has whatever it serves (the program, MPI, stacks) is the same of two servers: what
// one with more sequences holds beyond one with few is the plan's difference, within 1 %. Mapped
// pages are the plan's, and at both ends of each layer's experts up to 64 KiB that the system maps
// around a page that is touched.
TEST_F(PlanRanks, MemoryIsWhatRanksHold) {
  const auto flags = [](int64_t sequences, const char* context) {
    return fmt::format(" --preload yes --arithmetic exact --max-sequences {} --context {}",
                       sequences, context);
  };
  const Json small = plan("--ranks expert=2 --sequences 1 --context 64"),
             large = plan("--ranks expert=2 --sequences 2048 --context 256");
  std::array<int64_t, 2> before{}, after{};
  {
    const ServedByRanks few(model(), flags(1, "64"));
    ASSERT_GT(few.port(), 0);
    for (int r = 0; r < 2; ++r) before[static_cast<size_t>(r)] = few.data_bytes(r);
  }
  const ServedByRanks many(model(), flags(2048, "256"));
  ASSERT_GT(many.port(), 0);
  for (int r = 0; r < 2; ++r) {
    const char* name = r == 0 ? "first_rank" : "other_rank";
    after[static_cast<size_t>(r)] = many.data_bytes(r);
    const int64_t planned = allocated(large.at(name)) - allocated(small.at(name)),
                  real = after[static_cast<size_t>(r)] - before[static_cast<size_t>(r)];
    std::printf("rank %d: planned %+lld, really %+lld\n", r, static_cast<long long>(planned),
                static_cast<long long>(real));
    EXPECT_NEAR(static_cast<double>(real), static_cast<double>(planned),
                0.01 * static_cast<double>(planned))
        << name;
    const int64_t mapped = large.at(name).at("mapped_bytes").as_int(),
                  pages = many.mapped_bytes(r, model());
    std::printf("rank %d: planned %lld mapped, really %lld\n", r, static_cast<long long>(mapped),
                static_cast<long long>(pages));
    EXPECT_GE(pages, mapped) << name;
    EXPECT_LE(pages, mapped + mapped / 100 + kSparseLayers * 2 * (64 << 10)) << name;
  }
}

TEST_F(PlanRanks, BytesAreWhatTheCountersSay) {
  const ServedByRanks two(model(), "--arithmetic exact");
  ASSERT_GT(two.port(), 0);
  const auto ask = [&](int64_t tokens) {
    std::string ids;
    for (int64_t i = 0; i < tokens; ++i) ids += fmt::format("{}{}", i > 0 ? "," : "", i % 50 + 60);
    const HttpAnswer answer =
        two.post("/v1/completions",
                 fmt::format(R"({{"prompt": [{}], "max_tokens": 5, "ignore_eos": true}})", ids));
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(parse_json(answer.body, "answer").at("usage").at("completion_tokens").as_int(), 5);
  };
  const auto counters = [&] {
    return std::array{
        two.metric("dure_rank_expert_rows_total"), two.metric("dure_rank_expert_rows_away_total"),
        two.metric("dure_rank_sent_bytes_total"), two.metric("dure_rank_received_bytes_total")};
  };
  ask(600);  // Passes of 256, 256 and 88 tokens; the prompt gives the first of five.
  const std::array is = counters();
  const Json planned = plan("--ranks expert=2 --tokens 600");
  const auto of = [&](const char* field) {
    return planned.at("prompt").at(field).as_double() +
           4 * planned.at("token").at(field).as_double();
  };
  EXPECT_EQ(is[0], of("expert_rows"));
  EXPECT_EQ(is[1], of("expert_rows_away"));
  EXPECT_EQ(is[2], of("sent_bytes"));
  EXPECT_EQ(is[3], of("received_bytes"));
  EXPECT_EQ(of("orders"), 7 * kSparseLayers);
}

}  // namespace
}  // namespace dure
