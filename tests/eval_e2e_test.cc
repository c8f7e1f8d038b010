// `dure eval` as a user runs it: the four files of a report, the fields that docs/evaluation.md
// names, and bad input.
#include <map>

#include "base/json.h"
#include "tiny_model.h"

namespace dure {
namespace {

class EvalVerb : public TinyModel {
 protected:
  static std::string suite() {
    write_file(at("suite.yaml"),
               "seed: 3\ntasks: {problems_per_cell: 1, new_tokens_max: 6, sample_count: 3}\n");
    return " --suite " + at("suite.yaml");
  }
};

TEST_F(EvalVerb, WritesWhatItsPageSays) {
  const std::string models = "eval first=" + at("model") + " second=" + at("model") + suite();
  const Outcome outcome = run_program(models + " --out " + at("report") + " --title 'A <b> & c'");
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_NE(outcome.out.find("first"), std::string::npos) << outcome.out;
  EXPECT_EQ(read_file(at("report") + "/report.txt"), outcome.out);
  const Json results = load_json(at("report") + "/results.json");
  ASSERT_EQ(results.size(), 2u);
  for (const Json& one : results.as_array()) {
    EXPECT_EQ(one.at("model").as_string(), at("model"));
    EXPECT_EQ(one.at("samples").size(), 3u);
    for (const char* field : {"task", "language", "prompt", "thinking", "content", "expected"})
      one.at("samples").at(size_t{0}).at(field).as_string();
    int64_t total = 0;
    for (const Json& cell : one.at("exact_match").as_array()) {
      total += cell.at("total").as_int();
      EXPECT_LE(cell.at("right").as_int(), cell.at("total").as_int());
    }
    EXPECT_EQ(total, 7 * 6);  // tasks, languages
    EXPECT_LE(one.at("mean_answer_tokens").as_double(), 6);
    EXPECT_GE(one.at("unfinished_share").as_double(), 0);
    one.at("greedy_exact_match").as_double();
  }
  // The same weights, the same seed: the same answers.
  Json first = results.at(size_t{0}), second = results.at(size_t{1});
  EXPECT_EQ(first.at("samples"), second.at("samples"));
  const std::string html = read_file(at("report") + "/report.html");
  EXPECT_NE(html.find("A &lt;b&gt; &amp; c"), std::string::npos);
  for (const char* outside : {"<script", "src=", "href=\"http", "@import", "url("})
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  EXPECT_NE(read_file(at("report") + "/report.md").find("| first |"), std::string::npos);
}

// Turns and thinking, each with each: the headline first, and the tables about it alone.
TEST_F(EvalVerb, MeasuresTurnsAndThinking) {
  const std::string more = " --set tasks.turns=[1,2] --set tasks.thinking=[on,off] --out ";
  const Outcome outcome = run_program("eval m=" + at("model") + suite() + more + at("settings"));
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  for (const char* row : {"single question, thinking on", "question 2 of a chat, thinking off"})
    EXPECT_NE(outcome.out.find(row), std::string::npos) << outcome.out;
  const Json result = load_json(at("settings") + "/results.json").at(size_t{0});
  ASSERT_EQ(result.at("settings").size(), 4u);
  const Json& headline = result.at("settings").at(size_t{0});
  EXPECT_EQ(headline.at("turns").as_int(), 1);
  EXPECT_TRUE(headline.at("thinking").as_bool());
  EXPECT_EQ(result.at("mean_answer_tokens"), headline.at("mean_answer_tokens"));
  std::map<std::pair<int64_t, bool>, int64_t> totals;
  for (const Json& cell : result.at("exact_match").as_array())
    totals[{cell.at("turns").as_int(), cell.at("thinking").as_bool()}] += cell.at("total").as_int();
  EXPECT_EQ(totals.size(), 4u);
  for (const auto& [setting, total] : totals) EXPECT_EQ(total, 7 * 6);
  for (const Json& sample : result.at("samples").as_array())
    EXPECT_EQ(std::ssize(sample.at("earlier").as_array()), sample.at("turns").as_int() - 1);
  // Thinking off has no reasoning to show; alone it is the headline.
  const Outcome off =
      run_program("eval m=" + at("model") + suite() + " --no-thinking --out " + at("off"));
  ASSERT_EQ(off.code, 0) << off.error;
  const Json plain = load_json(at("off") + "/results.json").at(size_t{0});
  ASSERT_EQ(plain.at("settings").size(), 1u);
  EXPECT_FALSE(plain.at("settings").at(size_t{0}).at("thinking").as_bool());
  for (const Json& sample : plain.at("samples").as_array()) {
    EXPECT_FALSE(sample.at("thinking_on").as_bool());
    EXPECT_EQ(sample.at("thinking").as_string(), "");
  }
}

TEST_F(EvalVerb, BadInputIsOneLine) {
  const std::string out = " --out " + at("none");
  expect_refusal(run_program("eval " + at("nowhere") + suite() + out), "nowhere");
  expect_refusal(run_program("eval " + at("bare") + suite() + out), "tokenizer");
  expect_refusal(run_program("eval " + at("model") + suite() + out + " --set tasks.sampels=1"),
                 "sampels");
  expect_refusal(
      run_program("eval " + at("model") + suite() + out + " --set text.corpus=" + at("no")),
      at("no"));
  expect_refusal(
      run_program("eval " + at("model") + suite() + out + " --set tasks.problems_per_cell=0"),
      "nothing to measure");
  expect_refusal(
      run_program("eval " + at("model") + suite() + out + " --set tasks.context_tokens_max=10"),
      "long_prompts");
  expect_refusal(run_program("eval " + at("model") + suite() + out + " --set tasks.turns=[1,0]"),
                 "tasks.turns");
  expect_refusal(run_program("eval " + at("model") + suite() + out + " --set tasks.thinking=[]"),
                 "tasks.thinking");
  expect_refusal(
      run_program("eval " + at("model") + suite() + out + " --set tasks.thinking=[maybe]"),
      "on, off");
  EXPECT_FALSE(path_exists(at("none")));
}

}  // namespace
}  // namespace dure
