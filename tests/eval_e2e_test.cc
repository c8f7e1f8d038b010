// `dure eval` as a user runs it: the four files of a report, the fields that docs/evaluation.md
// names, and bad input.
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
  EXPECT_FALSE(path_exists(at("none")));
}

}  // namespace
}  // namespace dure
