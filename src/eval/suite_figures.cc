// Charts 340 units wide, as the report's others: as wide as a phone's column.
#include "eval/suite_figures.h"

#include <algorithm>
#include <cmath>

#include "base/html.h"
#include "base/python_text.h"
#include "eval/chart.h"
#include "eval/interval_chart.h"
#include "eval/suite_report.h"

namespace dure {
namespace {

constexpr double kWidth = 340, kLeft = 4, kRight = 16, kAxis = 26;
constexpr double kTitle = 20, kBar = 13, kGap = 10;
constexpr size_t kTitleLetters = 30;

double at(double share) { return kLeft + share * (kWidth - kRight - kLeft); }

std::string shortened(const std::string& text, size_t count) {
  size_t end = 0;
  for (size_t i = 0; i < count && end < text.size(); ++i) next_code_point(text, end);
  return end >= text.size() ? text : text.substr(0, end) + "…";
}

std::string axis(double height) {
  std::string out;
  for (int k = 0; k <= 4; ++k) {
    const double x = at(k / 4.0);
    out += fmt::format(
        "<line class='grid' x1='{0:.1f}' x2='{0:.1f}' y1='0' y2='{1:.1f}'/><text x='{2:.1f}' "
        "y='{3:.1f}' text-anchor='{4}'>{5}{6}</text>",
        x, height - kAxis, k == 4 ? kWidth - 2 : x, height - 8,
        k == 4   ? "end"
        : k == 0 ? "start"
                 : "middle",
        25 * k, k == 4 ? " %" : "");
  }
  return out;
}

std::string bar(const Interval& share, double y, size_t index, const std::string& says) {
  const double middle = y + kBar / 2;
  return fmt::format(
      "<g><title>{}</title><rect class='bar s{}' x='{:.1f}' y='{:.1f}' width='{:.1f}' "
      "height='{:.1f}'/><path class='whisker on' d='M{:.1f} {:.1f}H{:.1f}M{:.1f} {:.1f}v6M{:.1f} "
      "{:.1f}v6'/></g>",
      shown_html(says), index % 8, kLeft, y + 1, std::max(0.5, at(share.value) - kLeft), kBar - 2,
      at(share.low), middle, at(share.high), at(share.low), middle - 3, at(share.high), middle - 3);
}

// A rival's score: a line across the bars with its shape on top.
std::string mark(double share, double top, double bottom, size_t index, const std::string& says) {
  return fmt::format(
      "<g class='s{0}'><title>{1}</title><line x1='{2:.1f}' x2='{2:.1f}' y1='{3:.1f}' "
      "y2='{4:.1f}' stroke='var(--c)' stroke-width='1.5'/>{5}</g>",
      index % 8, shown_html(says), at(share), top, bottom, shape_svg(index, at(share), top));
}

std::vector<std::string> suite_tasks(const SuiteResults& results) {
  std::vector<std::string> out;
  for (const Json& name : results.suite.at("tasks").as_array()) out.push_back(name.as_string());
  return out;
}

std::string title_of(const SuiteResults& results, const std::string& task) {
  for (const SubjectResult& subject : results.subjects) {
    if (const TaskResult* found = subject.find(task))
      return found->measure.about.at("title").as_string();
  }
  return task;
}

// The bars and marks of one task, from `y` on.
std::string task_line(const SuiteResults& results, const std::string& task, double y) {
  std::string out = fmt::format("<text class='ink' x='{:.1f}' y='{:.1f}'>{}</text>", kLeft, y + 14,
                                shown_html(shortened(title_of(results, task), kTitleLetters)));
  std::string said;
  const double first = y + kTitle;
  for (size_t i = 0; i < results.subjects.size(); ++i) {
    const SubjectResult& subject = results.subjects[i];
    const TaskResult* found = subject.find(task);
    if (found == nullptr || !found->score.whole()) {
      said = found != nullptr && found->score.missing == 0 ? "not graded" : "answers missing";
      continue;
    }
    const Interval& share = found->score.metrics.front().interval;
    said = results.subjects.size() == 1 ? fmt::format("{:.1f} %", 100 * share.value) : "";
    out += bar(share, first + kBar * static_cast<double>(i), i,
               subject.subject.name + ": " + score_text(share) + ", " + extent_text(*found));
  }
  out += fmt::format("<text class='ink' x='{:.1f}' y='{:.1f}' text-anchor='end'>{}</text>",
                     kWidth - 4, y + 14, said);
  if (results.rivals.empty()) return out;
  const RivalTable& table = results.rivals.front();
  const double bottom = first + kBar * static_cast<double>(results.subjects.size());
  for (size_t i = 0; i < table.models.size(); ++i) {
    const RivalTable::Row* row = table.find(task);
    if (row == nullptr || !row->scores.contains(table.models[i])) continue;
    const double score = row->scores.at(table.models[i]);
    out += mark(score / 100, first - 1, bottom, i,
                fmt::format("{}: {:.1f} %", table.models[i], score));
  }
  return out;
}

}  // namespace

std::string task_bars_svg(const SuiteResults& results) {
  const std::vector<std::string> tasks = suite_tasks(results);
  const double line = kTitle + kBar * static_cast<double>(results.subjects.size()) + kGap;
  const double height = line * static_cast<double>(tasks.size()) + kAxis;
  std::string out =
      fmt::format("<svg viewBox='0 0 {:.0f} {:.0f}' role='img' aria-label='scores of all tasks'>",
                  kWidth, height);
  out += axis(height);
  for (size_t i = 0; i < tasks.size(); ++i)
    out += task_line(results, tasks[i], line * static_cast<double>(i));
  return out + "</svg>";
}

std::string rival_legend(const SuiteResults& results) {
  std::string out;
  const auto key = [&](const std::string& drawing, const std::string& name) {
    out += "<span><svg class='dot' viewBox='0 0 14 14'>" + drawing + "</svg>" + shown_html(name) +
           "</span>";
  };
  for (size_t i = 0; i < results.subjects.size(); ++i)
    key(fmt::format("<rect class='bar s{}' width='14' height='14'/>", i % 8),
        results.subjects[i].subject.name);
  if (!results.rivals.empty()) {
    const RivalTable& table = results.rivals.front();
    for (size_t i = 0; i < table.models.size(); ++i)
      key(fmt::format("<g class='s{}'>{}</g>", i % 8, shape_svg(i, 7, 7)),
          table.models[i] + " (published)");
  }
  return "<div class='legend'>" + out + "</div>";
}

std::string subject_legend(const SuiteResults& results) {
  if (results.subjects.size() < 2) return "";
  std::string out;
  for (size_t i = 0; i < results.subjects.size(); ++i)
    out += fmt::format(
        "<span><svg class='dot' viewBox='0 0 14 14'><g class='s{}'>{}</g></svg>{}</span>", i % 8,
        shape_svg(i, 7, 7), shown_html(results.subjects[i].subject.name));
  return "<div class='legend'>" + out + "</div>";
}

std::string group_figure(const SuiteResults& results, const std::string& task) {
  std::vector<IntervalGroup> groups;
  for (size_t s = 0; s < results.subjects.size(); ++s) {
    const TaskResult* found = results.subjects[s].find(task);
    if (found == nullptr) continue;
    for (const GroupScore& one : found->score.groups) {
      const std::string label = one.name.empty() ? "(none)" : one.name;
      auto place = std::find_if(groups.begin(), groups.end(),
                                [&](const IntervalGroup& group) { return group.label == label; });
      if (place == groups.end()) place = groups.insert(groups.end(), {label, {}});
      place->shares.resize(results.subjects.size());
      place->shares[s] = one.interval;
    }
  }
  return groups.empty() ? "" : interval_groups_svg(groups, task + " by group");
}

std::string subject_curve(const SuiteResults& results) {
  if (results.subjects.size() < 3) return "";
  ChartSeries mean{.name = "mean of the tasks", .mark = ChartMark::kPoints};
  for (size_t i = 0; i < results.subjects.size(); ++i) {
    const SubjectResult& subject = results.subjects[i];
    if (!subject.mean) continue;
    mean.x.push_back(static_cast<double>(i + 1));
    mean.y.push_back(subject.mean->interval.value);
  }
  if (mean.x.size() < 3) return "";
  Chart chart{.options = {.description = "mean of the tasks by model",
                          .x_label = "model, in the order they were named",
                          .x_counts = true,
                          .from_zero = true}};
  chart.series.push_back(std::move(mean));
  return chart_svg(std::move(chart));
}

}  // namespace dure
