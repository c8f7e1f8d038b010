// grade/tau2/function_table.h: a domain of tau2 as a state and two tables of functions on it.
//
// A function is one row: its name, its parameters, what it does; with a description it is a tool.
// A state is copied freely, and has
//   void settle();                                 // what one side's data mean on the other
//   void update(Tau2Side side, const Json& data);  // as Tau2World::update()
//   bool same(const State& other) const;
// Owns looking functions up, checking arguments, results as texts, declarations. Not here: any
// domain.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "grade/tau2/world.h"

namespace dure {

struct Tau2Parameter {
  std::string name;
  std::string description;
  // JSON Schema's; "": anything; "texts": a list of strings; "records": one of objects of `fields`.
  const char* type = "string";
  bool required = true;
  std::vector<Tau2Parameter> fields = {};
};

struct Tau2Signature {
  std::string name;
  std::string description;  // of a tool; empty: of initial states and assertions alone
  std::vector<Tau2Parameter> parameters;
};

template <typename State>
struct Tau2Function {
  Tau2Signature signature;
  Json (*run)(State& state, const Json& arguments);
};
template <typename State>
using Tau2Functions = std::vector<Tau2Function<State>>;

// What went wrong with a call, for its caller to read.
[[noreturn]] void tau2_refuse(const std::string& why);

Json tau2_declaration(const Tau2Signature& signature);
// Refuses what is no object, lacks a parameter or has another one.
void check_arguments(const Tau2Signature& signature, const Json& arguments);
// Texts as they are, the rest as json.dumps() has it.
std::string tau2_result_text(const Json& result);
// `base` with `data` laid over it, key by key and deeply; lists are replaced.
void lay_over(Json& base, const Json& data);

// An argument of a call; refused where it is of another kind.
const std::string& text_argument(const Json& arguments, const char* name);
double number_argument(const Json& arguments, const char* name);
bool flag_argument(const Json& arguments, const char* name);
std::vector<std::string> texts_argument(const Json& arguments, const char* name);

template <typename State>
class Tau2TableWorld : public Tau2World {
 public:
  using Functions = Tau2Functions<State>;
  // The tables must outlive it.
  Tau2TableWorld(State state, const Functions& assistant, const Functions& user)
      : state_(std::move(state)), assistant_(&assistant), user_(&user) {}

  std::unique_ptr<Tau2World> copy() const override {
    return std::make_unique<Tau2TableWorld>(*this);
  }

  Json tools(Tau2Side side) const override {
    Json list = Json::array();
    for (const Tau2Function<State>& one : of(side))
      if (!one.signature.description.empty()) list.push_back(tau2_declaration(one.signature));
    return list;
  }

  bool has(Tau2Side side, const std::string& name) const override {
    return find(side, name) != nullptr;
  }

  Tau2Result call(Tau2Side side, const std::string& name, const Json& arguments) override {
    try {
      const Json result = tool(side, name, arguments);
      state_.settle();
      return {tau2_result_text(result)};
    } catch (const Error& error) {
      return {std::string("Error: ") + error.what(), true};
    }
  }

  void replay(Tau2Side side, const std::string& name, const Json& arguments) override {
    try {
      tool(side, name, arguments);
    } catch (const Error&) {  // the state is as far as it came
    }
  }

  Json run(Tau2Side side, const std::string& name, const Json& arguments) override {
    const Tau2Function<State>* found = find(side, name);
    if (found == nullptr) {
      tau2_refuse("the " + std::string(side == Tau2Side::kUser ? "user" : "assistant") +
                  "'s side has no function '" + name + "'");
    }
    check_arguments(found->signature, arguments);
    Json result = found->run(state_, arguments);
    state_.settle();
    return result;
  }

  void update(Tau2Side side, const Json& data) override { state_.update(side, data); }

  bool same_state(const Tau2World& other) const override {
    return state_.same(dynamic_cast<const Tau2TableWorld&>(other).state_);
  }

 private:
  const Functions& of(Tau2Side side) const {
    return side == Tau2Side::kUser ? *user_ : *assistant_;
  }
  const Tau2Function<State>* find(Tau2Side side, const std::string& name) const {
    for (const Tau2Function<State>& one : of(side))
      if (one.signature.name == name) return &one;
    return nullptr;
  }
  Json tool(Tau2Side side, const std::string& name, const Json& arguments) {
    const Tau2Function<State>* found = find(side, name);
    if (found == nullptr || found->signature.description.empty())
      tau2_refuse("Tool '" + name + "' not found.");
    check_arguments(found->signature, arguments);
    return found->run(state_, arguments);
  }

  State state_;
  const Functions *assistant_, *user_;
};

}  // namespace dure
