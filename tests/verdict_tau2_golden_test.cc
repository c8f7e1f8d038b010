// tau2's mock domain as published: an assistant that takes each task's own actions gets the whole
// reward, one that does nothing gets none where there is something to do; the other domains' tasks
// are read.
//
// One task cannot be rewarded under the published rule: its user is told to dismiss a notification,
// which its actions do not, so that the user's data never are as they leave them. Runs of the
// published program that were made public show 0 there too.
#include "base/error.h"
#include "base/file.h"
#include "grade/tau2.h"
#include "verdicts.h"

namespace dure {
namespace {

std::optional<Tau2Domain> mock() {
  const auto database = verdicts::companion("tau2/mock/db.json");
  const auto user = verdicts::companion("tau2/mock/user_db.json");
  const auto policy = verdicts::companion("tau2/mock/policy.md");
  if (!database || !user || !policy) return std::nullopt;
  return Tau2Domain{.policy = read_file(*policy),
                    .database = load_json(*database),
                    .user_database = load_json(*user)};
}

std::vector<Item> items(const char* name) {
  const auto path = verdicts::companion(name);
  return path ? tau2_items(load_json(*path), path->string()) : std::vector<Item>{};
}

const Json* of(const Item& item, const char* name) {
  const Json* criteria = item.reference.find("evaluation_criteria");
  return criteria == nullptr ? nullptr : criteria->find(name);
}

// Everything that a task asks for, said and done; `idle`: a friendly word.
Grade grade(const Environment& environment, const Item& item, bool idle) {
  const auto episode = environment.begin(item);
  EpisodeTurn turn = episode->start();
  if (const Json* actions = of(item, "actions"); actions != nullptr && !idle)
    for (const Json& action : actions->as_array())
      turn = episode->reply({.tool_calls = {{.id = "1",
                                             .name = action.at("name").as_string(),
                                             .arguments = action.at("arguments")}}});
  if (item.id == "update_task_with_history_and_env_assertions" && !idle)
    turn = episode->reply(
        {.tool_calls = {{.id = "1",
                         .name = "update_task_status",
                         .arguments = parse_json(R"({"task_id": "task_2", "status": "completed"})",
                                                 "arguments")}}});
  std::string said = "All is done. ";
  if (const Json* info = of(item, "communicate_info"); info != nullptr && !idle)
    for (const Json& text : info->as_array()) said += text.as_string() + " ";
  for (int i = 0; i < 3 && !turn.over; ++i) turn = episode->reply({.content = said});
  return episode->finish();
}

TEST(Tau2, MockTasks) {
  const auto domain = mock();
  const std::vector<Item> tasks = items("tau2/mock/tasks.json");
  if (!domain || tasks.empty()) return;
  const UserTurn dismissal{
      .tool_calls = {{.id = "u",
                      .name = "dismiss_notification",
                      .arguments = parse_json(R"({"notification_id": "notif_1"})", "a")}}};
  int whole = 0, none = 0;
  for (const Item& item : tasks) {
    std::vector<UserTurn> turns = {{.text = "Please see to my matter."}};
    if (item.id == "update_task_with_user_tools") turns.push_back(dismissal);
    const auto environment = tau2_environment(*domain, scripted_user(turns));
    environment->check(item);
    const Grade right = grade(*environment, item, false);
    const bool cannot = item.id == "update_task_with_user_tools";
    EXPECT_EQ(right.score, cannot ? 0.0 : 1.0) << item.id << ": " << right.reason;
    if (cannot) {
      EXPECT_EQ(right.parts.dump(), R"({"db":0.0,"action":1.0,"env_assertion":1.0})");
    }
    whole += right.score == 1.0 ? 1 : 0;
    const Grade idle = grade(*environment, item, true);
    // Its assertions are for a judge, and its reward basis leaves them out: nothing is asked for.
    EXPECT_EQ(idle.score, item.id == "create_task_1_nl_eval" ? 1.0 : 0.0) << item.id;
    none += idle.score == 0.0 ? 1 : 0;
  }
  std::printf("tau2 mock: %d of %zu tasks rewarded when done, %d not when idle\n", whole,
              tasks.size(), none);
}

TEST(Tau2, TasksOfAllDomainsAreRead) {
  EXPECT_EQ(items("tau2/airline/tasks.json").size(), 50u);
  EXPECT_EQ(items("tau2/retail/tasks.json").size(), 114u);
  EXPECT_EQ(items("tau2/telecom/tasks_small.json").size(), 20u);
}

}  // namespace
}  // namespace dure
