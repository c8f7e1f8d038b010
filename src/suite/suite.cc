// Settings in layers: a task's own, the suite's, the suite's for this task, the command line's.
#include "suite/suite.h"

#include <algorithm>

#include "base/error.h"
#include "suite/shipped.h"

namespace dure {
namespace {

struct SuiteHead {
  std::string name, title, about;
  std::vector<std::string> rivals;
  int64_t seed = 1;
  int64_t items_max = 0;
  template <typename V>
  void visit(V& v) {
    v("name", name, "what the command line calls it");
    v("title", title, "as reports call it");
    v("about", about, "one sentence");
    v("rivals", rivals, "tables of scores of other models to compare with");
    v("seed", seed, "of sampling", at_least(0));
    v("items_max", items_max, "items of each task, evenly spaced over all (0: all)", at_least(0));
  }
};

bool has_extension(const std::string& name, std::initializer_list<const char*> extensions) {
  return std::any_of(extensions.begin(), extensions.end(),
                     [&](const char* one) { return name.ends_with(one); });
}
bool is_yaml(const std::string& name) { return has_extension(name, {".yaml", ".yml"}); }
bool is_items(const std::string& name) {
  return has_extension(name, {".jsonl", ".jsonl.gz", ".jsonl.zst"});
}

TaskSpec shipped_task(const std::string& name, const std::string& where) {
  const ShippedFile* file = find_shipped("tasks", name);
  if (file == nullptr) {
    const std::string near = nearest_name(name, shipped_names("tasks"));
    fail(ErrorCode::kNotFound, "{}: there is no task '{}'{}; `dure eval --tasks` lists them", where,
         name, near.empty() ? "" : fmt::format(" (is it '{}'?)", near));
  }
  return task_from_json(parse_yaml(file->text, std::string(file->name)), std::string(file->name));
}

// Takes what is named out of `json`.
Json take(Json& json, const std::string& name) {
  Json::Object& members = json.as_object();
  for (auto at = members.begin(); at != members.end(); ++at) {
    if (at->first != name) continue;
    Json out = std::move(at->second);
    members.erase(at);
    return out;
  }
  return {};
}

// The fields of AskSettings that stand among others.
Json take_ask(Json& json) {
  Json out;
  const Json::Object members = json.as_object();
  for (const auto& [name, value] : members)
    if (is_ask_field(name)) out[name] = take(json, name);
  return out;
}

// A suite has fields of its own and those of AskSettings: both are suggested.
void check_suite_fields(const Json& rest, const std::string& origin) {
  const Json head = to_json(SuiteHead()), ask = to_json(AskSettings());
  std::vector<std::string> known = {"tasks"};
  for (const Json* one : {&head, &ask})
    for (const auto& [name, value] : one->as_object()) known.push_back(name);
  for (const auto& [name, value] : rest.as_object()) {
    if (head.contains(name)) continue;
    const std::string near = nearest_name(name, known);
    fail(ErrorCode::kInvalidArgument, "{}: unknown field '{}'{}", origin, name,
         near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
  }
}

// A task's file names its rows' files relative to itself too: where one lies there, it comes first.
TaskSpec task_beside(const Path& path) {
  TaskSpec out = task_from_json(load_yaml(path), path.string());
  for (SourceFile& file : out.source.files) {
    std::vector<std::string> beside;
    for (const std::string& name : file.paths) {
      const Path there = path.parent_path() / name;
      if (name.find('*') == std::string::npos && path_exists(there))
        beside.push_back(std::filesystem::absolute(there).string());
    }
    file.paths.insert(file.paths.begin(), beside.begin(), beside.end());
  }
  return out;
}

struct EntryForm {
  TaskSpec task;
  Json ask;
  int64_t items_max = 0;
};

// A name, a file, {task: NAME, ...settings}, or a whole task.
EntryForm read_entry(const Json& json, const std::string& where, const Path& folder) {
  if (json.is_string()) {
    const std::string& name = json.as_string();
    if (!is_yaml(name)) return {.task = shipped_task(name, where)};
    const Path path = folder / name;
    return {.task = task_beside(path)};
  }
  Json rest = json;
  rest.as_object(where);
  if (rest.contains("source")) return {.task = task_from_json(rest, where)};
  const Json name = take(rest, "task");
  if (name.is_null())
    fail(ErrorCode::kInvalidArgument, "{}: give `task: NAME`, or a whole task with a source",
         where);
  EntryForm out = read_entry(Json(name.as_string(where + ": task")), where, folder);
  out.ask = take_ask(rest);
  if (const Json count = take(rest, "items_max"); !count.is_null())
    out.items_max = count.as_int(where + ": items_max");
  for (const auto& [field, value] : rest.as_object()) {
    Json merged = task_to_json(out.task);
    if (!merged.contains(field) && field != "reference" && field != "keep")
      fail(ErrorCode::kInvalidArgument, "{}: neither a task nor its settings have a field '{}'",
           where, field);
    merged[field] = value;
    out.task = task_from_json(merged, where);
  }
  return out;
}

bool chosen(const std::vector<std::string>& only, const std::string& name) {
  return only.empty() || std::find(only.begin(), only.end(), name) != only.end();
}

void check_only(const Suite& suite, const std::vector<std::string>& only,
                const std::vector<std::string>& all) {
  for (const std::string& name : only) {
    if (std::find(all.begin(), all.end(), name) != all.end()) continue;
    std::string names;
    for (const std::string& one : all) names += (names.empty() ? "" : ", ") + one;
    fail(ErrorCode::kInvalidArgument, "--only {}: the suite {} has no such task; it has: {}", name,
         suite.name, names);
  }
}

Json wrapped(const TaskSpec& task) {
  Json list = Json::array();
  list.push_back(task_to_json(task));
  Json out = Json::object();
  out["name"] = task.name;
  if (!task.title.empty()) out["title"] = task.title;
  if (!task.about.empty()) out["about"] = task.about;
  out["tasks"] = std::move(list);
  return out;
}

}  // namespace

Suite suite_from_json(const Json& json, const std::string& origin, const Path& folder,
                      const SuiteOverrides& overrides) {
  Json rest = json;
  rest.as_object(origin);
  const Json tasks = take(rest, "tasks");
  const Json ask = take_ask(rest);
  check_suite_fields(rest, origin);
  SuiteHead head;
  from_json(head, rest, origin);
  Suite out{.name = head.name.empty() ? Path(origin).stem().string() : head.name,
            .title = overrides.title.empty() ? head.title : overrides.title,
            .about = head.about,
            .rivals = head.rivals,
            .seed = overrides.seed >= 0 ? overrides.seed : head.seed};
  std::vector<std::string> names;
  for (const Json& one : tasks.as_array(origin + ": tasks")) {
    const std::string where = fmt::format("{}: tasks {}", origin, names.size() + 1);
    EntryForm form = read_entry(one, where, folder);
    if (std::find(names.begin(), names.end(), form.task.name) != names.end())
      fail(ErrorCode::kInvalidArgument, "{}: another task is named '{}' already", where,
           form.task.name);
    names.push_back(form.task.name);
    if (!chosen(overrides.only, form.task.name)) continue;
    SuiteEntry entry{.task = std::move(form.task)};
    lay_over(entry.ask, entry.task.ask, where + ": ask");
    lay_over(entry.ask, ask, origin);
    lay_over(entry.ask, form.ask, where);
    lay_over(entry.ask, overrides.ask, "settings");
    // Nothing is drawn: a second answer would be the first.
    if (entry.task.mode == TaskMode::kLogLikelihood) entry.ask.samples = 1;
    entry.items_max = overrides.items_max > 0 ? overrides.items_max
                      : form.items_max > 0    ? form.items_max
                                              : head.items_max;
    out.entries.push_back(std::move(entry));
  }
  check_only(out, overrides.only, names);
  if (out.entries.empty()) fail(ErrorCode::kInvalidArgument, "{}: it has no tasks", origin);
  return out;
}

TaskSpec task_of_items_file(const Path& path, const Json& grader, const Json& environment) {
  std::string name = path.filename().string();
  name.resize(name.find(".jsonl"));
  Json json = Json::object();
  json["name"] = name;
  json["about"] = "own items: " + path.string();
  Json file = Json::object();
  file["paths"] =
      Json::array_of(std::vector<std::string>{std::filesystem::absolute(path).string()});
  file["keys_once"] = true;
  Json source = Json::object();
  source["files"] = Json::array_of(std::vector<Json>{file});
  json["source"] = std::move(source);
  json["own_rows"] = true;
  json["id"] = "{{ id if id is defined else row_number }}";
  json["group"] = "{{ group if group is defined else '' }}";
  json["prompt"] = "{{ messages if messages is defined else prompt }}";
  json["tools"] = "{{ tools if tools is defined else none }}";
  json["reference"] =
      "{{ reference if reference is defined else (answers if answers is defined else "
      "(answer if answer is defined else none)) }}";
  json["keep"] = "{{ row }}";
  if (!environment.is_null()) {
    environment.as_object(path.string() + ": environment");
    json["environment"] = environment;
    if (!environment.contains("name"))
      json["environment"]["name"] = environment.contains("url") ? "http" : "command";
    return task_from_json(json, path.string());
  }
  json["grader"] = parse_json(R"({"name":"row_grader"})", name);
  if (!grader.is_null()) json["grader"]["otherwise"] = grader;
  return task_from_json(json, path.string());
}

bool is_suite_file(const std::string& given) { return is_yaml(given) || is_items(given); }

bool is_older_suite(const std::string& given) {
  if (!is_yaml(given) || !path_exists(given)) return false;
  const Json json = load_yaml(given);
  const Json* tasks = json.find("tasks");
  return json.is_object() && (tasks == nullptr || tasks->is_object()) && !json.contains("source");
}

bool names_a_suite(const std::string& given) {
  if (find_shipped("suites", given) != nullptr) return true;
  if (is_suite_file(given)) return path_exists(given) && !is_older_suite(given);
  return find_shipped("tasks", given) != nullptr && !path_exists(given);
}

Suite load_suite(const std::string& given, const SuiteOverrides& overrides) {
  if (const ShippedFile* file = find_shipped("suites", given); file != nullptr && !is_yaml(given))
    return suite_from_json(parse_yaml(file->text, std::string(file->name)), given, ".", overrides);
  if (is_suite_file(given) && !path_exists(given))
    fail(ErrorCode::kNotFound, "{}: there is no such file (a suite, or a JSONL of items)", given);
  if (is_suite_file(given) && std::filesystem::is_directory(given))
    fail(ErrorCode::kInvalidArgument, "{}: it is a folder: name a file in it", given);
  if (is_items(given))
    return suite_from_json(
        wrapped(task_of_items_file(given, overrides.grader, overrides.environment)), given, ".",
        overrides);
  if (is_yaml(given)) {
    const Json json = load_yaml(given);
    if (!json.is_object())
      fail(ErrorCode::kInvalidArgument,
           "{}: a suite is an object with a list of `tasks`; this is {}", given,
           json.is_null() ? "empty" : json.kind_name());
    if (json.contains("source"))
      return suite_from_json(wrapped(task_beside(given)), given, ".", overrides);
    return suite_from_json(json, given, Path(given).parent_path(), overrides);
  }
  if (find_shipped("tasks", given) != nullptr)
    return suite_from_json(wrapped(shipped_task(given, given)), given, ".", overrides);
  std::string names;
  for (const std::string& name : shipped_names("suites"))
    names += (names.empty() ? "" : ", ") + name;
  fail(ErrorCode::kNotFound,
       "'{}' is no suite: give one of {}, a task (`dure eval --tasks`), a YAML file or a JSONL of "
       "items",
       given, names);
}

}  // namespace dure
