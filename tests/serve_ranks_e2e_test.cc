// `mpirun dure serve MODEL`: completions of one process, by type of the weights, with drafts; what
// it tells of itself; a rank that dies, a signal, and what ranks cannot share.
#include <map>

#include "base/json.h"
#include "served.h"
#include "served_by_ranks.h"
#include "tiny_model.h"

namespace dure {
namespace {

class ServeRanks : public TinyModel {
 protected:
  void SetUp() override {
    if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed (openmpi-bin)";
  }
  // Texts of some completions, sampled and greedy, one with a prompt's log-probabilities.
  template <typename Server>
  static std::string completions(const Server& server) {
    std::string out;
    for (const char* body :
         {R"({"prompt": "the village", "max_tokens": 30, "seed": 4, "logprobs": 2})",
          R"({"prompt": "shares its work", "max_tokens": 20, "temperature": 0})",
          R"({"prompt": "마을 12", "max_tokens": 5, "echo": true, "logprobs": 1, "seed": 1})"}) {
      const HttpAnswer answer = server.post("/v1/completions", body);
      EXPECT_EQ(answer.status, 200) << answer.body;
      out += parse_json(answer.body, "answer").at("choices").dump() + "\n";
    }
    return out;
  }
};

TEST_F(ServeRanks, AnswersAreThoseOfOneProcessAndASignalDrains) {
  ASSERT_EQ(run_program("quantize " + at("model") + " " + at("q8.gguf") + " q8_0").code, 0);
  for (const auto& [model, flags] :
       std::map<std::string, std::string>{{at("model"), "--draft 2 --arithmetic bf16"},
                                          {at("q8.gguf"), "--draft 2 --drafter ngram"}}) {
    std::string alone;
    {
      const Served one(model, flags);
      alone = completions(one);
    }
    ServedByRanks two(model, flags);
    ASSERT_GT(two.port(), 0) << two.wait().output;
    EXPECT_EQ(completions(two), alone) << model;
    EXPECT_EQ(parse_json(two.get("/health").body, "health").at("ranks"), Json(2));
    const std::string metrics = two.get("/metrics").body;
    for (const char* name : {"dure_ranks", "dure_rank_sent_bytes_total",
                             "dure_rank_received_bytes_total", "dure_rank_wait_seconds_total"})
      EXPECT_NE(metrics.find(std::string("\n") + name + "{"), std::string::npos) << name;
    // To a rank that only computes: the first one ends all in order.
    two.signal(1, SIGTERM);
    const Launched ended = two.wait();
    EXPECT_EQ(ended.code, 0) << ended.output;
    EXPECT_NE(ended.output.find("of weights: experts 2 to 3"), std::string::npos) << ended.output;
  }
}

// An answer that takes minutes, were it let.
TEST_F(ServeRanks, ARankThatDiesEndsTheServiceWithItsName) {
  copy_with_context("long", 65536);
  for (const int victim : {1, 0}) {
    ServedByRanks two(at("long"), "--max-sequences 1");
    ASSERT_GT(two.port(), 0);
    HttpAnswer answer;
    std::thread asking([&] {
      try {
        answer = two.post("/v1/completions",
                          R"({"prompt": "the", "max_tokens": 60000, "ignore_eos": true})");
      } catch (const std::exception&) {  // Cut: the first rank was killed.
      }
    });
    while (two.get("/metrics").body.find("dure_rank_sent_bytes_total") == std::string::npos)
      ::usleep(1000);
    ::usleep(50000);
    two.signal(victim, SIGKILL);
    asking.join();
    const Launched ended = two.wait();
    EXPECT_NE(ended.code, 0);
    EXPECT_NE(ended.output.find(fmt::format("dure: rank {} (", victim)), std::string::npos)
        << ended.output;
    EXPECT_LT(ended.seconds, 60);
    if (victim == 0) continue;
    EXPECT_EQ(answer.status, 503) << answer.body;
    EXPECT_NE(answer.body.find("rank 1 ("), std::string::npos) << answer.body;
  }
}

TEST_F(ServeRanks, WhatRanksCannotShareIsOneLine) {
  const auto refused = [&](int ranks, const std::string& arguments, const std::string& part) {
    const Launched ended =
        end_of(fmt::format("{} '{}' serve {}", mpirun(ranks), DURE_BINARY, arguments));
    EXPECT_EQ(ended.code, 2) << ended.output;
    EXPECT_EQ(ended.lines(), 1) << ended.output;
    EXPECT_NE(ended.output.find(part), std::string::npos) << ended.output;
  };
  refused(3, at("model") + " --port 0", "experts, which 3 ranks cannot share evenly");
  refused(2, at("nothing") + " --port 0", "no such file or folder");
}

}  // namespace
}  // namespace dure
