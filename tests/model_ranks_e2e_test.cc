// `mpirun dure generate` and `mpirun dure bench`: the tokens of one process, and what a test sent.
#include <sstream>

#include "base/json.h"
#include "launched.h"
#include "tiny_model.h"

namespace dure {
namespace {

class ModelRanks : public TinyModel {
 protected:
  void SetUp() override {
    if (!has_mpirun()) GTEST_SKIP() << "mpirun is not installed (openmpi-bin)";
  }
  static Launched over(int ranks, const std::string& arguments) {
    return end_of(fmt::format("{} '{}' {}", mpirun(ranks), DURE_BINARY, arguments));
  }
  // The one line of JSON among what a launcher prints too.
  static Json line_of(const std::string& output) {
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with("{")) return parse_json(line, "output");
    ADD_FAILURE() << output;
    return Json::object();
  }
};

TEST_F(ModelRanks, GenerateSaysWhatOneProcessSays) {
  const std::string arguments =
      "generate " + at("model") + " -p 'the village' -n 20 --seed 3 --draft 2 --json";
  const Outcome alone = run_program(arguments);
  ASSERT_EQ(alone.code, 0) << alone.error;
  const Launched two = over(2, arguments);
  EXPECT_EQ(two.code, 0) << two.output;
  for (const char* field : {"text", "tokens", "logprobs"})
    EXPECT_EQ(line_of(two.output).at(field), parse_json(alone.out, "alone").at(field)) << field;
  const Launched three = over(3, arguments);
  EXPECT_EQ(three.code, 2);
  EXPECT_EQ(three.lines(), 1) << three.output;
  EXPECT_NE(three.output.find("which 3 ranks cannot share evenly"), std::string::npos)
      << three.output;
}

// A pass of 8 rows, then its uncounted turn: of four experts two a token.
TEST_F(ModelRanks, BenchCountsWhatTravels) {
  const Launched two =
      over(2, "bench " + at("model") + " -p 8 -n 0 -r 1 -o jsonl --arithmetic exact");
  ASSERT_EQ(two.code, 0) << two.output;
  const Json line = line_of(two.output);
  EXPECT_EQ(line.at("n_ranks").as_int(), 2);
  EXPECT_EQ(line.at("rank_expert_rows").as_int(), 2 * 8 * 2 * 3);  // three sparse layers
  const int64_t away = line.at("rank_expert_rows_away").as_int();
  EXPECT_GT(away, 0);
  EXPECT_EQ(line.at("rank_received_bytes").as_int(), away * 4 * 32);
  // An order has two words and one for each of two experts.
  const int64_t orders = line.at("rank_sent_bytes").as_int() - away * 4 * 32;
  EXPECT_EQ(orders % (4 * (2 + 2)), 0);
  EXPECT_LE(orders, 2 * 3 * 4 * (2 + 2));
}

}  // namespace
}  // namespace dure
