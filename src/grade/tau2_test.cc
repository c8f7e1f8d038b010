// A small world of our own: tools, the user's side, rewards one by one, and every way to end badly.
#include "grade/tau2.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/testing.h"
#include "grade/tau2/domains.h"
#include "grade/tau2/telecom_fixture.h"

namespace dure {
namespace {

constexpr const char* kDatabase = R"({"tasks": {"task_1": {"task_id": "task_1", "title": "Sweep",
  "description": "The yard", "status": "pending"}},
  "users": {"ann": {"user_id": "ann", "name": "Ann", "tasks": ["task_1"]}}})";
constexpr const char* kUserDatabase = R"({"notifications": {"n1": {"notification_id": "n1",
  "message": "Sweep", "status": "unread", "task_id": "task_1"}}})";

Tau2Domain domain() {
  return {.policy = "Be kind.",
          .database = parse_json(kDatabase, "db"),
          .user_database = parse_json(kUserDatabase, "user db")};
}

Item item_of(const std::string& criteria, const std::string& state = "null") {
  return {
      .id = "t",
      .reference = parse_json(
          R"({"id": "t", "user_scenario": {"instructions": "Have task_1 done."}, "initial_state": )" +
              state + R"(, "evaluation_criteria": )" + criteria + "}",
          "task")};
}

ToolCall call(const std::string& name, const std::string& arguments) {
  return {.id = "c", .name = name, .arguments = parse_json(arguments, "arguments")};
}

struct Played {
  Grade grade;
  std::vector<Message> messages;
  bool over = false;
};

// The assistant's turns, as far as the episode goes, against a user's.
Played play(const Item& item, const std::vector<Answer>& answers,
            const std::vector<UserTurn>& user = {{.text = "Please do it."}}) {
  const auto environment = tau2_environment(domain(), scripted_user(user));
  environment->check(item);
  const auto episode = environment->begin(item);
  EpisodeTurn turn = episode->start();
  Played played{.messages = turn.messages, .over = turn.over};
  for (const Answer& answer : answers) {
    if (played.over) break;
    turn = episode->reply(answer);
    played.messages.insert(played.messages.end(), turn.messages.begin(), turn.messages.end());
    played.over = turn.over;
  }
  played.grade = episode->finish();
  return played;
}

const Answer kDone{
    .tool_calls = {call("update_task_status", R"({"task_id": "task_1", "status": "completed"})")}};
const Answer kTold{.content = "It is done: 1,250 points for you."};
constexpr const char* kUpdate =
    R"("actions": [{"action_id": "1", "name": "update_task_status",
       "arguments": {"task_id": "task_1", "status": "completed"}}])";

TEST(Tau2, AnEpisode) {
  const Played played = play(item_of("{" + std::string(kUpdate) + "}"), {kDone, kTold});
  EXPECT_TRUE(played.over);
  EXPECT_EQ(played.grade.score, 1.0) << played.grade.reason;
  EXPECT_EQ(played.grade.parts.dump(), R"({"db":1.0,"communicate":1.0})");
  ASSERT_EQ(played.messages.size(), 4u);
  EXPECT_NE(played.messages[0].content.find("Be kind."), std::string::npos);
  EXPECT_EQ(played.messages[1].role, Role::kAssistant);
  EXPECT_EQ(played.messages[2].content, "Please do it.");
  EXPECT_EQ(played.messages[3].tool_call_id, "c");
  EXPECT_EQ(
      played.messages[3].content,
      R"({"task_id": "task_1", "title": "Sweep", "description": "The yard", "status": "completed"})");
}

TEST(Tau2, TheWorldMustBeAsTheActionsLeaveIt) {
  const Item item = item_of("{" + std::string(kUpdate) + "}");
  EXPECT_EQ(play(item, {kTold}).grade.score, 0.0);
  const Answer more{.tool_calls = {call("create_task", R"({"user_id": "ann", "title": "More"})")}};
  EXPECT_EQ(play(item, {kDone, more, kTold}).grade.score, 0.0);
  // Another way to the same state is as good.
  const Answer undone{
      .tool_calls = {call("update_task_status", R"({"task_id": "task_1", "status": "pending"})")}};
  EXPECT_EQ(play(item, {kDone, undone, kDone, kTold}).grade.score, 1.0);
}

TEST(Tau2, Communicate) {
  const std::string criteria = std::string("{") + kUpdate + R"(, "communicate_info": ["1250"]})";
  EXPECT_EQ(play(item_of(criteria), {kDone, kTold}).grade.score, 1.0);
  const Played silent = play(item_of(criteria), {kDone, {.content = "Done."}});
  EXPECT_EQ(silent.grade.score, 0.0);
  EXPECT_EQ(silent.grade.reason, "was not said: 1250");
}

TEST(Tau2, Actions) {
  const std::string handed = R"({"actions": [{"name": "transfer_to_human_agents",
      "arguments": {"summary": "x"}, "compare_args": []}], "reward_basis": ["DB", "ACTION"]})";
  const Answer transfer{.tool_calls = {call("transfer_to_human_agents", R"({"summary": "y"})")}};
  EXPECT_EQ(play(item_of(handed), {transfer, kTold}).grade.score, 1.0);
  EXPECT_EQ(play(item_of(handed), {kTold}).grade.score, 0.0);
  const std::string exact = std::string("{") + kUpdate + R"(, "reward_basis": ["ACTION"]})";
  EXPECT_EQ(play(item_of(exact), {kDone, kTold}).grade.score, 1.0);
  const Answer other{
      .tool_calls = {call("update_task_status", R"({"task_id": "task_1", "status": "pending"})")}};
  EXPECT_EQ(play(item_of(exact), {other, kTold}).grade.score, 0.0);
}

TEST(Tau2, AssertionsAndTheUsersTools) {
  const std::string criteria = R"({"env_assertions": [{"env_type": "user",
      "func_name": "assert_notification_status",
      "arguments": {"notification_id": "n2", "expected_status": "read"}}, {"env_type": "assistant",
      "func_name": "assert_task_status", "assert_value": false,
      "arguments": {"task_id": "task_1", "expected_status": "completed"}}],
      "reward_basis": ["ENV_ASSERTION"]})";
  const std::string state = R"({"initialization_actions": [{"env_type": "user",
      "func_name": "add_notification",
      "arguments": {"notification_id": "n2", "message": "m", "task_id": "task_1"}}]})";
  const Item item = item_of(criteria, state);
  const UserTurn dismissal{
      .tool_calls = {call("dismiss_notification", R"({"notification_id": "n2"})")}};
  const Played played = play(item, {kTold}, {{.text = "Hm."}, dismissal});
  EXPECT_EQ(played.grade.score, 1.0) << played.grade.reason;
  EXPECT_EQ(played.messages.size(), 3u);  // the user's calls are its own
  EXPECT_EQ(play(item, {kTold}).grade.score, 0.0);
  EXPECT_EQ(play(item, {kDone, kTold}, {{.text = "Hm."}, dismissal}).grade.score, 0.0);
}

TEST(Tau2, InitialData) {
  const std::string state = R"({"initialization_data": {"agent_data": {"tasks": {"task_1":
      {"status": "completed"}}}}})";
  const std::string criteria = R"({"env_assertions": [{"func_name": "assert_task_status",
      "arguments": {"task_id": "task_1", "expected_status": "completed"}},
      {"func_name": "assert_number_of_tasks", "arguments": {"user_id": "ann", "expected_number": 1}}],
      "reward_basis": ["ENV_ASSERTION"]})";
  EXPECT_EQ(play(item_of(criteria, state), {kTold}).grade.score, 1.0);
  EXPECT_EQ(play(item_of(criteria), {kTold}).grade.score, 0.0);
  EXPECT_NE(message_of([&] {
              play(item_of("{}", R"({"initialization_actions": [{"func_name": "fly",
                                     "arguments": {}}]})"),
                   {});
            }).find("no function 'fly'"),
            std::string::npos);
}

TEST(Tau2, BadEnds) {
  const Item item = item_of("{" + std::string(kUpdate) + "}");
  EXPECT_EQ(play(item, {kDone}).grade.score, 0.0);      // out of turns
  EXPECT_EQ(play(item, {kDone, {}}).grade.score, 0.0);  // not a word
  const Answer wrong{.tool_calls = {call("delete_task", R"({"task_id": "task_1"})")}};
  const Played failing = play(item, std::vector<Answer>(20, wrong));
  EXPECT_TRUE(failing.over);
  EXPECT_EQ(failing.grade.reason, "too many calls failed");
  EXPECT_EQ(failing.messages.back().content, "Error: Tool 'delete_task' not found.");
  const UserTurn checking{.tool_calls = {call("check_notifications", "{}")}};
  const auto busy = [](const UserTurn& turn, size_t count) {
    std::vector<UserTurn> turns(count + 1, turn);
    turns[0] = {.text = "Please do it."};
    return turns;
  };
  EXPECT_EQ(play(item, {kDone, kTold}, busy(checking, 90)).grade.score, 1.0);
  const Played endless = play(item, {kDone, kTold}, busy(checking, 150));
  EXPECT_TRUE(endless.over);
  EXPECT_EQ(endless.grade.reason, "after 200 steps it was not over");
  const UserTurn missing{.tool_calls = {call("create_task", "{}")}};  // not the user's
  const Played clumsy = play(item, {kDone, kTold}, busy(missing, 20));
  EXPECT_EQ(clumsy.grade.reason, "too many calls failed");
  EXPECT_EQ(play(item_of(R"({"reward_basis": ["NL_ASSERTION"]})"), {kTold}).grade.score, 1.0);
  EXPECT_EQ(play(item_of(R"({"nl_assertions": ["The agent was kind."],
                             "reward_basis": ["NL_ASSERTION"]})"),
                 {kTold})
                .grade.score,
            std::nullopt);
}

TEST(Tau2, ToolsSayWhatIsWrong) {
  const auto world = tau2_mock_world(parse_json(kDatabase, "db"), {});
  const auto said = [&](const char* name, const Json& arguments) {
    return world->call(Tau2Side::kAssistant, name, arguments).text;
  };
  EXPECT_EQ(said("create_task", parse_json(R"({"user_id": "bob", "title": "x"})", "a")),
            "Error: User bob not found");
  EXPECT_EQ(said("create_task", parse_json(R"({"user_id": "ann"})", "a")),
            "Error: missing argument: 'title'");
  EXPECT_EQ(said("get_users", parse_json(R"({"all": true})", "a")),
            "Error: unexpected argument: 'all'");
  EXPECT_EQ(said("get_users", "no object"), "Error: the arguments are no object");
  EXPECT_EQ(said("assert_task_status", Json::object()),
            "Error: Tool 'assert_task_status' not found.");
  EXPECT_EQ(
      said("update_task_status", parse_json(R"({"task_id": 1, "status": "x"})", "a")).substr(0, 6),
      "Error:");
  EXPECT_EQ(said("get_users", Json::object()),
            R"([{"user_id": "ann", "name": "Ann", "tasks": ["task_1"]}])");
}

// A model that plays the user gets its part, the conversation from its side, and its tools.
TEST(Tau2, AModelAsTheUser) {
  const Item item = item_of("{" + std::string(kUpdate) + "}");
  int asked = 0;
  const auto environment = tau2_environment(
      domain(), model_user([&](const std::vector<Message>& messages, const Json& tools) {
        EXPECT_NE(messages[0].content.find("Have task_1 done."), std::string::npos);
        EXPECT_EQ(messages[1].role, Role::kUser);
        EXPECT_EQ(tools.size(), 2u);
        return Answer{.content = ++asked == 1 ? "Do it." : "Thanks! ###STOP###"};
      }));
  const auto episode = environment->begin(item);
  EXPECT_EQ(episode->start().messages.back().content, "Do it.");
  EXPECT_FALSE(episode->reply(kDone).over);
  EXPECT_TRUE(episode->reply(kTold).over);
  EXPECT_EQ(episode->finish().score, 1.0);
}

TEST(Tau2, AJudgeOfAssertions) {
  const Item item = item_of(R"({"nl_assertions": ["The agent was kind.", "It told a number."],
                                "reward_basis": ["NL_ASSERTION"]})");
  const auto grade = [&](const std::vector<std::string>& replies) {
    size_t asked = 0;
    const auto environment = tau2_environment(
        domain(), scripted_user({{.text = "Please do it."}}),
        [&](const std::vector<Message>& messages) {
          const std::string& text = messages.at(0).content;
          EXPECT_NE(text.find("customer: Please do it.\ntool: "), std::string::npos) << text;
          EXPECT_NE(text.find("agent: It is done: 1,250 points"), std::string::npos);
          EXPECT_NE(text.find(asked == 0 ? "kind" : "a number"), std::string::npos);
          return replies.at(asked++);
        });
    const auto episode = environment->begin(item);
    episode->start();
    episode->reply(kDone);
    EXPECT_TRUE(episode->reply(kTold).over);
    return episode->finish();
  };
  EXPECT_EQ(grade({"It was. Verdict: yes", "Verdict: yes"}).score, 1.0);
  EXPECT_EQ(grade({"Verdict: yes", "Verdict: no"}).reason, "was not so: It told a number.");
  EXPECT_EQ(grade({"Hm."}).score, std::nullopt);
}

// That a user could not speak says nothing of the assistant.
TEST(Tau2, AUserThatFails) {
  const Item item = item_of("{" + std::string(kUpdate) + "}");
  const auto fails =
      tau2_environment(domain(), model_user([](const std::vector<Message>&, const Json&) -> Answer {
                         fail(ErrorCode::kUnavailable, "the server is gone");
                       }));
  const auto episode = fails->begin(item);
  EXPECT_TRUE(episode->start().over);
  const Grade grade = episode->finish();
  EXPECT_EQ(grade.score, std::nullopt);
  EXPECT_EQ(grade.failure, "user");
  EXPECT_EQ(grade.reason, "the user: the server is gone");
  const auto silent = tau2_environment(
      domain(), model_user([](const std::vector<Message>&, const Json&) { return Answer{}; }));
  const auto other = silent->begin(item);
  EXPECT_TRUE(other->start().over);
  EXPECT_EQ(other->finish().failure, "user");
}

TEST(Tau2, WhatATaskNamesMustBeThere) {
  const auto refused = [](const std::string& criteria) {
    return message_of(
        [&] { tau2_environment(domain(), scripted_user({}))->check(item_of(criteria)); });
  };
  EXPECT_EQ(refused("{" + std::string(kUpdate) + "}"), "(no error)");
  EXPECT_EQ(refused(R"({"env_assertions": [{"env_type": "user", "func_name": "assert_fly"}]})"),
            "item t: reference: env_assertions: this domain has no function 'assert_fly'");
  EXPECT_EQ(refused(R"({"actions": [{"name": "check_notifications", "arguments": {}}]})"),
            "item t: reference: actions: this domain has no function 'check_notifications'");
  EXPECT_EQ(refused(R"({"reward_basis": ["LUCK"]})"),
            "item t: reference: there is no reward basis 'LUCK'");
}

Tau2Domain telecom() {
  return {.name = "telecom",
          .policy = "Be kind.",
          .database = parse_toml(kTelecomDatabase, "db.toml"),
          .user_database = parse_toml(kTelecomUserDatabase, "user_db.toml")};
}

TEST(Tau2, BothSidesOfTelecom) {
  const Item item{.id = "abroad", .reference = parse_json(kTelecomTask, "task")};
  const Answer roaming{
      .tool_calls = {call("enable_roaming", R"({"customer_id": "C1001", "line_id": "L1002"})")}};
  const Answer told{.content = "Please turn Airplane Mode off."};
  const auto reward = [&](const std::vector<Answer>& answers, std::vector<UserTurn> turns) {
    const auto environment = tau2_environment(telecom(), scripted_user(std::move(turns)));
    environment->check(item);
    const auto episode = environment->begin(item);
    EXPECT_EQ(episode->tools().size(), 13u);
    EpisodeTurn turn = episode->start();
    for (const Answer& answer : answers)
      if (!turn.over) turn = episode->reply(answer);
    EXPECT_TRUE(turn.over);
    return episode->finish();
  };
  const UserTurn online{.text = "I cannot get online."};
  const UserTurn toggle{.tool_calls = {call("toggle_airplane_mode", "{}")}};
  const Grade right = reward({roaming, told}, {online, toggle});
  EXPECT_EQ(right.score, 1.0) << right.reason;
  EXPECT_EQ(right.parts.dump(), R"({"env_assertion":1.0,"action":1.0})");
  EXPECT_EQ(reward({told}, {online, toggle}).score, 0.0);
  EXPECT_EQ(reward({roaming, told}, {online}).score, 0.0);
  const Grade twice = reward({roaming, told}, {online, toggle, toggle, toggle});
  EXPECT_EQ(twice.score, 1.0) << twice.reason;
}

TEST(Tau2, OtherDomainsAreRefused) {
  ErrorCode code{};
  const std::string message =
      message_of([] { tau2_environment({.name = "banking"}, scripted_user({})); }, &code);
  EXPECT_EQ(code, ErrorCode::kUnsupported);
  EXPECT_NE(message.find("'banking'"), std::string::npos);
  EXPECT_NE(message.find("telecom"), std::string::npos);
  EXPECT_FALSE(can_play_tau2("banking"));
  EXPECT_TRUE(can_play_tau2("mock"));
}

}  // namespace
}  // namespace dure
