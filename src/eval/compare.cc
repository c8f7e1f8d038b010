// Mean scores by item, put side by side.
#include "eval/compare.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "eval/task_score.h"

namespace dure {
namespace {

constexpr int64_t kResamples = 2000;
constexpr size_t kFlipsShown = 10;

struct ItemScores {
  std::string group;
  double sum = 0;
  int64_t count = 0;
  bool verdicts = true;
  double mean() const { return sum / static_cast<double>(count); }
};

std::map<std::string, ItemScores> scores_of(const ComparedSubject& subject,
                                            const MeasureRow& measure) {
  std::map<std::string, ItemScores> out;
  for (const AnswerRow& row : subject.store.answers(subject.subject, measure.task)) {
    if (!row.grade.failure.empty()) continue;  // Nobody knows: its item is left out.
    ItemScores& item = out[row.item];
    const double score = row.grade.score.value_or(0);
    item.group = row.group;
    item.sum += score;
    item.verdicts &= score == 0 || score == 1;
    ++item.count;
  }
  return out;
}

const MeasureRow* find(const std::vector<MeasureRow>& measures, const std::string& task) {
  for (const MeasureRow& one : measures)
    if (one.task == task) return &one;
  return nullptr;
}

void require_same_items(const MeasureRow& first, const MeasureRow& second) {
  const Json* a = first.settings.find("items");
  const Json* b = second.settings.find("items");
  if (a == nullptr || b == nullptr || *a != *b)
    fail(ErrorCode::kInvalidArgument,
         "task {}: the two were asked other items: answers can only be compared on the same",
         first.task);
}

// Items that count the same, by their places: all of them, or those of a group.
using Strata = std::vector<std::vector<size_t>>;

// The mean over strata of the means within them, as the report's own score.
double mean_over(const Strata& strata, const std::vector<double>& values) {
  double sum = 0;
  for (const std::vector<size_t>& places : strata) {
    double one = 0;
    for (const size_t place : places) one += values[place];
    sum += one / static_cast<double>(places.size());
  }
  return sum / static_cast<double>(strata.size());
}

Strata drawn(const Strata& strata, Rng& rng) {
  Strata out = strata;
  for (size_t s = 0; s < out.size(); ++s) {
    for (size_t& place : out[s])
      place = strata[s][static_cast<size_t>(rng.below(std::ssize(strata[s])))];
  }
  return out;
}

// The mean difference of items with its interval and its two-sided p. Where no draw differs, as
// wide as Wilson's interval of none in so many.
void bootstrap(const std::vector<double>& differences, const Strata& strata,
               const std::string& task, ComparedTask& out) {
  std::vector<double> resamples;
  int64_t at_most_zero = 0, at_least_zero = 0;
  for (int64_t r = 0; r < kResamples; ++r) {
    Rng rng(1, stream_id("paired bootstrap", xxh64(task), static_cast<uint64_t>(r)));
    const double one = mean_over(drawn(strata, rng), differences);
    resamples.push_back(one);
    at_most_zero += one <= 0 ? 1 : 0;
    at_least_zero += one >= 0 ? 1 : 0;
  }
  const double mean = mean_over(strata, differences);
  out.difference = resampled_interval(mean, std::move(resamples));
  if (out.difference.high - out.difference.low < 1e-12) {
    const double half = wilson_of_share(0, std::ssize(differences)).high;
    out.difference = {mean, std::max(-1.0, mean - half), std::min(1.0, mean + half)};
  }
  const int64_t tail = std::min(at_most_zero, at_least_zero);
  out.bootstrap_p =
      std::min(1.0, 2 * static_cast<double>(tail + 1) / static_cast<double>(kResamples + 1));
}

ComparedTask compare_task(const ComparedSubject& first, const MeasureRow& a,
                          const ComparedSubject& second, const MeasureRow& b) {
  require_same_items(a, b);
  ComparedTask out{.task = a.task, .title = a.about.at("title").as_string()};
  if (a.settings != b.settings) out.settings_differ = settings_difference(a.settings, b.settings);
  const auto left = scores_of(first, a), right = scores_of(second, b);
  std::vector<double> differences, firsts, seconds;
  std::map<std::string, std::vector<size_t>> groups;
  const bool by_group = a.about.at("mean") == Json("groups");
  out.by_group = by_group;
  if (const std::string& metric = a.about.at("metric").as_string(); metric != "mean")
    out.headline = metric;
  bool verdicts = true;
  for (const auto& [item, scores] : left) {
    const auto other = right.find(item);
    if (other == right.end()) continue;
    const double x = scores.mean(), y = other->second.mean();
    groups[by_group ? scores.group : ""].push_back(differences.size());
    firsts.push_back(x);
    seconds.push_back(y);
    differences.push_back(y - x);
    verdicts &=
        scores.verdicts && other->second.verdicts && scores.count == 1 && other->second.count == 1;
    out.better += y > x ? 1 : 0;
    out.worse += y < x ? 1 : 0;
    if (x != y) out.flips.push_back({item, x, y});
  }
  out.items = std::ssize(differences);
  out.left_out = std::ssize(left) + std::ssize(right) - 2 * out.items;
  if (differences.empty()) return out;
  Strata strata;
  for (auto& [name, places] : groups) strata.push_back(std::move(places));
  out.first = mean_over(strata, firsts);
  out.second = mean_over(strata, seconds);
  if (verdicts) out.mcnemar = mcnemar_exact(out.better, out.worse);
  bootstrap(differences, strata, a.task, out);
  std::stable_sort(out.flips.begin(), out.flips.end(), [](const Flip& one, const Flip& other) {
    return std::abs(one.second - one.first) > std::abs(other.second - other.first);
  });
  return out;
}

std::string p_text(const ComparedTask& task) {
  return task.mcnemar ? fmt::format("p {:.4f} (McNemar, exact)", *task.mcnemar)
                      : fmt::format("p {:.4f} (paired bootstrap)", task.bootstrap_p);
}

std::string verdict_text(const ComparedTask& task) {
  const double p = task.mcnemar.value_or(task.bootstrap_p);
  if (p >= 0.05) return "no difference that chance would not make";
  return task.second > task.first ? "better" : "worse";
}

std::string flips_text(const std::vector<Flip>& flips, bool up) {
  std::string out;
  size_t count = 0, shown = 0;
  for (const Flip& flip : flips) {
    if ((flip.second > flip.first) != up) continue;
    if (++count > kFlipsShown) continue;
    out += (shown++ > 0 ? ", " : "") + flip.item;
  }
  if (count > kFlipsShown) out += fmt::format(" and {} more", count - kFlipsShown);
  return out;
}

}  // namespace

double mcnemar_exact(int64_t better, int64_t worse) {
  const int64_t n = better + worse;
  if (n == 0) return 1;
  const double log_half = -std::log(2.0) * static_cast<double>(n);
  double tail = 0;
  for (int64_t k = 0; k <= std::min(better, worse); ++k) {
    const double log_choose = std::lgamma(static_cast<double>(n) + 1) -
                              std::lgamma(static_cast<double>(k) + 1) -
                              std::lgamma(static_cast<double>(n - k) + 1);
    tail += std::exp(log_choose + log_half);
  }
  return std::min(1.0, 2 * tail);
}

Comparison compare(const ComparedSubject& first, const ComparedSubject& second) {
  Comparison out{.first = first.subject, .second = second.subject};
  const std::vector<MeasureRow> left = first.store.measures(first.subject);
  const std::vector<MeasureRow> right = second.store.measures(second.subject);
  for (const MeasureRow& one : left) {
    const MeasureRow* other = find(right, one.task);
    if (other == nullptr) {
      out.only_one.push_back(one.task);
    } else {
      out.tasks.push_back(compare_task(first, one, second, *other));
    }
  }
  for (const MeasureRow& one : right)
    if (find(left, one.task) == nullptr) out.only_one.push_back(one.task);
  if (out.tasks.empty())
    fail(ErrorCode::kInvalidArgument, "'{}' and '{}' have no task in common", first.subject,
         second.subject);
  return out;
}

Json comparison_json(const Comparison& comparison) {
  Json tasks = Json::array();
  for (const ComparedTask& task : comparison.tasks) {
    Json one = Json::object();
    one["task"] = task.task;
    one["items"] = task.items;
    one["left_out"] = task.left_out;
    one["first"] = task.first;
    one["second"] = task.second;
    one["difference"] = task.difference.value;
    one["low"] = task.difference.low;
    one["high"] = task.difference.high;
    one["mean_over"] = task.by_group ? "groups" : "items";
    one["better"] = task.better;
    one["worse"] = task.worse;
    one["mcnemar_p"] = task.mcnemar ? Json(*task.mcnemar) : Json();
    one["bootstrap_p"] = task.bootstrap_p;
    if (!task.settings_differ.empty()) one["settings_differ"] = task.settings_differ;
    Json flips = Json::array();
    for (const Flip& flip : task.flips) {
      Json item = Json::object();
      item["item"] = flip.item;
      item["first"] = flip.first;
      item["second"] = flip.second;
      flips.push_back(std::move(item));
    }
    one["flips"] = std::move(flips);
    tasks.push_back(std::move(one));
  }
  Json out = Json::object();
  out["first"] = comparison.first;
  out["second"] = comparison.second;
  out["tasks"] = std::move(tasks);
  out["only_one"] = Json::array_of(comparison.only_one);
  return out;
}

std::string comparison_text(const Comparison& comparison) {
  std::string out = fmt::format("{} -> {}\n", comparison.first, comparison.second);
  for (const ComparedTask& task : comparison.tasks) {
    out += fmt::format(
        "{}: {:.1f} % -> {:.1f} %, difference {:+.1f} ({:+.1f} to {:+.1f}) over {} items, {}: {}\n",
        task.title, 100 * task.first, 100 * task.second, 100 * task.difference.value,
        100 * task.difference.low, 100 * task.difference.high, task.items, p_text(task),
        verdict_text(task));
    if (task.better > 0)
      out += fmt::format("  {} gained: {}\n", task.better, flips_text(task.flips, true));
    if (task.worse > 0)
      out += fmt::format("  {} lost: {}\n", task.worse, flips_text(task.flips, false));
    if (!task.headline.empty())
      out += fmt::format("  these are mean scores; the report's headline is {}\n", task.headline);
    if (task.by_group) out += "  every group counts the same, as in the report\n";
    if (task.left_out > 0)
      out += fmt::format("  {} answered by one of the two alone are left out\n", task.left_out);
    if (!task.settings_differ.empty())
      out += fmt::format("  asked differently: {}\n", task.settings_differ);
  }
  for (const std::string& task : comparison.only_one)
    out += fmt::format("{}: measured of one of the two alone\n", task);
  return out;
}

std::string comparison_markdown(const Comparison& comparison) {
  std::string out = fmt::format("# {} compared with {}\n\n", comparison.second, comparison.first);
  out += "| task | items | first | second | difference | gained | lost | p |\n";
  out += "|---|---:|---:|---:|---:|---:|---:|---:|\n";
  for (const ComparedTask& task : comparison.tasks) {
    out += fmt::format(
        "| {} | {} | {:.1f} % | {:.1f} % | {:+.1f} ({:+.1f} to {:+.1f}) | {} | {} | {} |\n",
        task.title, task.items, 100 * task.first, 100 * task.second, 100 * task.difference.value,
        100 * task.difference.low, 100 * task.difference.high, task.better, task.worse,
        p_text(task));
  }
  return out + "\n```text\n" + comparison_text(comparison) + "```\n";
}

}  // namespace dure
