// The table of graders; each file of graders adds its own rows.
#include "grade/graders.h"

#include "base/error.h"
#include "grade/choice.h"
#include "grade/code.h"
#include "grade/function_call.h"
#include "grade/instructions/instruction_grader.h"
#include "grade/judge.h"
#include "grade/match.h"
#include "grade/maths.h"
#include "grade/verifier.h"

namespace dure {
namespace {

std::string names_of(const GraderTable& table) {
  std::string names;
  for (const auto& [name, maker] : table) names += (names.empty() ? "" : ", ") + name;
  return names;
}

// The fields but the name; null where there are none.
Json options_of(const Json& spec) {
  Json options;
  for (const auto& [name, value] : spec.as_object())
    if (name != "name") options[name] = value;
  return options;
}

}  // namespace

GraderTable standard_graders() {
  GraderTable table;
  add_choice_graders(table);
  add_match_graders(table);
  add_maths_graders(table);
  add_instruction_graders(table);
  add_code_graders(table);
  add_function_call_graders(table);
  add_judge_graders(table);
  add_verifier_graders(table);
  return table;
}

std::unique_ptr<Grader> make_grader(const GraderTable& table, const Json& spec,
                                    const GraderWorld& world, const std::string& where) {
  const Json* name = spec.is_object() ? spec.find("name") : &spec;
  if (name == nullptr || !name->is_string())
    fail(ErrorCode::kInvalidArgument, "{}: give a grader's name: {}", where, names_of(table));
  const auto found = table.find(name->as_string());
  if (found == table.end()) {
    fail(ErrorCode::kInvalidArgument, "{}: there is no grader '{}'; there are: {}", where,
         name->as_string(), names_of(table));
  }
  return found->second(spec.is_object() ? options_of(spec) : Json(), world,
                       where + " " + found->first);
}

}  // namespace dure
