// Fields whose value may be of any kind are taken out by hand; the rest is read by its visit().
#include "suite/task_spec.h"

#include <algorithm>

#include "base/error.h"

namespace dure {
namespace {

constexpr std::array<const char*, 10> kFree = {"choices",   "prompt",   "tools",  "continuations",
                                               "reference", "keep",     "grader", "environment",
                                               "ask",       "generator"};

Json* free_field(TaskSpec& task, std::string_view name) {
  Json* const fields[] = {&task.choices,   &task.prompt,   &task.tools,  &task.continuations,
                          &task.reference, &task.keep,     &task.grader, &task.environment,
                          &task.ask,       &task.generator};
  for (size_t i = 0; i < kFree.size(); ++i)
    if (name == kFree[i]) return fields[i];
  return nullptr;
}

void require(bool holds, const std::string& where, const char* what) {
  if (!holds) fail(ErrorCode::kInvalidArgument, "{}: {}", where, what);
}

void check_source(const TaskSpec& task, const std::string& where) {
  const TaskSource& source = task.source;
  require(!source.files.empty() || !source.generated.empty(), where,
          "source: give files, or generated");
  bool rows = !source.generated.empty();
  for (const SourceFile& file : source.files) {
    require(!file.paths.empty(), where, "source: files: a file needs paths");
    const bool named = file.use != FileUse::kRows && file.use != FileUse::kPick;
    require(!named || !file.as.empty(), where,
            "source: files: what is joined, shown or beside needs a name: as");
    require(file.use != FileUse::kPick || !file.list.empty(), where,
            "source: files: what picks rows names the list of their ids: list");
    rows |= file.use == FileUse::kRows;
  }
  require(rows, where, "source: files: none of them holds the items (use: rows)");
}

void check_task(const TaskSpec& task, const std::string& where) {
  require(!task.name.empty(), where, "name: a task needs one");
  check_source(task, where);
  require(task.grader.is_null() != task.environment.is_null(), where,
          "give either a grader or an environment");
  require(!task.prompt.is_null() || !task.environment.is_null() || !task.source.generated.empty(),
          where, "prompt: how is an item asked?");
  require(task.mode != TaskMode::kLogLikelihood || !task.continuations.is_null(), where,
          "continuations: mode log_likelihood scores them");
  AskSettings settings;
  lay_over(settings, task.ask, where + ": ask");
}

}  // namespace

void lay_over(AskSettings& settings, const Json& json, const std::string& where) {
  if (!json.is_null()) from_json(settings, json, where);
}

bool is_ask_field(const std::string& name) { return to_json(AskSettings()).contains(name); }

TaskSpec task_from_json(const Json& json, const std::string& origin) {
  TaskSpec task;
  task.origin = origin;
  Json plain = Json::object();
  for (const auto& [name, value] : json.as_object(origin)) {
    if (Json* field = free_field(task, name)) {
      *field = value;
    } else {
      plain[name] = value;
    }
  }
  from_json(task, plain, origin);
  check_task(task, origin);
  return task;
}

Json task_to_json(const TaskSpec& task) {
  Json out = to_json(task);
  TaskSpec copy = task;
  for (const char* name : kFree) {
    if (const Json* field = free_field(copy, name); !field->is_null()) out[name] = *field;
  }
  return out;
}

}  // namespace dure
