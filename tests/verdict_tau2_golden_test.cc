// tau2's domains as published. Of mock and telecom: who takes each task's own actions gets the
// whole reward, who does nothing gets none where there is something to do. Of airline and retail,
// whose data are not here: the tools that their tasks call. Telecom's data are the published ones
// where they are there, else a company of our own with the ids that the tasks speak of.
//
// One task of mock cannot be rewarded under the published rule: its user is told to dismiss a
// notification, which its actions do not, so that the user's data never are as they leave them.
// Runs of the published program that were made public show 0 there too.
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/toml.h"
#include "grade/tau2.h"
#include "grade/tau2/telecom_fixture.h"
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

Tau2Domain telecom() {
  const auto database = verdicts::companion("tau2/telecom/db.toml");
  const auto user = verdicts::companion("tau2/telecom/user_db.toml");
  return {
      .name = "telecom",
      .policy = "",
      .database = database ? load_toml(*database) : parse_toml(kTelecomDatabase, "db.toml"),
      .user_database = user ? load_toml(*user) : parse_toml(kTelecomUserDatabase, "user_db.toml")};
}

// The task's actions by who takes them, in order; the user's behind one word of the assistant.
Grade played_by_both(const Environment& environment, const Item& item) {
  const auto episode = environment.begin(item);
  EpisodeTurn turn = episode->start();
  for (const Json& action : of(item, "actions")->as_array()) {
    if (turn.over) break;
    if (action.at("requestor") == Json("user")) {
      turn = episode->reply({.content = "Please do that."});
    } else {
      turn = episode->reply({.tool_calls = {{.id = "1",
                                             .name = action.at("name").as_string(),
                                             .arguments = action.at("arguments")}}});
    }
  }
  for (int i = 0; i < 3 && !turn.over; ++i) turn = episode->reply({.content = "All is done."});
  return episode->finish();
}

TEST(Tau2, TelecomTasks) {
  const Tau2Domain domain = telecom();
  const std::vector<Item> tasks = items("tau2/telecom/tasks_small.json");
  int whole = 0, none = 0;
  for (const Item& item : tasks) {
    std::vector<UserTurn> turns = {{.text = "Something does not work."}};
    for (const Json& action : of(item, "actions")->as_array()) {
      if (action.at("requestor") != Json("user")) continue;
      turns.push_back({.tool_calls = {{.id = "u",
                                       .name = action.at("name").as_string(),
                                       .arguments = action.at("arguments")}}});
      turns.push_back({.text = "I did."});
    }
    const auto environment = tau2_environment(domain, scripted_user(turns));
    environment->check(item);
    const Grade right = played_by_both(*environment, item);
    EXPECT_EQ(right.score, 1.0) << item.id << ": " << right.reason;
    whole += right.score == 1.0 ? 1 : 0;
    const auto alone = tau2_environment(domain, scripted_user({{.text = "It does not work."}}));
    const Grade idle = grade(*alone, item, true);
    EXPECT_EQ(idle.score, 0.0) << item.id;
    none += idle.score == 0.0 ? 1 : 0;
  }
  std::printf("tau2 telecom: %d of %zu tasks rewarded when done, %d not when idle\n", whole,
              tasks.size(), none);
}

// Whatever an action gives is a parameter of the tool, and what a tool needs is given.
TEST(Tau2, AirlineAndRetailHaveTheToolsOfTheirTasks) {
  const Json empty = parse_json(R"({"products": {}, "users": {}, "orders": {}, "flights": {},
                                    "reservations": {}})",
                                "empty");
  std::map<std::string, Json> worlds;
  worlds["airline"] = tau2_airline_world(empty, {})->tools(Tau2Side::kAssistant);
  worlds["retail"] = tau2_retail_world(empty, {})->tools(Tau2Side::kAssistant);
  int actions = 0;
  for (const auto& [domain, tools] : worlds) {
    for (const Item& item : items(("tau2/" + domain + "/tasks.json").c_str())) {
      const Json* called = of(item, "actions");
      if (called == nullptr || called->is_null()) continue;
      for (const Json& action : called->as_array()) {
        ++actions;
        const Json* found = nullptr;
        for (const Json& tool : tools.as_array())
          if (tool.at("function").at("name") == action.at("name")) found = &tool.at("function");
        ASSERT_NE(found, nullptr) << action.at("name").dump();
        const Json& parameters = found->at("parameters");
        for (const auto& [name, value] : action.at("arguments").as_object())
          EXPECT_TRUE(parameters.at("properties").contains(name)) << action.dump();
        for (const Json& name : parameters.at("required").as_array())
          EXPECT_TRUE(action.at("arguments").contains(name.as_string())) << action.dump();
      }
    }
  }
  std::printf("tau2 airline and retail: %d actions call tools that are there\n", actions);
}

TEST(Tau2, TasksOfAllDomainsAreRead) {
  EXPECT_EQ(items("tau2/airline/tasks.json").size(), 50u);
  EXPECT_EQ(items("tau2/retail/tasks.json").size(), 114u);
  EXPECT_EQ(items("tau2/telecom/tasks_small.json").size(), 20u);
}

}  // namespace
}  // namespace dure
