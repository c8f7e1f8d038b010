// The mock domain: two JSON documents and a handful of functions on them.
#include "grade/tau2_world.h"

#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/python_text.h"
#include "grade/python_value.h"

namespace dure {
namespace {

void lay_over(Json& base, const Json& data) {
  if (!base.is_object() || !data.is_object()) {
    base = data;
    return;
  }
  for (const auto& [key, value] : data.as_object()) lay_over(base[key], value);
}

struct Parameter {
  const char* name;
  const char* description;
  bool required = true;
};

struct Tool {
  const char* name;
  const char* description;
  std::vector<Parameter> parameters;
};

const std::vector<Tool>& assistant_tools() {
  static const std::vector<Tool> tools = {
      {"create_task",
       "Creates a task for a user and returns it.",
       {{"user_id", "Who the task is for."},
        {"title", "The task's title."},
        {"description", "More about the task.", false}}},
      {"get_users", "Returns all users.", {}},
      {"update_task_status",
       "Sets a task's status and returns the task.",
       {{"task_id", "Which task."}, {"status", "pending or completed"}}},
      {"transfer_to_human_agents",
       "Hands the user over to a person, with a summary of the matter. Only where the user asks "
       "for "
       "it, or where policy and tools do not allow to solve the matter.",
       {{"summary", "What the user needs."}}}};
  return tools;
}

const std::vector<Tool>& user_tools() {
  static const std::vector<Tool> tools = {
      {"check_notifications", "Returns your notifications.", {}},
      {"dismiss_notification",
       "Marks a notification as read.",
       {{"notification_id", "Which notification."}}}};
  return tools;
}

Json declaration(const Tool& tool) {
  Json properties = Json::object(), required = Json::array();
  for (const Parameter& parameter : tool.parameters) {
    properties[parameter.name]["type"] = "string";
    properties[parameter.name]["description"] = parameter.description;
    if (parameter.required) required.push_back(parameter.name);
  }
  Json function = Json::object();
  function["name"] = tool.name;
  function["description"] = tool.description;
  function["parameters"]["type"] = "object";
  function["parameters"]["properties"] = std::move(properties);
  function["parameters"]["required"] = std::move(required);
  Json out = Json::object();
  out["type"] = "function";
  out["function"] = std::move(function);
  return out;
}

// What went wrong with a call, for its caller to read.
[[noreturn]] void refuse(const std::string& why) { fail(ErrorCode::kInvalidArgument, "{}", why); }

class MockWorld : public Tau2World {
 public:
  MockWorld(Json database, Json user_database)
      : database_(std::move(database)), user_database_(std::move(user_database)) {}

  std::unique_ptr<Tau2World> copy() const override { return std::make_unique<MockWorld>(*this); }

  Tau2Result call(Tau2Side side, const std::string& name, const Json& arguments) override {
    try {
      const Tool* found = nullptr;
      for (const Tool& tool : tools_of(side))
        if (name == tool.name) found = &tool;
      if (found == nullptr) refuse("Tool '" + name + "' not found.");
      check_arguments(*found, arguments);
      const Json result = run(side, name, arguments);
      if (result.is_string()) return {result.as_string()};
      return {result.is_object() ? result.dump() : python_json(result)};
    } catch (const Error& error) {
      return {std::string("Error: ") + error.what(), true};
    }
  }

  Json tools(Tau2Side side) const override {
    Json list = Json::array();
    for (const Tool& tool : tools_of(side)) list.push_back(declaration(tool));
    return list;
  }

  Json run(Tau2Side side, const std::string& name, const Json& arguments) override {
    if (side == Tau2Side::kUser) return run_for_user(name, arguments);
    if (name == "create_task") return create_task(arguments);
    if (name == "get_users") return users();
    if (name == "update_task_status") return update_task_status(arguments);
    if (name == "transfer_to_human_agents") return "Transfer successful";
    if (name == "assert_task_status")
      return task(text(arguments, "task_id")).at("status") == arguments.at("expected_status");
    if (name == "assert_number_of_tasks")
      return static_cast<int64_t>(user(text(arguments, "user_id")).at("tasks").size()) ==
             arguments.at("expected_number").as_int();
    refuse("the assistant's side of mock has no function '" + name + "'");
  }

  void update(Tau2Side side, const Json& data) override {
    lay_over(side == Tau2Side::kUser ? user_database_ : database_, data);
  }

  bool same_state(const Tau2World& other) const override {
    const auto& mock = dynamic_cast<const MockWorld&>(other);
    return python_equal(database_, mock.database_) &&
           python_equal(user_database_, mock.user_database_);
  }

 private:
  static const std::vector<Tool>& tools_of(Tau2Side side) {
    return side == Tau2Side::kUser ? user_tools() : assistant_tools();
  }
  static void check_arguments(const Tool& tool, const Json& arguments) {
    if (!arguments.is_object()) refuse("the arguments are no object");
    for (const Parameter& parameter : tool.parameters)
      if (parameter.required && !arguments.contains(parameter.name))
        refuse(std::string("missing argument: '") + parameter.name + "'");
    for (const auto& [name, value] : arguments.as_object()) {
      bool known = false;
      for (const Parameter& parameter : tool.parameters) known = known || name == parameter.name;
      if (!known) refuse("unexpected argument: '" + name + "'");
    }
  }
  static const std::string& text(const Json& arguments, const char* name) {
    return arguments.at(name).as_string(name);
  }
  static Json& member(Json& data, const char* kind, const std::string& id, const char* what) {
    if (!data[kind].contains(id)) refuse(std::string(what) + " " + id + " not found");
    return data[kind][id];
  }
  Json& task(const std::string& id) { return member(database_, "tasks", id, "Task"); }
  Json& user(const std::string& id) { return member(database_, "users", id, "User"); }
  Json& notification(const std::string& id) {
    return member(user_database_, "notifications", id, "Notification");
  }

  Json create_task(const Json& arguments) {
    Json& owner = user(text(arguments, "user_id"));
    const std::string id = "task_" + std::to_string(database_["tasks"].size() + 1);
    const Json* description = arguments.find("description");
    Json task = Json::object();
    task["task_id"] = id;
    task["title"] = arguments.at("title");
    task["description"] = description == nullptr ? Json() : *description;
    task["status"] = "pending";
    owner["tasks"].push_back(id);
    database_["tasks"][id] = task;
    return task;
  }
  // Any status: that there are two is the policy's word, and the assistant's to keep.
  Json update_task_status(const Json& arguments) {
    Json& changed = task(text(arguments, "task_id"));
    changed["status"] = arguments.at("status");
    return changed;
  }
  Json users() const {
    Json list = Json::array();
    for (const auto& [id, user] : database_.at("users").as_object()) list.push_back(user);
    return list;
  }
  Json run_for_user(const std::string& name, const Json& arguments) {
    if (name == "check_notifications") {
      Json list = Json::array();
      for (const auto& [id, note] : user_database_["notifications"].as_object())
        list.push_back(note);
      return list;
    }
    if (name == "dismiss_notification") {
      const std::string& id = text(arguments, "notification_id");
      notification(id)["status"] = "read";
      return "Notification " + id + " dismissed";
    }
    if (name == "add_notification") return add_notification(arguments);
    if (name == "assert_notification_status")
      return notification(text(arguments, "notification_id")).at("status") ==
             arguments.at("expected_status");
    refuse("the user's side of mock has no function '" + name + "'");
  }
  Json add_notification(const Json& arguments) {
    Json note = Json::object();
    note["notification_id"] = arguments.at("notification_id");
    note["message"] = arguments.at("message");
    note["status"] = "unread";
    note["task_id"] = arguments.at("task_id");
    user_database_["notifications"][text(arguments, "notification_id")] = note;
    return note;
  }

  Json database_, user_database_;
};

}  // namespace

Tau2Side tau2_side(const Json* name) {
  if (name == nullptr || name->is_null() || *name == Json("assistant")) return Tau2Side::kAssistant;
  if (*name == Json("user")) return Tau2Side::kUser;
  fail(ErrorCode::kInvalidArgument, "tau2: neither 'assistant' nor 'user': {}", name->dump());
}

std::unique_ptr<Tau2World> tau2_mock_world(const Json& database, const Json& user_database) {
  database.at("tasks").as_object("db.json: tasks");
  database.at("users").as_object("db.json: users");
  return std::make_unique<MockWorld>(database,
                                     user_database.is_object() ? user_database : Json::object());
}

}  // namespace dure
