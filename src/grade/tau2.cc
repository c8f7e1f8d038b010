// The assistant's turns go to tools or to the user; the reward compares the world with a second one
// in which the task's own actions were taken.
#include "grade/tau2.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/python_text.h"
#include "grade/judge.h"
#include "grade/python_value.h"
#include "grade/tau2/domains.h"

namespace dure {
namespace {

// tau2's limits of one conversation (config.py, commit 0ade84fd): calls that failed, and steps:
// each message of either side is one, and each answer to its calls.
constexpr int kFailedCallsMax = 10;
constexpr int kStepsMax = 200;

constexpr std::array<std::string_view, 5> kBases = {"DB", "ENV_ASSERTION", "ACTION", "COMMUNICATE",
                                                    "NL_ASSERTION"};

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
  std::vector<ToolCall> calls;     // of both sides
  std::vector<std::string> said;   // by the assistant
  std::vector<std::string> lines;  // all that was said and shown, for a judge
};

// A judge's question about one natural-language assertion.
std::vector<Message> question_about(const std::string& assertion, const Trajectory& trajectory) {
  std::string text =
      "This is a conversation of a service agent with a customer, with what tools showed between "
      "them.\n\n";
  for (const std::string& line : trajectory.lines) text += line + "\n";
  text += "\nThis was expected of it:\n" + assertion +
          "\n\nSay in a sentence whether the agent met the expectation, then end with a line "
          "'Verdict: yes' or 'Verdict: no'.";
  return {{.role = Role::kUser, .content = text}};
}

class Reward {
 public:
  Reward(const Json& task, const Tau2World& fresh, Tau2World& world, const Trajectory& trajectory,
         const Tau2Judge& judge)
      : task_(task),
        criteria_(criteria_of(task)),
        world_(world),
        trajectory_(trajectory),
        judge_(judge) {
    gold_ = fresh.copy();
  }

  Grade grade() {
    Grade grade{.score = 1.0, .parts = Json::object()};
    for (const std::string& basis : bases()) {
      const double part = worth(basis, grade.reason) ? 1 : 0;
      if (!undecided_.empty()) return Grade::unknown("", undecided_);
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
    if (basis == "NL_ASSERTION") problem = judged();
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
      gold_->replay(tau2_side(field_of(action, "requestor")), action.at("name").as_string(),
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

  // One question for each; what nobody can tell is left undecided.
  std::string judged() {
    const Json all = list_of(criteria_, "nl_assertions");
    for (const Json& assertion : all.as_array()) {
      const std::string& text = assertion.as_string("nl_assertions");
      const std::optional<double> verdict =
          judge_ ? read_verdict(JudgeForm::kYesOrNo, judge_(question_about(text, trajectory_)))
                 : std::nullopt;
      if (!verdict) {
        undecided_ = judge_ ? "the judge said neither yes nor no: " + text
                            : "its reward needs a judge of natural-language assertions (--judge)";
        return undecided_;
      }
      if (*verdict == 0) return "was not so: " + text;
    }
    return "";
  }

  const Json& task_;
  const Json criteria_;
  Tau2World& world_;
  const Trajectory& trajectory_;
  const Tau2Judge& judge_;
  std::string undecided_;
  std::unique_ptr<Tau2World> gold_;
};

class Tau2Episode : public Episode {
 public:
  Tau2Episode(const Item& item, const Tau2World& fresh, const std::string& system,
              std::unique_ptr<UserSimulator> user, const Tau2Judge& judge)
      : task_(item.reference),
        fresh_(fresh),
        judge_(judge),
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
    ++steps_;
    if (!answer.tool_calls.empty()) {
      for (const ToolCall& call : answer.tool_calls)
        turn.messages.push_back(result_of(Tau2Side::kAssistant, call));
      ++steps_;
      turn.over = beyond_limits();
    } else if (python_strip(answer.content).empty() || beyond_limits()) {
      turn.over = true;  // neither a word nor a call
    } else {
      let_user_speak(turn);
    }
    return turn;
  }

  Grade finish(EpisodeEnd) override {
    if (!failure_.empty()) {
      Grade grade = Grade::unknown("", "the user: " + failure_);
      grade.failure = "user";
      return grade;
    }
    if (stopped_) return Reward(task_, fresh_, *world_, trajectory_, judge_).grade();
    if (failed_calls_ >= kFailedCallsMax) return Grade::wrong("", "too many calls failed");
    if (steps_ >= kStepsMax)
      return Grade::wrong("", "after " + std::to_string(kStepsMax) + " steps it was not over");
    return Grade::wrong("", "the conversation ended before its user was done");
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
      if (!message.content.empty()) {
        trajectory_.said.push_back(message.content);
        trajectory_.lines.push_back("agent: " + message.content);
      }
      if (!calls) users_view_.push_back({.role = Role::kUser, .content = message.content});
    } else if (message.role == Role::kUser) {
      trajectory_.lines.push_back("customer: " + message.content);
      users_view_.push_back({.role = Role::kAssistant, .content = message.content});
    }
  }

  Message result_of(Tau2Side side, const ToolCall& call) {
    const Tau2Result result = world_->call(side, call.name, call.arguments);
    failed_calls_ += result.failed ? 1 : 0;
    trajectory_.lines.push_back("tool: " + result.text);
    return {.role = Role::kTool, .content = result.text, .tool_call_id = call.id};
  }
  bool beyond_limits() const { return steps_ >= kStepsMax || failed_calls_ >= kFailedCallsMax; }

  // Its own calls first, which the assistant does not see.
  void let_user_speak(EpisodeTurn& turn) {
    while (!beyond_limits()) {
      UserTurn said = next_of_user();
      if (!failure_.empty()) break;
      ++steps_;
      if (said.tool_calls.empty()) {
        const Message message{.role = Role::kUser, .content = said.text};
        note(message);
        stopped_ = user_stops(said.text) && !beyond_limits();
        turn.over = stopped_ || beyond_limits();
        if (!turn.over) turn.messages.push_back(message);
        return;
      }
      name_calls(said.tool_calls, steps_);
      users_view_.push_back({.role = Role::kAssistant, .tool_calls = said.tool_calls});
      for (const ToolCall& call : said.tool_calls) {
        trajectory_.calls.push_back(call);
        users_view_.push_back(result_of(Tau2Side::kUser, call));
      }
      ++steps_;
    }
    turn.over = true;
  }
  // What goes wrong with it is nobody's answer.
  UserTurn next_of_user() {
    try {
      UserTurn said = user_->speak(users_view_, user_tools_);
      if (said.tool_calls.empty() && python_strip(said.text).empty()) failure_ = "it said nothing";
      return said;
    } catch (const GraderGone&) {
      throw;
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInterrupted) throw;
      failure_ = error.what();
    }
    return {};
  }

  const Json& task_;
  const Tau2World& fresh_;
  const Tau2Judge& judge_;
  std::unique_ptr<Tau2World> world_;
  const Json tools_, user_tools_;
  const std::string& system_;
  std::unique_ptr<UserSimulator> user_;
  std::vector<Message> users_view_;
  Trajectory trajectory_;
  int failed_calls_ = 0, steps_ = 0;
  bool stopped_ = false;
  std::string failure_;  // of the user
};

class Tau2Environment : public Environment {
 public:
  Tau2Environment(const Tau2Domain& domain, Tau2WorldMaker make_world, UserMaker user,
                  Tau2Judge judge)
      : world_(make_world(domain.database, domain.user_database)),
        system_(
            "You serve the customers of a company. In each turn you either write to the "
            "customer or call tools, never both. Keep to this policy:\n\n" +
            domain.policy),
        user_(std::move(user)),
        judge_(std::move(judge)) {}

  std::unique_ptr<Episode> begin(const Item& item, const EpisodeSeed&) const override {
    return std::make_unique<Tau2Episode>(item, *world_, system_, user_(item.reference), judge_);
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
    const Json criteria = criteria_of(item.reference);
    check_names(criteria, {"actions", "requestor", "name"}, where);
    check_names(criteria, {"env_assertions", "env_type", "func_name"}, where);
    const Json bases = list_of(criteria, "reward_basis");
    for (const Json& basis : bases.as_array(where + ": reward_basis"))
      if (std::find(kBases.begin(), kBases.end(), basis.as_string(where)) == kBases.end())
        fail(ErrorCode::kInvalidArgument, "{}: there is no reward basis '{}'", where,
             basis.as_string());
  }

 private:
  // A function that the world lacks would be worth 0 to everyone, in silence.
  struct NamesIn {
    const char *list, *side, *name;
  };
  void check_names(const Json& criteria, const NamesIn& in, const std::string& where) const {
    const Json all = list_of(criteria, in.list);
    for (const Json& one : all.as_array(where + ": " + in.list)) {
      const std::string& name = one.at(in.name).as_string(where + ": " + in.list);
      if (world_->has(tau2_side(field_of(one, in.side)), name)) continue;
      fail(ErrorCode::kInvalidArgument, "{}: {}: this domain has no function '{}'", where, in.list,
           name);
    }
  }

  std::unique_ptr<Tau2World> world_;
  std::string system_;
  UserMaker user_;
  Tau2Judge judge_;
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

std::unique_ptr<Environment> tau2_environment(const Tau2Domain& domain, UserMaker user,
                                              Tau2Judge judge) {
  std::string known;
  for (const auto& [name, make_world] : tau2_domains()) {
    if (name == domain.name)
      return std::make_unique<Tau2Environment>(domain, make_world, std::move(user),
                                               std::move(judge));
    known += (known.empty() ? "" : ", ") + std::string(name);
  }
  fail(ErrorCode::kUnsupported,
       "tau2 domain '{}': its tasks can be read, but its tools are not in this program (played can "
       "be: {})",
       domain.name, known);
}

bool can_play_tau2(std::string_view domain) {
  const auto& rows = tau2_domains();
  return std::any_of(rows.begin(), rows.end(),
                     [&](const Tau2DomainRow& row) { return row.name == domain; });
}

}  // namespace dure
