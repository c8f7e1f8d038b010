// Sections in order: result, rivals, groups, lengths, failures, how it was made.
#include "eval/suite_page.h"

#include <algorithm>

#include "base/hash.h"
#include "base/html.h"
#include "base/python_text.h"
#include "eval/report_style.h"
#include "eval/suite_figures.h"
#include "eval/suite_report.h"

namespace dure {
namespace {

constexpr size_t kTextBytesMax = 12000;  // shown of one text

using Cells = std::vector<std::string>;  // escaped already

std::string table_html(const std::vector<Cells>& rows) {
  std::string out = "<div class='wide'><table><thead>";
  for (size_t r = 0; r < rows.size(); ++r) {
    out += "<tr>";
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const bool head = r == 0 || c == 0;
      out += (head ? "<th>" : "<td>") + rows[r][c] + (head ? "</th>" : "</td>");
    }
    out += r == 0 ? "</tr></thead><tbody>" : "</tr>";
  }
  return out + "</tbody></table></div>";
}

std::string paragraph(const std::string& text, const char* kind = "") {
  return fmt::format("<p class='{}'>", kind) + text + "</p>";
}

std::string section(const char* id, const char* title, const std::string& body) {
  if (body.empty()) return "";
  return fmt::format("<section id='{}'><h2>{}</h2>", id, title) + body + "</section>";
}

std::string beginning_of(const std::string& text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = 0;
  while (end + 4 < bytes_max) next_code_point(text, end);
  return text.substr(0, end) + fmt::format("… ({} bytes more)", text.size() - end);
}

std::string pre(const std::string& text, const char* kind) {
  return fmt::format("<pre class='{}'>", kind) + shown_html(beginning_of(text, kTextBytesMax)) +
         "</pre>";
}

std::string folded(const std::string& summary, const std::string& body) {
  return "<details><summary>" + shown_html(summary) + "</summary>" + body + "</details>";
}

std::vector<std::string> names_of(const Json& list) {
  std::vector<std::string> out;
  for (const Json& one : list.as_array()) out.push_back(one.as_string());
  return out;
}

std::string title_of(const TaskResult& task) { return task.measure.about.at("title").as_string(); }

// "83.9 %" over its interval.
std::string score_cell(const Interval& share) {
  return fmt::format("{:.1f} % <small>{:.1f} to {:.1f}</small>", 100 * share.value, 100 * share.low,
                     100 * share.high);
}

// Why a suite has no mean, task by task.
std::string reasons_html(const SubjectResult& subject) {
  std::string out = "no mean of the suite";
  for (size_t i = 0; i < subject.missing.size(); ++i) {
    const TaskResult* task = subject.find(subject.missing[i]);
    out += i == 0 ? ": " : "; ";
    out += shown_html(subject.missing[i] + ": " +
                      (task != nullptr ? no_score_text(task->score) : "not measured"));
  }
  return out;
}

std::string lead(const SuiteResults& results, const SubjectResult& subject) {
  const std::string name = "<b>" + shown_html(subject.subject.name) + "</b>";
  if (!subject.mean) return paragraph(name + ": " + reasons_html(subject) + ".", "lead");
  const size_t count = results.suite.at("tasks").size();
  std::string out = fmt::format("{}: {} over {} {}", name, score_text(subject.mean->interval),
                                count, count == 1 ? "task" : "tasks");
  if (subject.tasks.size() > count)
    out += " of " + shown_html(results.suite.at("name").as_string());
  for (const RivalResult& rival : subject.rivals) {
    const bool all = std::ssize(rival.tasks) == rival.tasks_of_suite;
    if (!all || rival.table != subject.rivals.front().table) continue;
    out += fmt::format("; {} of {}", ratio_text(rival.ratio), shown_html(rival.model));
  }
  return paragraph(out + ".", "lead");
}

std::string result_section(const SuiteResults& results) {
  std::string out;
  for (const SubjectResult& subject : results.subjects) out += lead(results, subject);
  out += "<div class='grid hero'><figure><figcaption>Scores of the tasks</figcaption>" +
         task_bars_svg(results) + rival_legend(results) +
         paragraph(
             std::string("Whiskers: 95 %, bootstrap over items (Wilson's where all are right, or "
                         "all wrong).") +
                 (results.rivals.empty() ? ""
                                         : " Rivals' scores are as published, under their own "
                                           "settings, without intervals."),
             "note") +
         "</figure>";
  if (const std::string curve = subject_curve(results); !curve.empty())
    out += "<figure><figcaption>Mean by model</figcaption>" + curve + "</figure>";
  std::vector<Cells> rows = {{"task"}};
  for (const SubjectResult& subject : results.subjects)
    rows[0].push_back(shown_html(subject.subject.name));
  for (const std::string& name : names_of(results.suite.at("tasks"))) {
    Cells row = {shown_html(name)};
    for (const SubjectResult& subject : results.subjects) {
      const TaskResult* task = subject.find(name);
      if (task != nullptr) row[0] = shown_html(title_of(*task));
      const bool whole = task != nullptr && task->score.whole();
      row.push_back(whole             ? score_cell(task->score.metrics.front().interval)
                    : task == nullptr ? "not measured"
                                      : shown_html(no_score_text(task->score)));
    }
    rows.push_back(std::move(row));
  }
  return out + "<div>" + table_html(rows) + "</div></div>";
}

// One table of rivals: a row a task, our models' columns, then theirs.
std::string rival_table(const SuiteResults& results, const RivalTable& table) {
  std::vector<Cells> rows = {{"task"}};
  for (const SubjectResult& subject : results.subjects)
    rows[0].push_back(shown_html(subject.subject.name));
  for (const std::string& model : table.models) rows[0].push_back(shown_html(model));
  for (const std::string& name : names_of(results.suite.at("tasks"))) {
    const RivalTable::Row* row = table.find(name);
    if (row == nullptr) continue;
    Cells cells = {shown_html(row->title)};
    for (const SubjectResult& subject : results.subjects) {
      const TaskResult* task = subject.find(name);
      const bool whole = task != nullptr && task->score.whole();
      cells.push_back(whole ? score_cell(task->score.metrics.front().interval) : "–");
    }
    for (const std::string& model : table.models) {
      const auto score = row->scores.find(model);
      cells.push_back(score != row->scores.end() ? fmt::format("{:.1f}", score->second) : "–");
    }
    rows.push_back(std::move(cells));
  }
  if (rows.size() == 1) return "";
  return fmt::format("<h3>{} ({})</h3>", shown_html(table.title), shown_html(table.date)) +
         table_html(rows) + paragraph("Source: " + shown_html(table.source), "note");
}

std::string ratio_table(const SubjectResult& subject, const RivalTable& table) {
  std::vector<Cells> rows = {{"rival", "ours / theirs", "ours", "theirs", "tasks"}};
  for (const RivalResult& rival : subject.rivals) {
    if (rival.table != table.name) continue;
    rows.push_back({shown_html(rival.model), "<b>" + ratio_text(rival.ratio) + "</b>",
                    score_cell(rival.ours), fmt::format("{:.2f} %", 100 * rival.theirs),
                    fmt::format("{} of {}", rival.tasks.size(), rival.tasks_of_suite)});
  }
  if (rows.size() == 1) return "";
  return paragraph("<b>" + shown_html(subject.subject.name) +
                   "</b>, mean over the tasks that both have a score of:") +
         table_html(rows);
}

std::string rivals_section(const SuiteResults& results) {
  std::string out;
  for (const RivalTable& table : results.rivals) {
    out += rival_table(results, table);
    for (const SubjectResult& subject : results.subjects) out += ratio_table(subject, table);
  }
  return out;
}

std::string title_of(const SuiteResults& results, const std::string& task) {
  for (const SubjectResult& subject : results.subjects)
    if (const TaskResult* found = subject.find(task)) return title_of(*found);
  return task;
}

std::string groups_section(const SuiteResults& results) {
  std::string out;
  for (const std::string& name : names_of(results.suite.at("tasks"))) {
    const std::string figure = group_figure(results, name);
    if (figure.empty()) continue;
    out += "<figure><figcaption>" + shown_html(title_of(results, name)) + "</figcaption>" + figure +
           "</figure>";
  }
  return out.empty() ? "" : subject_legend(results) + "<div class='grid'>" + out + "</div>";
}

std::string metrics_section(const SuiteResults& results) {
  std::vector<Cells> rows = {{"task", "model", "metric", "score", "items"}};
  for (const SubjectResult& subject : results.subjects) {
    for (const TaskResult& task : subject.tasks) {
      for (const MetricScore& metric : task.score.metrics)
        rows.push_back({shown_html(title_of(task)), shown_html(subject.subject.name),
                        shown_html(metric.name), score_cell(metric.interval),
                        shown_html(extent_text(task))});
    }
  }
  return rows.size() == 1 ? "" : table_html(rows);
}

std::string lengths_section(const SuiteResults& results) {
  std::vector<Cells> rows = {{"task", "model", "answers", "mean", "median", "90 %", "most",
                              "reasoned", "cut", "too long", "empty", "cannot tell", "not graded",
                              "seconds"}};
  for (const SubjectResult& subject : results.subjects) {
    for (const TaskResult& task : subject.tasks) {
      const TaskScore& s = task.score;
      const double count = std::max<double>(1, static_cast<double>(s.answers));
      rows.push_back(
          {shown_html(title_of(task)), shown_html(subject.subject.name), std::to_string(s.answers),
           fmt::format("{:.1f}", s.tokens.mean), std::to_string(s.tokens.median),
           std::to_string(s.tokens.p90), std::to_string(s.tokens.most),
           fmt::format("{:.0f} %", 100 * s.reasoned_share), std::to_string(s.cut),
           std::to_string(s.too_long), std::to_string(s.empty), std::to_string(s.unknown),
           std::to_string(s.ungraded), fmt::format("{:.2f}", s.answer_seconds / count)});
    }
  }
  return paragraph(
             "Tokens of answers; seconds an answer, while others were sampled too. Cut: an answer "
             "ended by its limit. Too long: the question leaves no room in the model's context. "
             "Cannot tell: the grader could not decide, which counts as wrong. Not graded, among "
             "those: grading failed, and the same command grades them again.",
             "about") +
         table_html(rows);
}

std::string said_text(const AnswerRow& row) {
  std::string out = row.answer.content;
  for (const ToolCall& call : row.answer.tool_calls)
    out += fmt::format("{}call {}({})", out.empty() ? "" : "\n", call.name, call.arguments.dump());
  for (size_t i = 0; i < row.answer.log_likelihoods.size(); ++i)
    out += fmt::format("{}continuation {}: {:.3f} nats", i > 0 ? "\n" : "", i + 1,
                       row.answer.log_likelihoods[i]);
  return out;
}

std::string conversation_text(const Json& messages) {
  std::string out;
  for (const Json& message : messages.as_array()) {
    const Json* content = message.find("content");
    const Json* calls = message.find("tool_calls");
    if (messages.size() > 1) out += "[" + message.at("role").as_string() + "] ";
    if (content != nullptr && content->is_string()) out += content->as_string();
    if (calls != nullptr) out += " " + calls->dump();
    out += "\n";
  }
  return out;
}

std::string failure_html(const AnswerRow& row) {
  const std::string& failure = row.grade.failure;
  const std::string verdict = !failure.empty()  ? "not graded (" + failure + ")"
                              : row.grade.score ? fmt::format("score {:.2f}", *row.grade.score)
                                                : std::string("cannot tell");
  std::string out = pre(conversation_text(row.messages), "ask");
  if (!row.answer.reasoning.empty())
    out += folded("its reasoning", pre(row.answer.reasoning, "think"));
  const std::string said = said_text(row);
  out += said.empty() ? paragraph("(no answer)", "blank") : pre(said, "said");
  out += "<div class='expected'>expected: <code>" +
         shown_html(beginning_of(row.expected.dump(), 600)) + "</code></div>";
  if (!row.grade.extracted.empty())
    out += "<div class='expected'>read: <code>" +
           shown_html(beginning_of(row.grade.extracted, 600)) + "</code></div>";
  out += "<div class='what'>" + shown_html(beginning_of(row.grade.reason, 2000)) +
         fmt::format(" ({} tokens, ended by {})</div>", row.tokens, name_of(row.end));
  const std::string title = fmt::format(
      "{}{}: {}", row.item,
      row.sample > 0 ? fmt::format(", answer {}", row.sample + 1) : std::string(), verdict);
  return folded(title, "<div class='answer wrong'>" + out + "</div>");
}

std::string failures_of(const SubjectResult& subject, const TaskResult& task,
                        const AnswerStore& store) {
  std::vector<AnswerRow> failed = store.answers(subject.subject.name, task.measure.task);
  std::erase_if(failed, [](const AnswerRow& row) { return row.grade.score.value_or(0) >= 1; });
  const size_t count = failed.size(), some = std::min(count, kFailuresShown);
  std::string shown;  // from all over the task
  for (size_t i = 0; i < some; ++i) shown += failure_html(failed[i * count / some]);
  if (count == 0) return "";
  std::string out =
      fmt::format("<h3>{} · {}</h3>", shown_html(title_of(task)), shown_html(subject.subject.name));
  out += paragraph(fmt::format("{} of {} answers are not wholly right; {} are shown.", count,
                               task.score.answers, some),
                   "about");
  return out + shown;
}

std::string failures_section(const SuiteResults& results, const AnswerStore& store) {
  std::string out;
  for (const SubjectResult& subject : results.subjects)
    for (const TaskResult& task : subject.tasks) out += failures_of(subject, task, store);
  return out;
}

std::string facts_card(const SubjectResult& subject) {
  std::string rows;
  const auto add = [&](const std::string& name, const Json& value) {
    const std::string text = value.is_string() ? value.as_string() : value.dump();
    rows += "<div><dt>" + shown_html(name) + "</dt><dd>" + shown_html(text) + "</dd></div>";
  };
  for (const auto& [name, value] : subject.subject.identity.as_object()) add(name, value);
  for (const auto& [name, value] : subject.subject.facts.as_object()) {
    if (!value.is_object()) add(name, value);
  }
  if (const Json* shape = subject.subject.facts.find("shape"); shape != nullptr)
    for (const auto& [name, value] : shape->as_object()) add(name, value);
  return "<div class='facts'><h3>" + shown_html(subject.subject.name) + "</h3><dl>" + rows +
         "</dl></div>";
}

std::string made_section(const SuiteResults& results) {
  std::string out = "<div class='grid'>";
  std::vector<Cells> rows = {{"task", "model", "hash", "source", "licence"}};
  std::string settings;
  for (const SubjectResult& subject : results.subjects) {
    out += facts_card(subject);
    for (const TaskResult& task : subject.tasks) {
      const std::string text = task.measure.settings.dump(1);
      const Json& about = task.measure.about;
      rows.push_back({shown_html(task.measure.task), shown_html(subject.subject.name),
                      fmt::format("<code>{:016x}</code>", xxh64(task.measure.settings.dump())),
                      shown_html(about.at("source").as_string()),
                      shown_html(about.at("licence").as_string())});
      settings += folded(subject.subject.name + ": " + task.measure.task, pre(text, "settings"));
    }
  }
  out += "</div>";
  out += paragraph(
      "The hash is of a task's settings: seed, sampling, prompts' form, grader and all of its "
      "items. The same model, hash and program give the same answers.");
  return out + table_html(rows) + "<h3>Settings</h3>" + settings;
}

}  // namespace

std::string suite_html(const SuiteResults& results, const AnswerStore& store) {
  const std::string title = shown_html(results.suite.at("title").as_string());
  struct Part {
    const char *id, *title;
    std::string body;
  };
  const Part parts[] = {{"result", "Result", result_section(results)},
                        {"rivals", "Rivals", rivals_section(results)},
                        {"groups", "By group", groups_section(results)},
                        {"metrics", "All metrics", metrics_section(results)},
                        {"lengths", "Lengths and ends", lengths_section(results)},
                        {"failures", "Failures", failures_section(results, store)},
                        {"made", "How this was made", made_section(results)}};
  std::string links, body;
  for (const Part& part : parts) {
    if (part.body.empty()) continue;
    links += fmt::format("<a href='#{}'>{}</a>", part.id, part.title);
    body += section(part.id, part.title, part.body);
  }
  return "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
         "content='width=device-width,initial-scale=1'><title>" +
         title + "</title><style>" + kReportStyle + "</style></head><body><header><h1>" + title +
         "</h1>" + paragraph(shown_html(results.suite.at("about").as_string()), "about") +
         "</header><nav aria-label='parts'>" + links + "</nav><main>" + body +
         "</main></body></html>\n";
}

}  // namespace dure
