// `dure eval`: measures models and writes a report. Suites of tasks are eval_suite.h's; here are
// those a training run is followed with.
#include <cstdio>
#include <memory>

#include "base/hash.h"
#include "base/log.h"
#include "base/output_folder.h"
#include "chat/open_model.h"
#include "cli/adapter_flag.h"
#include "cli/args.h"
#include "cli/arithmetic_flag.h"
#include "cli/eval_compare.h"
#include "cli/eval_suite.h"
#include "cli/kv_type_flag.h"
#include "cli/machine_facts.h"
#include "cli/measured_model.h"
#include "cli/model_identity.h"
#include "cli/named_path.h"
#include "cli/rank_facts.h"
#include "cli/verbs.h"
#include "client/web_address.h"
#include "comm/launcher.h"
#include "data/corpus.h"
#include "eval/evaluate.h"
#include "eval/report.h"
#include "eval/rollout_view.h"
#include "runs/run_registration.h"
#include "suite/suite.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

struct Given {
  std::vector<std::string> models, adapters, logs, settings;
  std::string suite, out = "report";
  std::optional<std::string> out_given, title;
  EvalSuiteFlags suites;
  ArithmeticFlag arithmetic;
  KvTypeFlag kv_type;
  bool no_thinking = false;
  bool force = false;
  bool fields = false;
};

bool is_of_a_report(const Path& file) {
  const std::string name = file.filename().string();
  return name == "results.json" || (name.starts_with("results-") && name.ends_with(".json"));
}

// An earlier report is replaced; among other things one would only be lost, or take the place of a
// file that has nothing to do with it.
void check_out(const Path& out, bool force) {
  if (!std::filesystem::is_directory(out) || std::filesystem::is_empty(out)) return;
  for (const auto& entry : std::filesystem::directory_iterator(out)) {
    if (!is_of_a_report(entry.path())) continue;
    log_info("{}: the report there is replaced", out.string());
    return;
  }
  if (!force)
    fail(ErrorCode::kInvalidArgument,
         "{} holds other things and no report: give --out another folder, or --force to write into "
         "this one",
         out.string());
}

// Of the fields of results: what an older program left is measured again.
constexpr int kResultsVersion = 2;

// The same model, suite and held-out text give the same results: they are read back instead of
// measured again.
std::string fingerprint(const EvalSuite& suite, const OpenModel& model, Arithmetic arithmetic,
                        DType kv_dtype) {
  const ModelFiles& files = *model.files;
  std::string text =
      fmt::format("{}|{}|{}|{}|{}", kResultsVersion, to_json(suite).dump(),
                  arithmetic_name(arithmetic), kv_type_name(kv_dtype), files.path().string());
  text += "|" + model_files_hash(files);
  if (model.weights.adapter != nullptr) text += "|adapter " + adapter_fingerprint(model);
  const auto add = [&](const Path& path) {
    text += fmt::format("|{}:{:x}", path.filename().string(), xxh64(MappedFile(path).text()));
  };
  const Path corpus(suite.text.corpus);
  if (!corpus.empty()) {
    for (const std::string& language : heldout_languages(corpus))
      add(heldout_file(corpus, language));
  }
  return fmt::format("{:016x}", xxh64(text));
}

Json results_of(const EvalSuite& suite, const MeasuredModel& subject, const Given& given,
                CpuStream& stream) {
  const Path cache = given.out;
  const Arithmetic arithmetic = given.arithmetic.wanted();
  const OpenModel model = open_subject(subject, arithmetic);
  const DType kv_dtype = given.kv_type.wanted(arithmetic_in(model.weights));
  const std::string print = fingerprint(suite, model, arithmetic, kv_dtype);
  const Path file = cache / ("results-" + subject.name + ".json");
  if (path_exists(file)) {
    Json known = load_json(file);
    if (const Json* found = known.find("fingerprint"); found != nullptr && *found == Json(print))
      return known;
  }
  Json results =
      evaluate(suite, {subject.name, subject.model, model.weights, model.texts, kv_dtype}, stream);
  Json identity = Json::object();
  note_adapter(subject, model, identity, results);
  if (const Json* adapter = identity.find("adapter")) results["adapter_fingerprint"] = *adapter;
  results["measured"] = measured_facts(stream.thread_count());
  results["shape"] = shape_of(model.weights.config);
  results["arithmetic"] = arithmetic_name(arithmetic);  // of what is quantised
  results["kv_type"] = kv_type_name(kv_dtype);
  results["suite"] = to_json(suite);
  results["fingerprint"] = print;
  write_file(file, results.dump(1) + "\n");
  return results;
}

// null where the file is not there: a report does without.
Json load_if_there(const Path& path) { return path_exists(path) ? load_json(path) : Json(); }

RunLog run_log(const std::string& name, const Path& folder) {
  RunLog log{.name = name,
             .rows = read_json_lines(folder / "metrics.jsonl"),
             .config = load_if_there(folder / "config.json")};
  if (const Path rollouts = rollout_file(folder); !rollouts.empty())
    log.rollouts = read_json_lines(rollouts);
  if (const Json* data = log.config.find("data"); data != nullptr) {
    if (const Json* corpus = data->find("corpus"); corpus != nullptr && corpus->is_string())
      log.corpus = load_if_there(Path(corpus->as_string()) / "manifest.json");
  }
  return log;
}

void measure(const EvalSuite& suite, const std::vector<MeasuredModel>& subjects, const Given& given,
             ReportInput& report) {
  CpuStream stream;
  for (const MeasuredModel& subject : subjects)
    report.results.push_back(results_of(suite, subject, given, stream));
  write_file(Path(given.out) / "results.json", Json(report.results).dump(1) + "\n");
  write_file(Path(given.out) / "report.md", report_markdown(report));
  write_file(Path(given.out) / "report.html", report_html(report));
  const std::string table = report_table(report);
  write_file(Path(given.out) / "report.txt", table);
  std::fputs(table.c_str(), stdout);
  log_info("report: {}", (Path(given.out) / "report.html").string());
}

// Neither a file, nor an address, nor with a name of its own: what stands behind a model and is
// none was meant as a suite.
bool is_no_model(const std::string& given) {
  return !path_exists(given) && !is_web_address(given) && given.find('=') == std::string::npos &&
         given.find('/') == std::string::npos;
}

// The suite may stand behind the models.
void take_suite(Given& given) {
  if (!given.suite.empty() || given.models.empty()) return;
  const std::string& last = given.models.back();
  const bool second = given.models.size() > 1;
  if (!names_a_suite(last) && !is_suite_file(last) && !(second && is_no_model(last))) return;
  given.suite = given.models.back();
  given.models.pop_back();
}

// A suite of tasks, not one of those that a training run is followed with.
bool is_of_tasks(const Given& given) {
  return !given.suite.empty() && !is_older_suite(given.suite);
}

int run_suite(const Given& given, Group& ranks) {
  return eval_suite(given.suites, {.subjects = measured_models(given.models, given.adapters),
                                   .suite = given.suite,
                                   .out = given.out,
                                   .title = given.title.value_or(""),
                                   .settings = given.settings,
                                   .arithmetic = given.arithmetic,
                                   .kv_type = given.kv_type,
                                   .no_thinking = given.no_thinking,
                                   .ranks = ranks});
}

int run_alone(Given& given) {
  if (given.out_given) given.out = *given.out_given;
  if (given.fields) {
    std::fputs(describe<EvalSuite>().c_str(), stdout);
    return 0;
  }
  if (given.suites.list_suites) return list_suites(given.suites);
  if (given.suites.list_tasks) return list_tasks(given.suites);
  if (given.suites.list_graders) return list_graders();
  if (given.suites.compare) {
    if (!given.adapters.empty())
      fail(ErrorCode::kInvalidArgument, "--adapter with --compare: what is compared are answers");
    return eval_compare({.sides = given.models,
                         .out = given.out_given ? *given.out_given : "",
                         .kl = given.suites.kl});
  }
  if (!given.suites.report.empty()) {
    for (const auto& [set, flag] : {std::pair(given.out_given.has_value(), "--out"),
                                    std::pair(given.title.has_value(), "--title"),
                                    std::pair(!given.adapters.empty(), "--adapter"),
                                    std::pair(!given.models.empty(), "MODEL")}) {
      if (set)
        fail(ErrorCode::kInvalidArgument,
             "{} with --report: the report is made anew in the folder that --report names", flag);
    }
    return remake_report(given.suites.report);
  }
  take_suite(given);
  if (is_of_tasks(given)) return run_suite(given, Group::alone());
  if (given.models.empty())
    fail(ErrorCode::kInvalidArgument, "name at least one model to evaluate");
  EvalSuite suite;
  Json json = given.suite.empty() ? Json::object() : load_yaml(given.suite);
  if (given.no_thinking) set_path(json, "tasks.thinking=[off]");
  for (const std::string& setting : given.settings) set_path(json, setting);
  const std::string where = given.suite.empty() ? "--set" : given.suite;
  blame_assignments(where, given.settings, [&] {
    from_json(suite, json, where);
    check_suite(suite, where);
  });
  ReportInput report{.title = given.title.value_or("Evaluation")};
  const std::vector<MeasuredModel> subjects = measured_models(given.models, given.adapters);
  for (const auto& [name, path] : named_paths(given.logs, "--log"))
    report.logs.push_back(run_log(name, path));
  check_out(given.out, given.force);
  const OutputFolder out(given.out);
  run_registered({"eval", given.out, to_json(suite)},
                 [&] { measure(suite, subjects, given, report); });
  return 0;
}

// Under a launcher: the questions of a suite of tasks are shared; what else `eval` does, one
// process does.
int run_over_ranks(Given& given) {
  Json alike = Json::array_of(given.models);
  for (const std::string& setting : given.settings) alike.push_back(setting);
  int code = 0;
  run_in_all_ranks(RankOptions().limit_s, rank_facts(alike), [&](Group& ranks) {
    take_suite(given);
    if (!is_of_tasks(given) || !given.suites.report.empty() || given.suites.compare)
      fail(ErrorCode::kInvalidArgument,
           "eval over ranks measures suites of tasks (--suites): start anything else without the "
           "launcher");
    given.out = given.out_given.value_or(given.out);
    code = run_suite(given, ranks);
  });
  return code;
}

int run(Given& given) { return find_launcher() ? run_over_ranks(given) : run_alone(given); }

}  // namespace

std::function<int()> declare_eval(Args& args) {
  auto given = std::make_shared<Given>();
  args.positionals("MODEL... SUITE", given->models,
                   "models or addresses, each PATH or NAME=PATH; then a suite: its name (--suites, "
                   "--tasks), a YAML file or a JSONL of items",
                   /*required=*/false);
  args.options("--adapter", given->adapters,
               "measure MODEL with this adapter beside it, under the adapter's name: a PEFT folder "
               "or a GGUF file, PATH or NAME=PATH; may be repeated (MODEL alone: without this "
               "flag, into the same --out)");
  args.option("--suite", given->suite,
              "a suite's name, a YAML file (docs/evaluation.md) or a JSONL of items");
  args.options("--set", given->settings, "one field of the suite, as FIELD=VALUE; may be repeated");
  args.options("--log", given->logs,
               "run folder whose curves the report shows, PATH or NAME=PATH; may be repeated");
  args.option("--out", given->out_given,
              "folder of results.json, report.md, report.html, answers.sqlite (report)");
  args.option("--title", given->title, "title of the report (the suite's own)");
  given->suites.declare(args);
  given->arithmetic.declare(args);
  given->kv_type.declare(args);
  args.flag("--no-thinking", given->no_thinking,
            "answer without reasoning first (tasks.thinking=[off])");
  args.flag("--force", given->force, "write into a folder that holds other things");
  args.flag("--fields", given->fields, "list every field of a suite with its default and meaning");
  args.examples(
      "  dure eval runs/rl/model quick --out report\n"
      "  dure eval MODEL k-exaone-13 --data DIR --judge http://localhost:9000 --out report\n"
      "  dure eval served=http://localhost:8000 math --data DIR --only gsm8k --limit 100\n"
      "  dure eval MODEL mine.jsonl --grader exact\n"
      "  dure eval base.gguf quick --adapter tuned=runs/tuned/adapter --out report\n"
      "  dure eval --compare report-bf16 report-q4 --kl\n"
      "  dure eval base=runs/pretrain/model rl=runs/rl/model --suite recipes/nano/eval.yaml --log "
      "rl=runs/rl --out runs/report\n");
  return [given] { return run(*given); };
}

}  // namespace dure
