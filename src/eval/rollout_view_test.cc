// Rollouts of both kinds are shown whole, and marked up safely.
#include "eval/rollout_view.h"

#include <gtest/gtest.h>

namespace dure {
namespace {

Json single() {
  return parse_json(
      R"({"step":1,"task":"sorting","prompt":"sort 2 1","thinking":"hm","content":"1 2","expected":"1 2","reward":1.0})",
      "test");
}
Json conversation() {
  return parse_json(
      R"({"step":4,"item":"g-1","turns":2,"end":"done","reward":0.5,"reason":"found <it>","content":"x","messages":[
        {"role":"user","content":"guess"},
        {"role":"assistant","content":"","reasoning_content":"halves","tool_calls":[{"function":{"name":"guess","arguments":"{\"n\":10}"}}]},
        {"role":"tool","content":"higher"},{"role":"assistant","content":"15"}]})",
      "test");
}

TEST(RolloutView, ShowsAConversationTurnByTurn) {
  EXPECT_EQ(rollout_text(conversation(), 100),
            "--- step 4, g-1: reward 0.5, 2 turns, end done\n[user] guess\n[thinking] halves\n"
            "[assistant] call guess({\"n\":10})\n[tool] higher\n[assistant] 15\n"
            "[graded] found <it>\n");
  EXPECT_EQ(rollout_text(single(), 100),
            "--- step 1, sorting: reward 1\n[user] sort 2 1\n[thinking] hm\n[assistant] 1 2\n"
            "[expected] 1 2\n");
  EXPECT_EQ(rollout_text(Json::object(), 100), "--- step 0, : reward 0\n");
}

TEST(RolloutView, CountsAndCards) {
  const std::vector<Json> all = {single(), conversation()};
  const RolloutCounts counts = count_rollouts(all);
  EXPECT_EQ(counts.rollouts, 2);
  EXPECT_EQ(counts.conversations, 1);
  EXPECT_EQ(counts.turns_mean, 2);
  EXPECT_EQ(counts.first_reward, 1);
  EXPECT_EQ(counts.last_reward, 0.5);
  const std::string html = rollouts_html(all);
  EXPECT_NE(html.find("found &lt;it&gt;"), std::string::npos);
  EXPECT_EQ(html.find("<it>"), std::string::npos);
  EXPECT_EQ(spread_rollouts(all, 1).at(0), &all[1]);
  EXPECT_EQ(rollouts_html({}), "");
}

}  // namespace
}  // namespace dure
