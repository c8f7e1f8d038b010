// One subject after the other: a model opened here, or a server; their answers in one file.
#include "cli/eval_suite.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>

#include "base/error.h"
#include "base/folder_lock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/output_folder.h"
#include "base/progress.h"
#include "chat/open_model.h"
#include "cli/local_user.h"
#include "cli/machine_facts.h"
#include "cli/model_identity.h"
#include "client/web_address.h"
#include "eval/local_answerer.h"
#include "eval/measure.h"
#include "eval/remote_answerer.h"
#include "eval/suite_page.h"
#include "eval/suite_report.h"
#include "eval/suite_results.h"
#include "runs/run_registration.h"
#include "suite/grader_help.h"
#include "suite/shipped.h"
#include "suite/task_items.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

constexpr int64_t kLocalConcurrency = 32, kRemoteConcurrency = 16;
constexpr int64_t kJudgeThreads = 16;  // each waits for the judge
// Of conversations with an environment, whose length nobody knows.
constexpr int64_t kEpisodeTokens = 16384;

Json ask_overrides(const EvalSuiteFlags& flags, const EvalSuiteCall& call) {
  Json out = Json::object();
  const auto put = [&](const char* name, const auto& value) {
    if (value) out[name] = *value;
  };
  put("samples", flags.samples);
  put("temperature", flags.temperature);
  put("top_p", flags.top_p);
  put("top_k", flags.top_k);
  put("new_tokens_max", flags.tokens);
  if (call.no_thinking) out["thinking"] = false;
  for (const std::string& one : call.settings) set_path(out, one);
  return out;
}

SuiteOverrides overrides_of(const EvalSuiteFlags& flags, const EvalSuiteCall& call) {
  SuiteOverrides out{.ask = ask_overrides(flags, call),
                     .items_max = flags.limit.value_or(0),
                     .only = flags.only,
                     .seed = flags.seed.value_or(-1),
                     .title = call.title};
  if (!flags.grader.empty()) out.grader = parse_yaml(flags.grader, "--grader");
  if (!flags.environment.empty()) out.environment = parse_yaml(flags.environment, "--environment");
  if (!flags.grader.empty() && !flags.environment.empty())
    fail(ErrorCode::kInvalidArgument,
         "give --grader or --environment: an environment says itself what an episode is worth");
  return out;
}

// Why a task cannot be measured, whatever files there are; empty where it can.
std::string cannot_measure(const TaskSpec& task, const GraderWorld& world) {
  const Json* name = task.grader.is_object() ? task.grader.find("name") : &task.grader;
  if (*name == Json("judge") && !world.ask_judge)
    return task.name + ": a judge grades it: give --judge URL, a server whose model judges";
  const std::string why = unsupported_text(task);
  if (why.empty() && has_simulated_user(task) && !world.ask_user)
    return task.name + ": a model plays the user: give --user, an address or a model (or --judge)";
  return why;
}

// Tasks whose files are there. What is missing is told: all of it at once.
std::vector<PreparedTask> prepared_tasks(const Suite& suite, const EvalSuiteFlags& flags,
                                         const GraderWorld& world, const Group& ranks) {
  const DataFolders folders = data_folders(flags.data);
  std::vector<PreparedTask> out;
  std::string missing;
  int64_t missing_count = 0;
  for (const SuiteEntry& entry : suite.entries) {
    check_metrics(entry.task, entry.ask.samples, "task " + entry.task.name);
    const std::vector<FoundFile> files = find_files(entry.task.source, folders);
    const std::string unsupported = cannot_measure(entry.task, world);
    if (all_found(files) && unsupported.empty()) {
      out.push_back(prepare_task(entry, folders, world));
      continue;
    }
    ++missing_count;
    if (!all_found(files)) missing += "\n" + missing_text(entry.task, files, folders);
    if (!unsupported.empty()) missing += "\n" + unsupported;
  }
  if (missing_count == 0) return out;
  if (flags.present && !out.empty()) {
    if (ranks.is_first())
      log_warn("{} of {} tasks are left out, so that the suite has no mean:{}", missing_count,
               suite.entries.size(), missing);
    return out;
  }
  fail(ErrorCode::kNotFound, "{} of {} tasks cannot be measured here{}:{}", missing_count,
       suite.entries.size(), out.empty() ? "" : " (--present measures the others)", missing);
}

// The longest question and its answer, of what is known before.
int64_t context_needed(const OpenModel& model, const std::vector<PreparedTask>& tasks) {
  int64_t most = 2;
  for (const PreparedTask& task : tasks) {
    const SuiteEntry& entry = task.entry;
    const int64_t episode = task.environment->limits().tokens_max;
    if (!entry.task.environment.is_null())
      most = std::max(most, episode > 0 ? episode : kEpisodeTokens);
    for (const Item& item : task.items) {
      const Question question{
          .messages = item.messages,
          .tools = item.tools,
          .settings = entry.ask,
          .form = item.continuations.empty() ? entry.task.form : PromptForm::kPlain,
          .stop = entry.task.stop};
      const int64_t limit =
          item.limits.new_tokens_max > 0 ? item.limits.new_tokens_max : entry.ask.new_tokens_max;
      int64_t behind = item.continuations.empty() ? limit : 0;
      for (const std::string& text : item.continuations)
        behind = std::max<int64_t>(behind, std::ssize(text) + 8);
      if (!item.messages.empty()) most = std::max(most, question_tokens(model, question) + behind);
    }
  }
  return most;
}

MeasureOptions measure_options(const EvalSuiteFlags& flags, const Suite& suite,
                               int64_t concurrency) {
  return {.seed = static_cast<uint64_t>(suite.seed),
          .concurrency = flags.concurrency.value_or(concurrency),
          .grading_threads = flags.judge.empty() ? 2 : kJudgeThreads};
}

// All that measuring a subject is about.
struct Measurement {
  const Suite& suite;
  const std::vector<PreparedTask>& tasks;
  const EvalSuiteFlags& flags;
  const EvalSuiteCall& call;
  AnswerStore* store;  // null but on the first rank
};

void begin(const Measurement& m, const std::string& name, const Json& identity, Json facts) {
  require_alike(m.call.ranks, "the model " + name, identity.dump(),
                "all ranks must see the same files");
  m.call.ranks.together("opening the answers", [&] {
    if (m.store == nullptr) return;
    m.store->begin_subject({name, identity, std::move(facts)});
    for (const PreparedTask& task : m.tasks)
      m.store->begin_measure(name, measure_row(task, static_cast<uint64_t>(m.suite.seed)));
    m.store->set_suite(suite_facts(m.suite));
  });
}

void measure_local(const Measurement& m, const MeasuredModel& subject) {
  CpuStream stream;
  const Arithmetic arithmetic = m.call.arithmetic.wanted();
  const OpenModel model = open_subject(subject, arithmetic);
  const DType kv_dtype = m.call.kv_type.wanted(arithmetic_in(model.weights));
  Json identity = Json::object();
  identity["files"] = model_files_hash(*model.files);
  identity["arithmetic"] = arithmetic_name(arithmetic);
  identity["kv_type"] = kv_type_name(kv_dtype);
  Json facts = measured_facts(stream.thread_count());
  facts["model"] = subject.model;
  facts["shape"] = shape_of(model.weights.config);
  note_adapter(subject, model, identity, facts);
  begin(m, subject.name, identity, std::move(facts));
  const MeasureOptions options = measure_options(m.flags, m.suite, kLocalConcurrency);
  const int64_t needed = context_needed(model, m.tasks);
  LocalAnswerer answerer(model,
                         {.concurrency = options.concurrency,
                          .context_tokens = m.flags.context.value_or(needed),
                          .kv_dtype = kv_dtype,
                          .identity = identity},
                         stream);
  measure(m.tasks, subject.name, answerer, m.store, options, m.call.ranks);
}

void measure_remote(const Measurement& m, const MeasuredModel& subject) {
  RemoteAnswerer answerer({.address = subject.model,
                           .model = m.flags.model,
                           .answer_s = m.flags.timeout.value_or(RemoteAnswererOptions().answer_s)});
  Json facts = measured_facts(0);
  facts["model"] = answerer.model() + " at " + subject.model;
  begin(m, subject.name, answerer.identity(), std::move(facts));
  measure(m.tasks, subject.name, answerer, m.store,
          measure_options(m.flags, m.suite, kRemoteConcurrency), m.call.ranks);
}

// Whether a task has no score.
bool write_reports(const AnswerStore& store, const Path& out) {
  const SuiteResults results = suite_results(store);
  write_file(out / "results.json", results_json(results).dump(1) + "\n");
  write_file(out / "report.md", suite_markdown(results));
  write_file(out / "report.html", suite_html(results, store));
  const std::string table = suite_table(results);
  write_file(out / "report.txt", table);
  std::fputs(table.c_str(), stdout);
  log_info("report: {}", (out / "report.html").string());
  for (const SubjectResult& subject : results.subjects) {
    for (const TaskResult& task : subject.tasks)
      if (!task.score.whole()) return true;
  }
  return false;
}

void check_flags(const EvalSuiteFlags& flags, const EvalSuiteCall& call) {
  const auto require = [](bool holds, const char* flag, const auto& value, const char* what) {
    if (!holds) fail(ErrorCode::kInvalidArgument, "{} {}: {}", flag, value, what);
  };
  const int64_t concurrency = flags.concurrency.value_or(1), limit = flags.limit.value_or(0);
  require(concurrency >= 1 && concurrency <= 4096, "--concurrency", concurrency,
          "it must be from 1 to 4096");
  require(limit >= 0, "--limit", limit, "it must be at least 0 (0: all items)");
  require(flags.timeout.value_or(1) > 0, "--timeout", flags.timeout.value_or(1),
          "seconds, above 0");
  require(flags.context.value_or(1) > 0, "--context", flags.context.value_or(1),
          "tokens, at least 1");
  for (const MeasuredModel& subject : call.subjects) {
    if (!is_web_address(subject.model)) continue;
    parse_web_address(subject.model);  // Refused before anything is read.
    if (flags.context)
      fail(ErrorCode::kInvalidArgument,
           "--context {}: of models that are opened here; {} has the context it was served with",
           *flags.context, subject.name);
  }
}

// A folder that holds answers.sqlite without an answer is as it was before.
void take_back(const Path& file) {
  if (!AnswerStore::open_existing(file).empty()) return;
  std::error_code ignored;
  for (const char* end : {"", "-wal", "-shm", "-journal"})
    std::filesystem::remove(file.string() + end, ignored);
}

// What lies in a folder of answers is gone on with; other things are not mixed with.
void check_folder(const Path& out) {
  const bool other = std::filesystem::is_directory(out) && !std::filesystem::is_empty(out) &&
                     !path_exists(out / "answers.sqlite");
  if (other) {
    fail(ErrorCode::kInvalidArgument,
         "{} holds other things and no answers: give --out another folder", out.string());
  }
}

// A judge that is not reached, or refuses, says nothing about the answer.
std::string ask_judge(RemoteAnswerer& judge, const std::vector<Message>& messages) {
  try {
    return judge.reply(messages).content;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInterrupted) throw;
    fail(ErrorCode::kUnavailable, "the judge: {}", error.what());
  }
}

void add_user(GraderWorld& world, const std::shared_ptr<RemoteAnswerer>& user) {
  world.user_name = user->model();
  world.ask_user = [user](const std::vector<Message>& messages, const Json& tools) {
    return user->reply(messages, tools);
  };
}

GraderWorld world_of(const EvalSuiteFlags& flags, const ArithmeticFlag& arithmetic) {
  GraderWorld out;
  out.row_programs = flags.row_programs;
  if (!flags.judge.empty()) {
    const auto judge = std::make_shared<RemoteAnswerer>(
        RemoteAnswererOptions{.address = flags.judge, .model = flags.judge_model});
    log_info("judge: {}", judge->model());
    out.ask_judge = [judge](const std::vector<Message>& messages) {
      return ask_judge(*judge, messages);
    };
    add_user(out, judge);
  }
  if (flags.user.empty()) return out;
  if (is_web_address(flags.user)) {
    add_user(out, std::make_shared<RemoteAnswerer>(
                      RemoteAnswererOptions{.address = flags.user, .model = flags.user_model}));
  } else {
    add_local_user(out, flags.user, arithmetic.wanted());
  }
  log_info("simulated user: {}", out.user_name);
  return out;
}

std::string presence_text(const TaskSpec& task, const DataFolders& folders) {
  if (!unsupported_text(task).empty()) return "not supported";
  if (!task.source.generated.empty()) return "generated";
  return all_found(find_files(task.source, folders)) ? "present" : "missing";
}

TaskSpec shipped_task_named(const std::string& name) {
  return load_suite(name, {}).entries.front().task;
}

}  // namespace

void EvalSuiteFlags::declare(Args& args) {
  args.options("--data", data, "folder of benchmark files; may be repeated (also DURE_DATA)");
  args.options("--only", only, "measure this task of the suite alone; may be repeated");
  args.option("--samples", samples, "answers to every item (as the suite says, else 1)");
  args.option("--limit", limit, "items of each task, evenly spaced over all (0: all)");
  args.option("--temperature", temperature,
              "of sampling; 0: the likeliest token (as the suite says, else 1.0)");
  args.option("--top-p", top_p,
              "share of the probability that is drawn from (as the suite says, else 0.95)");
  args.option("--top-k", top_k, "tokens drawn from (as the suite says, else all)");
  args.option("-n,--tokens", tokens, "longest answer (as the suite says, else 4096)");
  args.option("--seed", seed, "of sampling (as the suite says, else 1)");
  args.option("--concurrency", concurrency, "questions at a time (32; of an address 16)");
  args.option("--context", context,
              "of a model opened here: tokens of a question and its answer (as many as needed)");
  args.option("--timeout", timeout,
              "of an address: longest time for one answer, in seconds (1800)");
  args.option("--grader", grader,
              "of a JSONL of items: a grader's name (--graders), or {name: ..., options}");
  args.option("--environment", environment,
              "of a JSONL of items: {command: [...], ...}, a program to talk with over several "
              "turns (docs/environments.md)");
  args.flag("--allow-row-programs", row_programs,
            "rows of a JSONL may name command and http as their graders: programs that run outside "
            "any sandbox");
  args.option("--judge", judge,
              "address of the server whose model judges (its key: as for the measured address)");
  args.option("--judge-model", judge_model, "that model (the first the server names)");
  args.option(
      "--user", user,
      "who plays the user of tasks with a simulated one: an address, or a model opened here "
      "(the judge)");
  args.option("--user-model", user_model, "of that address: the model (the first it names)");
  args.option("--model", model,
              "of an address: the model to ask (the first it names); its key is DURE_API_KEY's, or "
              "OPENAI_API_KEY's over https");
  args.option("--report", report, "make the report of this folder's answers anew");
  args.flag("--compare", compare,
            "compare answers instead: MODEL is a folder of an earlier --out, or FOLDER:NAME");
  args.flag("--kl", kl, "with --compare: also how far the models' distributions lie apart");
  args.flag("--present", present, "leave out the tasks whose files are missing");
  args.flag("--suites", list_suites, "list the suites");
  args.flag("--tasks", list_tasks, "list the tasks, and whether their files are there");
  args.flag("--graders", list_graders, "list the graders of own items");
}

namespace {

void measure_all(const Measurement& m) {
  for (const MeasuredModel& subject : m.call.subjects) {
    if (is_web_address(subject.model)) {
      measure_remote(m, subject);
    } else {
      measure_local(m, subject);
    }
  }
}

// Whether answers are missing.
bool measure_and_write(Measurement m) {
  const OutputFolder folder(m.call.out);
  const Path out = m.call.out, file = out / "answers.sqlite";
  const FolderLock lock(out);
  const bool was_there = path_exists(file);
  bool missing = false;
  try {
    run_registered({"eval", out, suite_facts(m.suite)}, [&] {
      AnswerStore store(file);
      m.store = &store;
      measure_all(m);
      missing = write_reports(store, out);
    });
  } catch (...) {
    if (!was_there && path_exists(file)) take_back(file);
    throw;
  }
  return missing;
}

// What every rank must have read alike.
std::string items_text(const std::vector<PreparedTask>& tasks, const Suite& suite) {
  std::string out;
  for (const PreparedTask& task : tasks)
    out += measure_row(task, static_cast<uint64_t>(suite.seed)).settings.dump();
  return fmt::format("hash {:016x}", xxh64(out));
}

}  // namespace

int eval_suite(const EvalSuiteFlags& flags, const EvalSuiteCall& call) {
  if (call.subjects.empty())
    fail(ErrorCode::kInvalidArgument, "name at least one model or address to evaluate");
  check_flags(flags, call);
  const Suite suite = load_suite(call.suite, overrides_of(flags, call));
  for (const std::string& name : suite.rivals) {
    try {
      load_rivals(name);
    } catch (const Error& error) {
      fail(error.code(), "{}: rivals: {}", call.suite, error.what());
    }
  }
  const GraderWorld world = world_of(flags, call.arithmetic);
  call.ranks.together("looking at the folder", [&] {
    if (call.ranks.is_first()) check_folder(call.out);
  });
  const std::vector<PreparedTask> tasks = prepared_tasks(suite, flags, world, call.ranks);
  require_alike(call.ranks, "the items", items_text(tasks, suite),
                "all ranks must see the same files of data");
  const Measurement m{suite, tasks, flags, call, nullptr};
  bool missing = false;
  if (call.ranks.is_first()) {
    missing = measure_and_write(m);
  } else {
    measure_all(m);
  }
  return call.ranks.any(missing, "the end of the evaluation") ? 1 : 0;
}

int list_suites(const EvalSuiteFlags& flags) {
  const DataFolders folders = data_folders(flags.data);
  for (const std::string& name : shipped_names("suites")) {
    const Suite suite = load_suite(name, {});
    std::fputs(fmt::format("{}: {}\n", name, suite.about).c_str(), stdout);
    std::string present, missing;
    for (const SuiteEntry& entry : suite.entries) {
      const std::string presence = presence_text(entry.task, folders);
      const bool there = presence == "present" || presence == "generated";
      std::string& list = there ? present : missing;
      list += (list.empty() ? "" : ", ") + entry.task.name;
    }
    if (!present.empty()) std::fputs(("    present: " + present + "\n").c_str(), stdout);
    if (!missing.empty()) std::fputs(("    missing: " + missing + "\n").c_str(), stdout);
  }
  return 0;
}

int list_tasks(const EvalSuiteFlags& flags) {
  const DataFolders folders = data_folders(flags.data);
  for (const std::string& name : shipped_names("tasks")) {
    const TaskSpec task = shipped_task_named(name);
    const std::string presence = presence_text(task, folders);
    std::fputs(fmt::format("{} ({}): {}\n", name, presence, task.about).c_str(), stdout);
    if (presence != "missing") continue;
    const std::string text = missing_text(task, find_files(task.source, folders), folders);
    std::fputs(("    " + text.substr(text.find(": ") + 2) + "\n").c_str(), stdout);
  }
  return 0;
}

int list_graders() {
  for (const GraderHelp& one : grader_help())
    std::fputs(fmt::format("{}: {}\n", one.name, one.what).c_str(), stdout);
  return 0;
}

int remake_report(const std::string& folder) {
  return write_reports(AnswerStore::open_existing(Path(folder) / "answers.sqlite"), folder) ? 1 : 0;
}

}  // namespace dure
