// The assistant's turns go to tools or to the user; the reward compares the world with a second one
// in which the task's own actions were taken.
#include "grade/tau2.h"

#include <algorithm>

#include "base/error.h"
#include "base/python_text.h"
#include "grade/python_value.h"
#include "grade/tau2_world.h"

namespace dure {
namespace {

// tau2's limits: calls that failed in one conversation; and ours on a user who only calls tools.
constexpr int kFailedCallsMax = 10;
constexpr int kUserCallsInARow = 20;

const Json* field_of(const Json& object, const char* name) {
  const Json* value = object.find(name);
  return value == nullptr || value->is_null() ? nullptr : value;
}

Json list_of(const Json& object, const char* name) {
  const Json* value = field_of(object, name);
  return value == nullptr ? Json::array() : *value;
}

Json criteria_of(const Json& task) {
  const Json* criteria = field_of(task, "evaluation_criteria");
  return criteria == nullptr ? Json::object() : *criteria;
}

// Arguments that are JSON in a text count as what they say.
Json plain_argument(const Json& value) {
  if (value.is_string()) {
    const std::string_view text = python_strip(value.as_string());
    if (!text.starts_with('{') && !text.starts_with('[')) return value;
    try {
      return plain_argument(parse_json(text, "argument"));
    } catch (const Error&) {
      return value;
    }
  }
  Json out = value;
  if (out.is_array())
    for (Json& item : out.as_array()) item = plain_argument(item);
  if (out.is_object())
    for (auto& [key, item] : out.as_object()) item = plain_argument(item);
  return out;
}

// By the arguments that the call gives, or by those that the action says are to be compared.
bool is_action(const Json& action, const ToolCall& call) {
  if (action.at("name") != Json(call.name)) return false;
  const Json* compared = field_of(action, "compare_args");
  Json wanted = Json::object(), given = Json::object();
  const auto compare = [&](const std::string& name) {
    if (const Json* value = action.at("arguments").find(name))
      wanted[name] = plain_argument(*value);
    if (const Json* value = call.arguments.find(name)) given[name] = plain_argument(*value);
  };
  if (compared != nullptr) {
    for (const Json& name : compared->as_array()) compare(name.as_string());
  } else if (call.arguments.is_object()) {
    for (const auto& [name, value] : call.arguments.as_object()) compare(name);
  }
  return python_equal(wanted, given);
}

std::string for_search(std::string_view text) {
  std::string lower = python_lower(text);
  std::erase(lower, ',');
  return lower;
}

// The history of a task: its calls are {"id", "name", "arguments"}, a result's id is its call's.
std::vector<Message> history_of(const Json& task) {
  const Json* state = field_of(task, "initial_state");
  std::vector<Message> messages;
  if (state == nullptr) return messages;
  const Json history = list_of(*state, "message_history");
  for (const Json& row : history.as_array()) {
    Json message = Json::object();
    for (const auto& [name, value] : row.as_object())
      if (name == "role" || name == "content" || name == "tool_calls") message[name] = value;
    if (const Json* id = field_of(row, "id")) message["tool_call_id"] = *id;
    const auto read = messages_from_json(Json(Json::Array{message}), "message_history");
    messages.insert(messages.end(), read.begin(), read.end());
  }
  for (Message& message : messages) message.trained = false;
  return messages;
}

// The world as the task finds it: data, functions, then what its history's calls did.
void set_state(Tau2World& world, const Json& task) {
  if (const Json* state = field_of(task, "initial_state")) {
    if (const Json* data = field_of(*state, "initialization_data")) {
      if (const Json* agent = field_of(*data, "agent_data"))
        world.update(Tau2Side::kAssistant, *agent);
      if (const Json* user = field_of(*data, "user_data")) world.update(Tau2Side::kUser, *user);
    }
    const Json actions = list_of(*state, "initialization_actions");
    for (const Json& action : actions.as_array())
      world.run(tau2_side(field_of(action, "env_type")), action.at("func_name").as_string(),
                action.at("arguments"));
  }
  for (const Message& message : history_of(task))
    for (const ToolCall& call : message.tool_calls)
      world.call(Tau2Side::kAssistant, call.name, call.arguments);
}

// What happened, as the reward looks at it.
struct Trajectory {
  std::vector<ToolCall> calls;    // of both sides
  std::vector<std::string> said;  // by the assistant
};

class Reward {
 public:
  Reward(const Json& task, const Tau2World& fresh, Tau2World& world, const Trajectory& trajectory)
      : task_(task), criteria_(criteria_of(task)), world_(world), trajectory_(trajectory) {
    gold_ = fresh.copy();
  }

  Grade grade() {
    Grade grade{.score = 1.0, .parts = Json::object()};
    for (const std::string& basis : bases()) {
      if (basis == "NL_ASSERTION")
        return Grade::unknown("", "its reward needs a judge of natural-language assertions");
      const double part = worth(basis, grade.reason) ? 1 : 0;
      grade.parts[python_lower(basis)] = part;
      *grade.score *= part;
    }
    return grade;
  }

 private:
  std::vector<std::string> bases() const {
    const Json* named = field_of(criteria_, "reward_basis");
    if (named == nullptr) return {"DB", "COMMUNICATE"};
    std::vector<std::string> bases;
    for (const Json& basis : named->as_array()) bases.push_back(basis.as_string());
    return bases;
  }
  // Adds to `why` what is not as it should be.
  bool worth(const std::string& basis, std::string& why) {
    std::string problem;
    if (basis == "DB") problem = database();
    if (basis == "ENV_ASSERTION") problem = assertions();
    if (basis == "ACTION") problem = actions();
    if (basis == "COMMUNICATE") problem = communicated();
    if (!problem.empty()) why += (why.empty() ? "" : "; ") + problem;
    return problem.empty();
  }
  std::string database() {
    // A task without either has no state to reach.
    if (field_of(criteria_, "actions") == nullptr &&
        field_of(criteria_, "env_assertions") == nullptr)
      return "";
    set_state(*gold_, task_);
    const Json actions = list_of(criteria_, "actions");
    for (const Json& action : actions.as_array())
      gold_->call(tau2_side(field_of(action, "requestor")), action.at("name").as_string(),
                  action.at("arguments"));
    return gold_->same_state(world_) ? "" : "the data are not as the task's actions leave them";
  }
  bool holds(const Json& assertion) {
    const Json* value = field_of(assertion, "assert_value");
    try {
      return world_.run(tau2_side(field_of(assertion, "env_type")),
                        assertion.at("func_name").as_string(),
                        assertion.at("arguments")) == (value == nullptr ? Json(true) : *value);
    } catch (const Error&) {
      return false;  // what it speaks of is not there
    }
  }
  std::string assertions() {
    const Json all = list_of(criteria_, "env_assertions");
    for (const Json& assertion : all.as_array())
      if (!holds(assertion))
        return assertion.at("func_name").as_string() + assertion.at("arguments").dump() +
               " does not hold";
    return "";
  }
  std::string actions() const {
    const Json all = list_of(criteria_, "actions");
    for (const Json& action : all.as_array()) {
      const auto& calls = trajectory_.calls;
      if (std::none_of(calls.begin(), calls.end(),
                       [&](const ToolCall& call) { return is_action(action, call); }))
        return "was not called: " + action.at("name").as_string() + action.at("arguments").dump();
    }
    return "";
  }
  std::string communicated() const {
    const Json all = list_of(criteria_, "communicate_info");
    for (const Json& info : all.as_array()) {
      const std::string wanted = python_lower(info.as_string());
      const auto& said = trajectory_.said;
      if (std::none_of(said.begin(), said.end(), [&](const std::string& text) {
            return for_search(text).find(wanted) != std::string::npos;
          }))
        return "was not said: " + info.as_string();
    }
    return "";
  }

  const Json& task_;
  const Json criteria_;
  Tau2World& world_;
  const Trajectory& trajectory_;
  std::unique_ptr<Tau2World> gold_;
};

class Tau2Episode : public Episode {
 public:
  Tau2Episode(const Item& item, const Tau2World& fresh, const std::string& system,
              std::unique_ptr<UserSimulator> user)
      : task_(item.reference),
        fresh_(fresh),
        world_(fresh.copy()),
        tools_(fresh.tools(Tau2Side::kAssistant)),
        user_tools_(fresh.tools(Tau2Side::kUser)),
        system_(system),
        user_(std::move(user)) {
    set_state(*world_, task_);
  }

  EpisodeTurn start() override {
    EpisodeTurn turn{.messages = {{.role = Role::kSystem, .content = system_}}};
    const std::vector<Message> history = opening();
    for (const Message& message : history) note(message);
    turn.messages.insert(turn.messages.end(), history.begin(), history.end());
    if (history.back().role == Role::kAssistant) let_user_speak(turn);
    return turn;
  }

  EpisodeTurn reply(const Answer& answer) override {
    EpisodeTurn turn;
    note({.role = Role::kAssistant, .content = answer.content, .tool_calls = answer.tool_calls});
    if (!answer.tool_calls.empty()) {
      for (const ToolCall& call : answer.tool_calls) turn.messages.push_back(result_of(call));
      turn.over = failed_calls_ >= kFailedCallsMax;
    } else if (python_strip(answer.content).empty()) {
      turn.over = true;  // neither a word nor a call
    } else {
      let_user_speak(turn);
    }
    return turn;
  }

  Grade finish(EpisodeEnd) override {
    if (!stopped_)
      return Grade::wrong("", failed_calls_ >= kFailedCallsMax
                                  ? "too many calls failed"
                                  : "the conversation ended before its user was done");
    return Reward(task_, fresh_, *world_, trajectory_).grade();
  }

  const Json& tools() const override { return tools_; }

 private:
  std::vector<Message> opening() const {
    std::vector<Message> history = history_of(task_);
    if (history.empty())
      history.push_back({.role = Role::kAssistant,
                         .content = "Hello! What can I do for you today?",
                         .trained = false});
    return history;
  }

  // For the reward, and as the user sees it: words alone.
  void note(const Message& message) {
    const bool calls = !message.tool_calls.empty();
    if (message.role == Role::kAssistant) {
      for (const ToolCall& call : message.tool_calls) trajectory_.calls.push_back(call);
      if (!message.content.empty()) trajectory_.said.push_back(message.content);
      if (!calls) users_view_.push_back({.role = Role::kUser, .content = message.content});
    } else if (message.role == Role::kUser) {
      users_view_.push_back({.role = Role::kAssistant, .content = message.content});
    }
  }

  Message result_of(const ToolCall& call) {
    const Tau2Result result = world_->call(Tau2Side::kAssistant, call.name, call.arguments);
    failed_calls_ += result.failed ? 1 : 0;
    return {.role = Role::kTool, .content = result.text, .tool_call_id = call.id};
  }

  // Its own calls first, which the assistant does not see.
  void let_user_speak(EpisodeTurn& turn) {
    for (int i = 0; i < kUserCallsInARow; ++i) {
      const UserTurn said = user_->speak(users_view_, user_tools_);
      if (said.tool_calls.empty()) {
        stopped_ = user_stops(said.text);
        turn.over = stopped_;
        const Message message{.role = Role::kUser, .content = said.text};
        note(message);
        if (!turn.over) turn.messages.push_back(message);
        return;
      }
      users_view_.push_back({.role = Role::kAssistant, .tool_calls = said.tool_calls});
      for (const ToolCall& call : said.tool_calls) {
        trajectory_.calls.push_back(call);
        const Tau2Result result = world_->call(Tau2Side::kUser, call.name, call.arguments);
        users_view_.push_back(
            {.role = Role::kTool, .content = result.text, .tool_call_id = call.id});
      }
    }
    turn.over = true;
  }

  const Json& task_;
  const Tau2World& fresh_;
  std::unique_ptr<Tau2World> world_;
  const Json tools_, user_tools_;
  const std::string& system_;
  std::unique_ptr<UserSimulator> user_;
  std::vector<Message> users_view_;
  Trajectory trajectory_;
  int failed_calls_ = 0;
  bool stopped_ = false;
};

class Tau2Environment : public Environment {
 public:
  Tau2Environment(const Tau2Domain& domain, UserMaker user)
      : world_(tau2_mock_world(domain.database, domain.user_database)),
        system_(
            "You serve the customers of a company. In each turn you either write to the "
            "customer or call tools, never both. Keep to this policy:\n\n" +
            domain.policy),
        user_(std::move(user)) {}

  std::unique_ptr<Episode> begin(const Item& item, const EpisodeSeed&) const override {
    return std::make_unique<Tau2Episode>(item, *world_, system_, user_(item.reference));
  }
  void check(const Item& item) const override {
    const std::string where = "item " + item.id + ": reference";
    item.reference.as_object(where);
    const std::unique_ptr<Tau2World> world = world_->copy();
    try {
      set_state(*world, item.reference);
    } catch (const Error& error) {
      fail(ErrorCode::kInvalidArgument, "{}: initial_state: {}", where, error.what());
    }
  }

 private:
  std::unique_ptr<Tau2World> world_;
  std::string system_;
  UserMaker user_;
};

}  // namespace

std::vector<Item> tau2_items(const Json& tasks, const std::string& source) {
  std::vector<Item> items;
  for (const Json& task : tasks.as_array(source)) {
    const Json* id = task.find("id");
    const std::string where = source + ": task " + std::to_string(items.size() + 1);
    if (id == nullptr) fail(ErrorCode::kInvalidArgument, "{}: has no 'id'", where);
    if (field_of(task, "user_scenario") == nullptr)
      fail(ErrorCode::kInvalidArgument, "{}: has no 'user_scenario'", where);
    const std::string name = id->is_int() ? std::to_string(id->as_int()) : id->as_string(where);
    items.push_back({.id = name, .reference = task});
  }
  return items;
}

std::unique_ptr<Environment> tau2_environment(Tau2Domain domain, UserMaker user) {
  if (domain.name != "mock") {
    fail(ErrorCode::kUnsupported,
         "tau2 domain '{}': its tasks can be read, but its tools are not in this program; only "
         "'mock' can be played",
         domain.name);
  }
  return std::make_unique<Tau2Environment>(domain, std::move(user));
}

}  // namespace dure
