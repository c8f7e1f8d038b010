// Answers are read task by task, scored, and let go of.
#include "eval/suite_results.h"

#include <algorithm>

#include "base/hash.h"

namespace dure {
namespace {

std::vector<std::string> texts_of(const Json& list) {
  std::vector<std::string> out;
  for (const Json& one : list.as_array()) out.push_back(one.as_string());
  return out;
}

// Answers that are whole, of the suite's tasks; what is not is told.
void add_mean(const std::vector<std::string>& tasks, SubjectResult& out) {
  std::vector<const TaskScore*> whole;
  for (const std::string& name : tasks) {
    const TaskResult* task = out.find(name);
    if (task == nullptr || !task->score.whole()) {
      out.missing.push_back(name);
    } else {
      whole.push_back(&task->score);
    }
  }
  if (out.missing.empty() && !whole.empty()) out.mean = mean_of_tasks(whole);
}

void add_rival(const RivalTable& table, const std::string& model,
               const std::vector<std::string>& tasks, SubjectResult& out) {
  RivalResult rival{.table = table.name, .model = model, .tasks_of_suite = std::ssize(tasks)};
  std::vector<const TaskScore*> ours;
  for (const std::string& name : tasks) {
    const RivalTable::Row* row = table.find(name);
    const TaskResult* task = out.find(name);
    if (row == nullptr || !row->scores.contains(model)) continue;
    if (task == nullptr || !task->score.whole()) continue;
    rival.tasks.push_back(name);
    rival.theirs += row->scores.at(model) / 100;
    ours.push_back(&task->score);
  }
  if (ours.empty()) return;
  rival.theirs /= static_cast<double>(ours.size());
  const MetricScore mean = mean_of_tasks(ours);
  rival.ours = mean.interval;
  if (rival.theirs <= 0) return;
  std::vector<double> ratios;
  for (const double one : mean.resamples) ratios.push_back(one / rival.theirs);
  rival.ratio = resampled_interval(mean.interval.value / rival.theirs, std::move(ratios));
  out.rivals.push_back(std::move(rival));
}

Json interval_json(const Interval& interval) {
  Json out = Json::object();
  out["value"] = interval.value;
  out["low"] = interval.low;
  out["high"] = interval.high;
  return out;
}

Json named_interval(const std::string& name, const Interval& interval) {
  Json out = Json::object();
  out["name"] = name;
  const Json numbers = interval_json(interval);
  for (const auto& [field, value] : numbers.as_object()) out[field] = value;
  return out;
}

Json lengths_json(const LengthFacts& lengths) {
  Json out = Json::object();
  out["mean"] = lengths.mean;
  out["median"] = lengths.median;
  out["p90"] = lengths.p90;
  out["most"] = lengths.most;
  return out;
}

Json task_json(const TaskResult& task) {
  const TaskScore& score = task.score;
  Json out = Json::object();
  out["task"] = score.task;
  for (const auto& [name, value] : task.measure.about.as_object())
    if (name != "metrics") out[name] = value;
  out["items"] = score.items;
  out["items_total"] = task.measure.items_total;
  out["samples"] = score.samples;
  out["answers"] = score.answers;
  out["missing"] = score.missing;
  Json metrics = Json::array(), groups = Json::array();
  for (const MetricScore& one : score.metrics)
    metrics.push_back(named_interval(one.name, one.interval));
  for (const GroupScore& one : score.groups) {
    Json group = named_interval(one.name, one.interval);
    group["items"] = one.items;
    groups.push_back(std::move(group));
  }
  out["metrics"] = std::move(metrics);
  out["groups"] = std::move(groups);
  out["cannot_tell"] = score.unknown;
  out["not_graded"] = score.ungraded;
  Json failures = Json::object();
  for (const auto& [kind, count] : score.failures) failures[kind] = count;
  out["failures"] = std::move(failures);
  out["mean_if_cannot_tell_were_right"] = score.right_unknown;
  out["cut"] = score.cut;
  out["too_long"] = score.too_long;
  out["empty"] = score.empty;
  out["tokens"] = lengths_json(score.tokens);
  out["prompt_tokens"] = lengths_json(score.prompt_tokens);
  out["reasoned_share"] = score.reasoned_share;
  out["answer_seconds"] = score.answer_seconds;
  out["grade_seconds"] = score.grade_seconds;
  out["settings"] = task.measure.settings;
  out["settings_hash"] = fmt::format("{:016x}", xxh64(task.measure.settings.dump()));
  return out;
}

Json rival_json(const RivalResult& rival) {
  Json out = Json::object();
  out["table"] = rival.table;
  out["model"] = rival.model;
  out["tasks"] = Json::array_of(rival.tasks);
  out["tasks_of_suite"] = rival.tasks_of_suite;
  out["theirs"] = rival.theirs;
  out["ours"] = interval_json(rival.ours);
  out["ratio"] = interval_json(rival.ratio);
  return out;
}

Json subject_json(const SubjectResult& subject) {
  Json out = Json::object();
  out["name"] = subject.subject.name;
  out["identity"] = subject.subject.identity;
  out["facts"] = subject.subject.facts;
  Json tasks = Json::array(), rivals = Json::array();
  for (const TaskResult& task : subject.tasks) tasks.push_back(task_json(task));
  for (const RivalResult& rival : subject.rivals) rivals.push_back(rival_json(rival));
  out["tasks"] = std::move(tasks);
  if (subject.mean) out["mean"] = interval_json(subject.mean->interval);
  if (!subject.missing.empty()) out["missing"] = Json::array_of(subject.missing);
  out["rivals"] = std::move(rivals);
  return out;
}

}  // namespace

const TaskResult* SubjectResult::find(const std::string& task) const {
  for (const TaskResult& one : tasks)
    if (one.measure.task == task) return &one;
  return nullptr;
}

Json suite_facts(const Suite& suite) {
  Json out = Json::object();
  out["name"] = suite.name;
  out["title"] = suite.label();
  out["about"] = suite.about;
  out["seed"] = suite.seed;
  Json tasks = Json::array();
  for (const SuiteEntry& entry : suite.entries) tasks.push_back(entry.task.name);
  out["tasks"] = std::move(tasks);
  out["rivals"] = Json::array_of(suite.rivals);
  return out;
}

SuiteResults suite_results(const AnswerStore& store, const ScoreOptions& options) {
  SuiteResults out{.suite = store.suite()};
  const std::vector<std::string> tasks = texts_of(out.suite.at("tasks"));
  for (const std::string& name : texts_of(out.suite.at("rivals")))
    out.rivals.push_back(load_rivals(name));
  for (SubjectRow& subject : store.subjects()) {
    SubjectResult result{.subject = std::move(subject)};
    for (MeasureRow& measure : store.measures(result.subject.name)) {
      const std::vector<AnswerRow> answers = store.answers(result.subject.name, measure.task);
      TaskScore score = score_task(measure, answers, options);
      result.tasks.push_back({std::move(measure), std::move(score)});
    }
    add_mean(tasks, result);
    for (const RivalTable& table : out.rivals)
      for (const std::string& model : table.models) add_rival(table, model, tasks, result);
    out.subjects.push_back(std::move(result));
  }
  return out;
}

Json results_json(const SuiteResults& results) {
  Json out = Json::object();
  out["form"] = "suite";
  out["suite"] = results.suite;
  Json subjects = Json::array();
  for (const SubjectResult& subject : results.subjects) subjects.push_back(subject_json(subject));
  out["models"] = std::move(subjects);
  return out;
}

}  // namespace dure
