// `dure runs list|show|scan|prune`: the training, RL and evaluation runs of this machine.
#include <cstdio>
#include <ctime>
#include <memory>

#include "base/error.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "runs/registry.h"

namespace dure {
namespace {

std::unique_ptr<Registry> require_registry() {
  std::unique_ptr<Registry> out = open_registry();
  if (!out)
    fail(ErrorCode::kNotFound,
         "no registry of runs: DURE_REGISTRY is off, or there is no home folder; set DURE_REGISTRY "
         "to a file");
  return out;
}

std::string time_text(double seconds) {
  if (seconds <= 0) return "-";
  const std::time_t time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  char out[32] = {};
  return std::strftime(out, sizeof(out), "%Y-%m-%d %H:%M", ::localtime_r(&time, &parts)) > 0 ? out
                                                                                             : "-";
}

std::string steps_text(const RunRecord& run) {
  return run.steps > 0 ? fmt::format("{}/{}", run.step, run.steps) : "-";
}

// The one number that a list has room for.
std::string headline(const RunRecord& run) {
  for (const char* name : {"reward", "eval_loss", "loss"}) {
    if (const Json* value = run.summary.find(name); value != nullptr && value->is_number())
      return fmt::format("{} {:.3f}", name, value->as_double());
  }
  const Json* models = run.summary.find("models");
  if (models == nullptr || models->size() == 0) return "";
  const Json& last = models->at(models->size() - 1);
  const Json *right = last.find("right"), *total = last.find("total");
  if (right == nullptr || total == nullptr || total->as_double() <= 0) return "";
  return fmt::format("{} {:.1f} %", last.at("name").as_string(),
                     100 * right->as_double() / total->as_double());
}

Json json_of(const RunRecord& run) {
  Json out = Json::object();
  out["id"] = run.id;
  out["kind"] = run.kind;
  out["state"] = name_of(run.state);
  out["path"] = run.path;
  out["step"] = run.step;
  out["steps"] = run.steps;
  out["started"] = run.started_s;
  out["ended"] = run.ended_s > 0 ? Json(run.ended_s) : Json();
  if (!run.message.empty()) out["message"] = run.message;
  out["summary"] = run.summary;
  return out;
}

int run_list(bool all, bool json) {
  for (const RunRecord& run : require_registry()->list()) {
    if (run.state == RunState::kGone && !all) continue;
    if (json) {
      std::printf("%s\n", json_of(run).dump().c_str());
      continue;
    }
    std::printf("%s  %-8s  %-11s  %11s  %s  %-22s  %s\n", run.id.c_str(), run.kind.c_str(),
                name_of(run.state), steps_text(run).c_str(), time_text(run.started_s).c_str(),
                headline(run).c_str(), run.path.c_str());
  }
  return 0;
}

int run_show(const std::string& id, bool json) {
  const std::optional<RunRecord> run = require_registry()->find(id);
  if (!run) fail(ErrorCode::kNotFound, "no run {}; `dure runs list` lists them", id);
  Json out = json_of(*run);
  out["config"] = run->config;
  if (json) {
    std::printf("%s\n", out.dump(2).c_str());
    return 0;
  }
  std::printf("%s  %s, %s\n%s\nbegun %s, ended %s, steps %s\n", run->id.c_str(), run->kind.c_str(),
              name_of(run->state), run->path.c_str(), time_text(run->started_s).c_str(),
              time_text(run->ended_s).c_str(), steps_text(*run).c_str());
  if (!run->message.empty()) std::printf("%s\n", run->message.c_str());
  for (const auto& [name, value] : run->summary.as_object())
    std::printf("  %-20s %s\n", name.c_str(), value.dump().c_str());
  return 0;
}

int run_scan(const std::string& folder) {
  if (!path_exists(folder)) fail(ErrorCode::kNotFound, "{}: no such folder", folder);
  std::printf("%lld added\n", static_cast<long long>(require_registry()->scan(folder)));
  return 0;
}

int run_prune() {
  std::printf("%lld forgotten\n", static_cast<long long>(require_registry()->forget_gone()));
  return 0;
}

}  // namespace

std::function<int()> declare_runs(Args& args) {
  struct Given {
    std::string id, folder = "runs";
    bool all = false, json = false;
  };
  auto given = std::make_shared<Given>();
  Args& list = args.verb("list", "every run, the newest first",
                         [given] { return run_list(given->all, given->json); });
  list.flag("--all", given->all, "those too whose folder is gone");
  list.flag("--json", given->json, "a JSON object a line");
  list.examples("  dure runs list\n  dure runs list --json | head -1\n");
  Args& show = args.verb("show", "one run: state, last values, configuration",
                         [given] { return run_show(given->id, given->json); });
  show.positional("ID", given->id, "of `dure runs list`, or how it begins");
  show.flag("--json", given->json, "as JSON, with the configuration");
  show.examples("  dure runs show 3fa9\n");
  Args& scan = args.verb("scan", "add the run folders below a folder",
                         [given] { return run_scan(given->folder); });
  scan.positional("FOLDER", given->folder, "folder of run folders (default: runs)", false);
  scan.examples("  dure runs scan /data/runs\n");
  args.verb("prune", "forget the runs whose folder is gone", run_prune)
      .examples("  dure runs prune\n");
  return {};
}

}  // namespace dure
