// The recipe of a task of one's own, as its page and the README run it, in brief: a model, the
// recipe's items and script, learning, measuring, a report.
#include <set>

#include "base/testing.h"
#include "program.h"
#include "tiny_rl.h"

namespace dure {
namespace {

class OwnTaskTest : public RlTest {
 protected:
  // From the repository's root, as the page says.
  static Outcome dure(const std::string& arguments) {
    const Path before = std::filesystem::current_path();
    std::filesystem::current_path(DURE_SOURCE_DIR);
    Outcome outcome = run_program(arguments);
    std::filesystem::current_path(before);
    return outcome;
  }
};

TEST_F(OwnTaskTest, TheRecipeGoesFromItemsToAReport) {
  const std::string model = at("sft/model").string(), out = at("own").string();
  const Outcome learnt =
      dure("rl recipes/own-task/rl.yaml --set init=" + model + " --set output=" + out +
           " --set steps=2 --set rollout.prompts_per_step=4"
           " --set rollout.group_size=4 --set rollout.new_tokens_max=16");
  ASSERT_EQ(learnt.code, 0) << learnt.error;
  const Json row = read_metrics(at("own/metrics.jsonl")).back();
  for (const char* name : {"reward", "verifier_parts/right/mean", "verifier_parts/once/mean"})
    EXPECT_TRUE(row.contains(name)) << name;
  EXPECT_FALSE(row.contains("verifier/failures") && row.at("verifier/failures").as_int() > 0);
  const std::string report = at("report").string();
  const Outcome measured = dure(
      "eval before=" + model + " after=" + out +
      "/model recipes/own-task/heldout.jsonl --grader "
      "'{name: command, command: [python3, recipes/own-task/score.py]}' --limit 4 -n 16 --log " +
      out + " --out " + report);
  ASSERT_EQ(measured.code, 0) << measured.error;
  EXPECT_TRUE(path_exists(at("report/report.html")));
  EXPECT_NE(read_file(at("report/report.md")).find("after"), std::string::npos);
}

// What is measured is never learnt from.
TEST_F(OwnTaskTest, HeldOutItemsAreOthers) {
  const Path recipe = Path(DURE_SOURCE_DIR) / "recipes/own-task";
  std::set<std::string> learnt;
  for (const Json& item : read_metrics(recipe / "items.jsonl"))
    learnt.insert(item.at("prompt").as_string());
  const std::vector<Json> heldout = read_metrics(recipe / "heldout.jsonl");
  EXPECT_GE(heldout.size(), 100u);
  for (const Json& item : heldout) EXPECT_FALSE(learnt.contains(item.at("prompt").as_string()));
}

}  // namespace
}  // namespace dure
