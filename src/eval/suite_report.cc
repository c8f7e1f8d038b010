// The same rows twice: padded for a terminal, and as Markdown.
#include "eval/suite_report.h"

#include <algorithm>

#include "base/html.h"
#include "base/python_text.h"

namespace dure {
namespace {

using Cells = std::vector<std::string>;

int64_t width_of(std::string_view text) {
  int64_t out = 0;
  for (size_t i = 0; i < text.size();) out += next_code_point(text, i) >= 0x1100 ? 2 : 1;
  return out;
}

std::string padded(const std::vector<Cells>& rows) {
  std::vector<int64_t> widths;
  for (const Cells& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  }
  std::string out;
  for (const Cells& row : rows) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      line += row[c];
      if (c + 1 < row.size())
        line += std::string(static_cast<size_t>(widths[c] - width_of(row[c]) + 2), ' ');
    }
    while (!line.empty() && line.back() == ' ') line.pop_back();
    out += line + "\n";
  }
  return out;
}

// Names come from anywhere: what Markdown or HTML would act on is escaped, as are signs that turn
// the direction of text.
std::string cell_text(const std::string& text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const size_t begin = i;
    const char32_t c = next_code_point(text, i);
    if (c == '<' || c == '>' || c == '&') {
      out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&amp;";
    } else if (c == '|' || c == '`' || c == '*' || c == '[' || c == ']' || c == '\\') {
      out += std::string("\\") + static_cast<char>(c);
    } else {
      out += is_plain_character(c) ? text.substr(begin, i - begin) : c == '\n' ? " " : "\uFFFD";
    }
  }
  return out;
}

std::string markdown_table(const std::vector<Cells>& rows) {
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    out += "|";
    for (const std::string& cell : rows[r]) out += " " + cell_text(cell) + " |";
    out += "\n";
    if (r > 0) continue;
    out += "|---|";
    for (size_t c = 1; c < rows[r].size(); ++c) out += "---:|";
    out += "\n";
  }
  return out + "\n";
}

std::string task_score(const SubjectResult& subject, const std::string& name) {
  const TaskResult* task = subject.find(name);
  if (task == nullptr) return "not measured";
  if (!task->score.whole()) return no_score_text(task->score);
  return score_text(task->score.metrics.front().interval);
}

std::string title_of(const SuiteResults& results, const std::string& name) {
  for (const SubjectResult& subject : results.subjects) {
    if (const TaskResult* task = subject.find(name))
      return task->measure.about.at("title").as_string();
  }
  return name;
}

std::string joined(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

std::string mean_text(const SubjectResult& subject) {
  if (subject.mean) return score_text(subject.mean->interval);
  return "none: a task has no score";
}

// Tasks of the suite, then others that were measured.
std::vector<std::string> task_names(const SuiteResults& results) {
  std::vector<std::string> out;
  for (const Json& name : results.suite.at("tasks").as_array()) out.push_back(name.as_string());
  for (const SubjectResult& subject : results.subjects) {
    for (const TaskResult& task : subject.tasks) {
      if (std::find(out.begin(), out.end(), task.measure.task) == out.end())
        out.push_back(task.measure.task);
    }
  }
  return out;
}

// Over which tasks the mean is: those of the last suite, where others were measured too.
std::string mean_label(const SuiteResults& results) {
  const size_t of_suite = results.suite.at("tasks").size();
  if (task_names(results).size() == of_suite) return "mean of the tasks";
  return fmt::format("mean of the {} {} of {}", of_suite, of_suite == 1 ? "task" : "tasks",
                     results.suite.at("name").as_string());
}

std::vector<Cells> score_rows(const SuiteResults& results) {
  std::vector<Cells> rows = {{"task"}};
  for (const SubjectResult& subject : results.subjects) rows[0].push_back(subject.subject.name);
  for (const std::string& name : task_names(results)) {
    Cells row = {title_of(results, name)};
    for (const SubjectResult& subject : results.subjects) row.push_back(task_score(subject, name));
    rows.push_back(std::move(row));
  }
  if (rows.size() < 3) return rows;
  Cells mean = {mean_label(results)};
  for (const SubjectResult& subject : results.subjects) mean.push_back(mean_text(subject));
  rows.push_back(std::move(mean));
  return rows;
}

std::vector<Cells> rival_rows(const SubjectResult& subject) {
  std::vector<Cells> rows = {{"rival", "theirs", "ours", "ours / theirs", "tasks"}};
  for (const RivalResult& rival : subject.rivals) {
    rows.push_back({rival.model + " (" + rival.table + ")",
                    fmt::format("{:.2f} %", 100 * rival.theirs), score_text(rival.ours),
                    ratio_text(rival.ratio),
                    fmt::format("{} of {}", rival.tasks.size(), rival.tasks_of_suite)});
  }
  return rows;
}

std::vector<Cells> length_rows(const SubjectResult& subject) {
  std::vector<Cells> rows = {{"task", "answers", "tokens: mean", "median", "90 %", "most", "cut",
                              "too long", "empty", "cannot tell", "not graded"}};
  for (const TaskResult& task : subject.tasks) {
    const TaskScore& s = task.score;
    rows.push_back({task.measure.about.at("title").as_string(), std::to_string(s.answers),
                    fmt::format("{:.1f}", s.tokens.mean), std::to_string(s.tokens.median),
                    std::to_string(s.tokens.p90), std::to_string(s.tokens.most),
                    std::to_string(s.cut), std::to_string(s.too_long), std::to_string(s.empty),
                    std::to_string(s.unknown), std::to_string(s.ungraded)});
  }
  return rows;
}

std::string settings_markdown(const SubjectResult& subject) {
  std::vector<Cells> rows = {{"task", "settings", "hash of settings and items"}};
  const Json json = results_json({.suite = {}, .subjects = {subject}, .rivals = {}});
  for (const Json& task : json.at("models").at(size_t{0}).at("tasks").as_array())
    rows.push_back({task.at("task").as_string(), task.at("settings").at("ask").dump(),
                    task.at("settings_hash").as_string()});
  return markdown_table(rows);
}

}  // namespace

std::string score_text(const Interval& interval) {
  return fmt::format("{:.1f} % ({:.1f} to {:.1f})", 100 * interval.value, 100 * interval.low,
                     100 * interval.high);
}

std::string ratio_text(const Interval& ratio) {
  return fmt::format("{:.0f} % ({:.0f} to {:.0f})", 100 * ratio.value, 100 * ratio.low,
                     100 * ratio.high);
}

namespace {

// What a reader should do, where some were graded.
std::string again_text(const TaskScore& score) {
  if (score.ungraded == 0) return "";
  return fmt::format(
      "{} of {} answers could not be graded ({}), and count as wrong: the same command grades them "
      "again",
      score.ungraded, score.answers, failure_kinds(score.failures));
}

}  // namespace

std::string no_score_text(const TaskScore& score) {
  if (score.missing > 0 || score.answers == 0)
    return fmt::format("{} of {} answers missing", score.missing, score.items * score.samples);
  return fmt::format("{} of {} answers could not be graded ({})", score.ungraded, score.answers,
                     failure_kinds(score.failures));
}

std::string oddities_text(const TaskScore& score) {
  std::string out;
  if (score.missing > 0)
    out = fmt::format("{} of {} answers missing", score.missing, score.items * score.samples);
  bool first = true;
  const auto add = [&](int64_t count, const char* what) {
    if (count == 0) return;
    out += out.empty() ? "" : ", ";
    out += first ? fmt::format("{} of {} answers {}", count, score.answers, what)
                 : fmt::format("{} {}", count, what);
    first = false;
  };
  add(score.cut, "cut");
  add(score.too_long, "too long");
  add(score.empty, "empty");
  add(score.unknown - score.ungraded, "cannot tell");
  if (score.whole() && score.ungraded > 0) out += (out.empty() ? "" : ", ") + again_text(score);
  return out;
}

std::string extent_text(const TaskResult& task) {
  const TaskScore& s = task.score;
  std::string out = s.items == task.measure.items_total
                        ? fmt::format("{} items", s.items)
                        : fmt::format("{} of {} items", s.items, task.measure.items_total);
  if (s.samples > 1) out += fmt::format(", {} answers each", s.samples);
  return out;
}

std::string suite_table(const SuiteResults& results) {
  std::string out = padded(score_rows(results));
  for (const SubjectResult& subject : results.subjects) {
    if (!subject.missing.empty())
      out += fmt::format("{}: no mean: no score of {}\n", subject.subject.name,
                         joined(subject.missing));
    for (const TaskResult& task : subject.tasks) {
      if (const std::string odd = oddities_text(task.score); !odd.empty())
        out += fmt::format("{}: {}: {}\n", subject.subject.name, task.measure.task, odd);
    }
    if (subject.rivals.empty()) continue;
    out += "\n" + padded(rival_rows(subject));
  }
  return out;
}

std::string suite_markdown(const SuiteResults& results) {
  std::string out = "# " + cell_text(results.suite.at("title").as_string()) + "\n\n";
  if (const std::string& about = results.suite.at("about").as_string(); !about.empty())
    out += cell_text(about) + "\n\n";
  out +=
      "Scores with their 95 % intervals (bootstrap over items; Wilson's where all items are right, "
      "or all wrong). An answer that the grader could not decide counts as wrong and is counted "
      "under \"cannot tell\"; those whose grading failed are among them, and under \"not "
      "graded\". Where answers are missing, or none could be graded, there is no score.\n\n";
  out += markdown_table(score_rows(results));
  for (const SubjectResult& subject : results.subjects) {
    out += "## " + cell_text(subject.subject.name) + "\n\n";
    if (!subject.missing.empty())
      out += "No mean: no score of " + cell_text(joined(subject.missing)) + ".\n\n";
    for (const TaskResult& task : subject.tasks) {
      const std::string again =
          task.score.whole() ? again_text(task.score) : no_score_text(task.score);
      if (!again.empty()) out += cell_text(task.measure.task + ": " + again) + ".\n\n";
    }
    if (!subject.rivals.empty())
      out += "Rivals' scores as they were published, without intervals.\n\n" +
             markdown_table(rival_rows(subject));
    out += markdown_table(length_rows(subject));
    out += settings_markdown(subject);
  }
  for (const RivalTable& table : results.rivals)
    out += fmt::format("{} ({}): {}\n\n", table.title, table.date, table.source);
  return out;
}

}  // namespace dure
