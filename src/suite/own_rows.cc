// One rule after the other; the first that is broken is told.
#include "suite/own_rows.h"

#include <vector>

#include "base/error.h"
#include "base/options.h"
#include "base/python_text.h"
#include "suite/task_items.h"

namespace dure {
namespace {

bool says_nothing(const Json& prompt) {
  return prompt.is_string() ? python_strip(prompt.as_string()).empty() : prompt.size() == 0;
}

void check_question(const Json& row, const std::string& where) {
  const Json* prompt = row.find("prompt");
  const Json* messages = row.find("messages");
  if (prompt == nullptr && messages == nullptr)
    fail(ErrorCode::kInvalidArgument, "{} has neither prompt nor messages", where);
  if (prompt != nullptr && messages != nullptr)
    fail(ErrorCode::kInvalidArgument, "{} has both prompt and messages: give one of them", where);
  if (prompt != nullptr && !prompt->is_string() && !prompt->is_array())
    fail(ErrorCode::kInvalidArgument, "{}: prompt should be a text or a list of messages, not {}",
         where, prompt->kind_name());
  if (messages != nullptr && !messages->is_array())
    fail(ErrorCode::kInvalidArgument, "{}: messages should be a list of {{role, content}}, not {}",
         where, messages->kind_name());
  if (says_nothing(prompt != nullptr ? *prompt : *messages))
    fail(ErrorCode::kInvalidArgument, "{}: {} is empty: it asks nothing", where,
         prompt != nullptr ? "prompt" : "messages");
}

// As OpenAI writes them; what else stands in a declaration is for the template.
void check_tools(const Json& row, const std::string& where) {
  const Json* tools = row.find("tools");
  if (tools == nullptr || tools->is_null()) return;
  if (!tools->is_array())
    fail(ErrorCode::kInvalidArgument, "{}: tools should be a list of declarations, not {}", where,
         tools->kind_name());
  for (size_t i = 0; i < tools->size(); ++i) {
    if (!tools->at(i).is_object())
      fail(ErrorCode::kInvalidArgument,
           "{}: tools[{}] should be a declaration ({{type, function: {{name, parameters}}}}), not "
           "{}",
           where, i, tools->at(i).kind_name());
  }
}

// A row may have any fields; one that is nearly the name of an answer, where there is none, is it.
void check_answer(const Json& row, const std::string& where) {
  const std::vector<std::string> names = {"answer", "answers", "reference"};
  std::string given;
  for (const std::string& name : names) {
    if (!row.contains(name)) continue;
    if (!given.empty())
      fail(ErrorCode::kInvalidArgument, "{} has both {} and {}: give one of them", where, given,
           name);
    given = name;
  }
  if (!given.empty()) return;
  for (const auto& [name, value] : row.as_object()) {
    if (const std::string near = nearest_name(name, names); !near.empty())
      fail(ErrorCode::kInvalidArgument, "{} has no answer; is its field '{}' meant as '{}'?", where,
           name, near);
  }
}

// Of a grader that the row names itself; its options are checked by who makes it.
void check_grader(const Json& row, const std::string& where) {
  static const GraderTable table = suite_graders();
  const Json* grader = row.find("grader");
  if (grader == nullptr || grader->is_null()) return;
  const Json* name = grader->is_object() ? grader->find("name") : grader;
  if (name == nullptr || !name->is_string())
    fail(ErrorCode::kInvalidArgument, "{}: grader should be a name, or {{name: ..., options}}",
         where);
  if (table.contains(name->as_string())) return;
  std::vector<std::string> names;
  for (const auto& [one, maker] : table) names.push_back(one);
  const std::string near = nearest_name(name->as_string(), names);
  fail(ErrorCode::kInvalidArgument,
       "{}: there is no grader '{}'{}; `dure eval --graders` lists them", where, name->as_string(),
       near.empty() ? "" : fmt::format(" (is it '{}'?)", near));
}

}  // namespace

void check_own_row(const Json& row, const std::string& where) {
  check_question(row, where);
  check_tools(row, where);
  check_answer(row, where);
  check_grader(row, where);
}

}  // namespace dure
