// The mock domain: tasks of users, and their notifications. Source of what its functions do:
// sierra-research/tau2-bench, domain mock (MockTools, MockUserTools; commit a2c02472).
#include "grade/python_value.h"
#include "grade/tau2/domains.h"
#include "grade/tau2/function_table.h"

namespace dure {
namespace {

struct Mock {
  Json database, user_database;

  void settle() {}
  void update(Tau2Side side, const Json& data) {
    lay_over(side == Tau2Side::kUser ? user_database : database, data);
  }
  bool same(const Mock& other) const {
    return python_equal(database, other.database) &&
           python_equal(user_database, other.user_database);
  }

  static Json& member(Json& data, const char* kind, const std::string& id, const char* what) {
    if (!data[kind].contains(id)) tau2_refuse(std::string(what) + " " + id + " not found");
    return data[kind][id];
  }
  Json& task(const Json& arguments) {
    return member(database, "tasks", text_argument(arguments, "task_id"), "Task");
  }
  Json& user(const Json& arguments) {
    return member(database, "users", text_argument(arguments, "user_id"), "User");
  }
  Json& notification(const Json& arguments) {
    return member(user_database, "notifications", text_argument(arguments, "notification_id"),
                  "Notification");
  }
};

Json values_of(const Json& members) {
  Json list = Json::array();
  for (const auto& [id, value] : members.as_object()) list.push_back(value);
  return list;
}

Json create_task(Mock& mock, const Json& arguments) {
  Json& owner = mock.user(arguments);
  const std::string id = "task_" + std::to_string(mock.database["tasks"].size() + 1);
  const Json* description = arguments.find("description");
  Json task = Json::object();
  task["task_id"] = id;
  task["title"] = arguments.at("title");
  task["description"] = description == nullptr ? Json() : *description;
  task["status"] = "pending";
  owner["tasks"].push_back(id);
  mock.database["tasks"][id] = task;
  return task;
}

// Any status: that there are two is the policy's word, and the assistant's to keep.
Json update_task_status(Mock& mock, const Json& arguments) {
  Json& changed = mock.task(arguments);
  changed["status"] = arguments.at("status");
  return changed;
}

Json dismiss_notification(Mock& mock, const Json& arguments) {
  mock.notification(arguments)["status"] = "read";
  return "Notification " + text_argument(arguments, "notification_id") + " dismissed";
}

Json add_notification(Mock& mock, const Json& arguments) {
  Json note = Json::object();
  note["notification_id"] = arguments.at("notification_id");
  note["message"] = arguments.at("message");
  note["status"] = "unread";
  note["task_id"] = arguments.at("task_id");
  mock.user_database["notifications"][text_argument(arguments, "notification_id")] = note;
  return note;
}

const Tau2Functions<Mock>& assistant_functions() {
  static const Tau2Functions<Mock> functions = {
      {{"create_task",
        "Creates a task for a user and returns it.",
        {{"user_id", "Who the task is for."},
         {"title", "The task's title."},
         {"description", "More about the task.", "string", false}}},
       create_task},
      {{"get_users", "Returns all users.", {}},
       [](Mock& mock, const Json&) { return values_of(mock.database.at("users")); }},
      {{"update_task_status",
        "Sets a task's status and returns the task.",
        {{"task_id", "Which task."}, {"status", "pending or completed"}}},
       update_task_status},
      {tau2_transfer(), [](Mock&, const Json&) { return Json(kTau2Transferred); }},
      {{"assert_task_status", "", {{"task_id", ""}, {"expected_status", ""}}},
       [](Mock& mock, const Json& arguments) {
         return Json(mock.task(arguments).at("status") == arguments.at("expected_status"));
       }},
      {{"assert_number_of_tasks", "", {{"user_id", ""}, {"expected_number", ""}}},
       [](Mock& mock, const Json& arguments) {
         return Json(static_cast<int64_t>(mock.user(arguments).at("tasks").size()) ==
                     arguments.at("expected_number").as_int());
       }}};
  return functions;
}

const Tau2Functions<Mock>& user_functions() {
  static const Tau2Functions<Mock> functions = {
      {{"check_notifications", "Returns your notifications.", {}},
       [](Mock& mock, const Json&) { return values_of(mock.user_database["notifications"]); }},
      {{"dismiss_notification",
        "Marks a notification as read.",
        {{"notification_id", "Which notification."}}},
       dismiss_notification},
      {{"add_notification", "", {{"notification_id", ""}, {"message", ""}, {"task_id", ""}}},
       add_notification},
      {{"assert_notification_status", "", {{"notification_id", ""}, {"expected_status", ""}}},
       [](Mock& mock, const Json& arguments) {
         return Json(mock.notification(arguments).at("status") == arguments.at("expected_status"));
       }}};
  return functions;
}

}  // namespace

std::unique_ptr<Tau2World> tau2_mock_world(const Json& database, const Json& user_database) {
  database.at("tasks").as_object("db.json: tasks");
  database.at("users").as_object("db.json: users");
  Mock mock{database, user_database.is_object() ? user_database : Json::object()};
  if (!mock.user_database.contains("notifications"))
    mock.user_database["notifications"] = Json::object();
  return std::make_unique<Tau2TableWorld<Mock>>(std::move(mock), assistant_functions(),
                                                user_functions());
}

}  // namespace dure
