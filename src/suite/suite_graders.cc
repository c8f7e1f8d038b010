// The graders of this folder, and the way from a task to what grades it.
#include <algorithm>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/toml.h"
#include "grade/program_environment.h"
#include "grade/tau2.h"
#include "suite/expression.h"
#include "suite/generated_items.h"
#include "suite/task_items.h"

namespace dure {
namespace {

// Of a user's own file: each row may name its own grader (Item::fields "grader"); `otherwise` is
// that of the others.
class RowGrader : public Grader {
 public:
  RowGrader(Json otherwise, GraderWorld world, std::string where)
      : otherwise_(std::move(otherwise)), world_(std::move(world)), where_(std::move(where)) {}

  Grade grade(const Item& item, const Answer& answer) const override {
    return of(item).grade(item, answer);
  }
  void check(const Item& item) const override { of(item).check(item); }
  int64_t concurrency() const override {
    const std::lock_guard lock(mutex_);
    int64_t out = 1;
    for (const auto& [spec, grader] : graders_) out = std::max(out, grader->concurrency());
    return out;
  }

 private:
  // Who downloads rows has not said that they may run programs here.
  void check_own(const Json& spec, const Item& item) const {
    const Json* named = spec.is_object() ? spec.find("name") : &spec;
    const std::string name = named != nullptr && named->is_string() ? named->as_string() : "";
    if (world_.row_programs || (name != "command" && name != "http")) return;
    fail(ErrorCode::kInvalidArgument,
         "{}: item {}: its row names the grader '{}', which {} outside any sandbox: where these "
         "rows are your own, allow it (dure eval: --allow-row-programs; dure rl: row_programs: "
         "true beside the file)",
         where_, item.id, name, name == "http" ? "sends answers to an address" : "runs a program");
  }
  const Grader& of(const Item& item) const {
    const Json* own = item.fields.find("grader");
    const Json& spec = own != nullptr && !own->is_null() ? *own : otherwise_;
    if (spec.is_null()) {
      fail(ErrorCode::kInvalidArgument,
           "{}: item {} names no grader: give one (dure eval: --grader NAME; dure rl: grader or "
           "verifier), or each row a field \"grader\"",
           where_, item.id);
    }
    if (&spec == own) check_own(spec, item);
    const std::lock_guard lock(mutex_);
    std::unique_ptr<Grader>& made = graders_[spec.dump()];
    const std::string where = &spec == own ? where_ + ": item " + item.id : where_;
    if (made == nullptr) made = make_grader(suite_graders(), spec, world_, where);
    return *made;
  }

  Json otherwise_;
  GraderWorld world_;
  std::string where_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, std::unique_ptr<Grader>> graders_;
};

std::unique_ptr<Grader> make_row_grader(const Json& options, const GraderWorld& world,
                                        const std::string& where) {
  const Json* otherwise = options.find("otherwise");
  // Its own name says nothing to who wrote the items.
  return std::make_unique<RowGrader>(otherwise != nullptr ? *otherwise : Json(), world,
                                     where.substr(0, where.rfind(' ')));
}

// Plain comparisons by their own names, for a user's items: `exact` is {name: match, style: exact}.
void add_short_names(GraderTable& table) {
  const GraderMaker match = table.at("match");
  for (const char* style : {"exact", "normalised", "contains", "integer"}) {
    table[style] = [match, style](const Json& options, const GraderWorld& world,
                                  const std::string& where) {
      Json with_style = options.is_null() ? Json::object() : options;
      with_style["style"] = style;
      return match(with_style, world, where);
    };
  }
}

std::string environment_name(const TaskSpec& task) {
  const Json* name = task.environment.find("name");
  return text_of_value(name == nullptr ? task.environment : *name);
}

bool is_program(const TaskSpec& task) {
  const std::string name = environment_name(task);
  return name == "command" || name == "http";
}

constexpr std::string_view kTau2 = "tau2_";  // and the domain

bool is_tau2(const TaskSpec& task) {
  const std::string name = environment_name(task);
  return name.starts_with(kTau2) && can_play_tau2(std::string_view(name).substr(kTau2.size()));
}

Json load_data(const Path& path) {
  return path.extension() == ".toml" ? load_toml(path) : load_json(path);
}

// The two parts of telecom's policy stand in the tags in which they are published.
std::string policy_of(const std::string& main, const std::string& support) {
  if (support.empty()) return main;
  return "<main_policy>\n" + main + "\n</main_policy>\n<tech_support_policy>\n" + support +
         "\n</tech_support_policy>";
}

// Its files by the names that the task gives them.
std::unique_ptr<Environment> tau2(const TaskSpec& task, const DataFolders& folders,
                                  const GraderWorld& world) {
  if (!world.ask_user) {
    fail(ErrorCode::kInvalidArgument,
         "task {}: a model has to play the user: give --user or --judge, an address or a model",
         task.name);
  }
  Tau2Domain domain{.name = environment_name(task).substr(kTau2.size())};
  std::string policy, support;
  for (const FoundFile& found : find_files(task.source, folders)) {
    if (found.paths.empty()) fail(ErrorCode::kNotFound, "task {}: a file is missing", task.name);
    if (found.file->as == "policy") policy = read_file(found.paths[0]);
    if (found.file->as == "support") support = read_file(found.paths[0]);
    if (found.file->as == "db") domain.database = load_data(found.paths[0]);
    if (found.file->as == "user_db") domain.user_database = load_data(found.paths[0]);
  }
  domain.policy = policy_of(policy, support);
  return tau2_environment(domain, model_user(world.ask_user), world.ask_judge);
}

}  // namespace

GraderTable suite_graders() {
  GraderTable table = standard_graders();
  add_short_names(table);
  add_generated_graders(table);
  table["row_grader"] = make_row_grader;
  return table;
}

std::string unsupported_text(const TaskSpec& task) {
  if (task.environment.is_null() || is_tau2(task) || is_program(task)) return "";
  return fmt::format("{}: its simulated environment ({}) is not part of this program", task.name,
                     text_of_value(task.environment));
}

bool has_simulated_user(const TaskSpec& task) {
  return !task.environment.is_null() && is_tau2(task);
}

Json environment_facts(const TaskSpec& task, const DataFolders& folders, const GraderWorld& world) {
  if (!has_simulated_user(task)) return {};
  Json files = Json::object();
  for (const FoundFile& found : find_files(task.source, folders))
    if (found.file->use == FileUse::kBeside)
      for (const Path& path : found.paths)
        files[found.file->as] = fmt::format("{:016x}", xxh64(read_file(path)));
  Json out = Json::object();
  out["user"] = world.user_name;
  out["files"] = std::move(files);
  return out;
}

std::unique_ptr<Environment> task_environment(const TaskSpec& task, const DataFolders& folders,
                                              const GraderWorld& world) {
  const std::string where = "task " + task.name;
  if (const std::string why = unsupported_text(task); !why.empty())
    fail(ErrorCode::kUnsupported, "{}", why);
  if (!task.environment.is_null() && is_program(task))
    return make_environment(task.environment, world, where + ": environment");
  if (!task.environment.is_null()) return tau2(task, folders, world);
  return single_turn(make_grader(suite_graders(), task.grader, world, where + ": grader"));
}

}  // namespace dure
