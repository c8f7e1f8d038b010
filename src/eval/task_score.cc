// A metric gives each item a numerator and a denominator, so that one bootstrap serves all of them;
// macro F1, which has none, keeps the labels.
#include "eval/task_score.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "base/check.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "suite/expression.h"

namespace dure {
namespace {

using Samples = std::vector<const AnswerRow*>;  // of one item

struct ItemAnswers {
  std::string group;
  Samples samples;
};

struct Share {
  double of = 0, in = 1;
};

double score_of(const AnswerRow& row) {
  return row.grade.failure.empty() ? row.grade.score.value_or(0) : 0;
}

int64_t right_count(const Samples& samples) {
  return std::count_if(samples.begin(), samples.end(),
                       [](const AnswerRow* row) { return score_of(*row) >= 1; });
}

Share mean_share(const Samples& samples) {
  double sum = 0;
  for (const AnswerRow* row : samples) sum += score_of(*row);
  return {sum / static_cast<double>(samples.size())};
}

Share majority_share(const Samples& samples) {
  std::map<std::string, int64_t> votes;
  for (const AnswerRow* row : samples)
    if (!row->grade.extracted.empty()) ++votes[row->grade.extracted];
  const AnswerRow* best = nullptr;
  int64_t most = 0;
  for (const AnswerRow* row : samples) {
    if (row->grade.extracted.empty() || votes[row->grade.extracted] <= most) continue;
    most = votes[row->grade.extracted];
    best = row;
  }
  return {best != nullptr ? score_of(*best) : 0};
}

double part_of(const AnswerRow& row, const std::string& name) {
  const Json* part = row.grade.parts.find(name);
  if (part == nullptr) {
    // What was never graded (cut, too long, unknown) has no parts.
    if (row.grade.parts.is_null()) return 0;
    fail(ErrorCode::kInvalidArgument, "task {}: metric {}: the grades have no part of that name",
         row.task, name);
  }
  return part->is_bool() ? (part->as_bool() ? 1 : 0) : part->as_double(name);
}

// "NAME", "NAME/OTHER" or "NAME*OTHER", of grades' parts.
Share part_share(const Samples& samples, const std::string& name) {
  const size_t mark = name.find_first_of("/*");
  Share out{0, 0};
  for (const AnswerRow* row : samples) {
    const double part = part_of(*row, name.substr(0, mark));
    const double other = mark == std::string::npos ? 1 : part_of(*row, name.substr(mark + 1));
    out.of += mark != std::string::npos && name[mark] == '*' ? part * other : part;
    out.in += other;
  }
  return out;
}

// "pass@4" with prefix "pass@": 4; 0 where it is none.
int64_t count_behind(const std::string& metric, std::string_view prefix) {
  if (!metric.starts_with(prefix)) return 0;
  const std::string digits = metric.substr(prefix.size());
  const bool good = !digits.empty() && digits.size() < 6 &&
                    digits.find_first_not_of("0123456789") == std::string::npos;
  return good ? std::stoll(digits) : -1;
}

Share share_of(const std::string& metric, const Samples& samples) {
  const int64_t n = std::ssize(samples);
  if (metric == "mean") return mean_share(samples);
  if (metric == "majority") return majority_share(samples);
  if (const int64_t k = count_behind(metric, "pass@")) return {pass_at(n, right_count(samples), k)};
  if (const int64_t k = count_behind(metric, "all@")) return {all_at(n, right_count(samples), k)};
  return part_share(samples, metric);
}

// Items by their places, drawn anew for each resample: within groups where they count the same.
class Resampler {
 public:
  Resampler(const std::vector<ItemAnswers>& items, bool by_group) {
    std::map<std::string, std::vector<size_t>> groups;
    for (size_t i = 0; i < items.size(); ++i) groups[by_group ? items[i].group : ""].push_back(i);
    for (auto& [name, places] : groups) strata_.push_back(std::move(places));
  }
  const std::vector<std::vector<size_t>>& strata() const { return strata_; }
  std::vector<std::vector<size_t>> draw(Rng& rng) const {
    std::vector<std::vector<size_t>> out = strata_;
    for (size_t s = 0; s < out.size(); ++s) {
      for (size_t& place : out[s])
        place = strata_[s][static_cast<size_t>(rng.below(std::ssize(strata_[s])))];
    }
    return out;
  }

 private:
  std::vector<std::vector<size_t>> strata_;
};

double mean_over(const std::vector<std::vector<size_t>>& strata, const std::vector<Share>& shares) {
  double sum = 0;
  for (const std::vector<size_t>& places : strata) {
    Share all{0, 0};
    for (const size_t place : places) {
      all.of += shares[place].of;
      all.in += shares[place].in;
    }
    sum += all.in > 0 ? all.of / all.in : 0;
  }
  return sum / static_cast<double>(strata.size());
}

// Of the labels said against those that are right, over all samples of the items.
double macro_f1(const std::vector<std::vector<size_t>>& strata,
                const std::vector<ItemAnswers>& items) {
  struct Counts {
    double both = 0, said = 0, right = 0;
  };
  std::map<std::string, Counts> labels;
  for (const std::vector<size_t>& places : strata) {
    for (const size_t place : places) {
      for (const AnswerRow* row : items[place].samples) {
        const std::string right = text_of_value(row->expected);
        const std::string& said = row->grade.extracted;
        ++labels[right].right;
        if (!said.empty()) ++labels[said].said;
        if (said == right) ++labels[right].both;
      }
    }
  }
  double sum = 0;
  int64_t count = 0;
  for (const auto& [label, counts] : labels) {
    if (counts.right == 0) continue;
    sum += 2 * counts.both / (counts.said + counts.right);
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

bool all_equal(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(),
                     [&](double one) { return std::abs(one - values.front()) < 1e-12; });
}

// Where items do not differ (all right, all wrong, each a group of its own), drawing among them
// says nothing: Wilson's interval stands in, and resamples spread so that a mean of tasks has its
// share of it: a normal of either side whose 95 % bounds are Wilson's.
void widen(MetricScore& score, int64_t items, const ScoreOptions& options, uint64_t stream) {
  const double value = score.interval.value;
  if (items == 0 || value < 0 || value > 1) return;
  score.interval = wilson_of_share(value, items);
  Rng rng(options.seed, stream_id("widened", stream));
  for (double& one : score.resamples) {
    const double z = rng.normal() / 1.959963984540054;
    const double side = z < 0 ? value - score.interval.low : score.interval.high - value;
    one = std::clamp(value + z * side, 0.0, 1.0);
  }
}

MetricScore score_metric(const std::string& metric, const std::vector<ItemAnswers>& items,
                         const Resampler& resampler, const ScoreOptions& options, uint64_t stream) {
  std::vector<Share> shares;
  const bool f1 = metric == "macro_f1";
  for (const ItemAnswers& item : items)
    if (!f1) shares.push_back(share_of(metric, item.samples));
  const auto value = [&](const std::vector<std::vector<size_t>>& strata) {
    return f1 ? macro_f1(strata, items) : mean_over(strata, shares);
  };
  MetricScore out{.name = metric};
  for (int64_t r = 0; r < options.resamples; ++r) {
    Rng rng(options.seed, stream_id("bootstrap", stream, static_cast<uint64_t>(r)));
    out.resamples.push_back(value(resampler.draw(rng)));
  }
  out.interval = resampled_interval(value(resampler.strata()), out.resamples);
  if (all_equal(out.resamples)) widen(out, std::ssize(items), options, stream);
  return out;
}

LengthFacts lengths_of(std::vector<int64_t> counts) {
  if (counts.empty()) return {};
  std::sort(counts.begin(), counts.end());
  double sum = 0;
  for (const int64_t count : counts) sum += static_cast<double>(count);
  const size_t n = counts.size();
  return {.mean = sum / static_cast<double>(n),
          .median = counts[n / 2],
          .p90 = counts[std::min(n - 1, n * 9 / 10)],
          .most = counts.back()};
}

void count_answers(const std::vector<const AnswerRow*>& rows, TaskScore& out) {
  std::vector<int64_t> tokens, prompts;
  double score_sum = 0, reasoned = 0;
  for (const AnswerRow* row : rows) {
    tokens.push_back(row->tokens);
    prompts.push_back(row->prompt_tokens);
    const std::string& failure = row->grade.failure;
    out.unknown += row->grade.score && failure.empty() ? 0 : 1;
    if (!failure.empty()) {
      ++out.ungraded;
      ++out.failures[failure];
    }
    out.cut += row->end == SaidEnd::kLength ? 1 : 0;
    out.too_long += row->end == SaidEnd::kTooLong ? 1 : 0;
    const Answer& said = row->answer;
    const bool empty =
        said.content.empty() && said.tool_calls.empty() && said.log_likelihoods.empty();
    out.empty += empty ? 1 : 0;
    reasoned += said.reasoning.empty() ? 0 : 1;
    score_sum += row->grade.score.value_or(1);
    out.answer_seconds += row->seconds;
    out.grade_seconds += row->grade_seconds;
  }
  out.answers = std::ssize(rows);
  const double count = std::max<double>(1, static_cast<double>(rows.size()));
  out.right_unknown = score_sum / count;
  out.reasoned_share = reasoned / count;
  out.tokens = lengths_of(std::move(tokens));
  out.prompt_tokens = lengths_of(std::move(prompts));
}

// The answers that belong to the measure, by item in its order.
std::vector<ItemAnswers> by_item(const MeasureRow& measure, const std::vector<AnswerRow>& answers) {
  std::map<std::string, size_t> places;
  std::vector<ItemAnswers> out(measure.items.size());
  for (size_t i = 0; i < measure.items.size(); ++i) places[measure.items[i]] = i;
  for (const AnswerRow& row : answers) {
    const auto place = places.find(row.item);
    if (place == places.end() || row.sample >= measure.samples) continue;
    out[place->second].group = row.group;
    out[place->second].samples.push_back(&row);
  }
  return out;
}

std::vector<std::string> metrics_of(const MeasureRow& measure) {
  std::vector<std::string> out = {measure.about.at("metric").as_string()};
  for (const Json& one : measure.about.at("metrics").as_array()) {
    if (std::find(out.begin(), out.end(), one.as_string()) == out.end())
      out.push_back(one.as_string());
  }
  return out;
}

void score_groups(const std::vector<ItemAnswers>& items, const ScoreOptions& options,
                  TaskScore& out) {
  std::map<std::string, std::vector<ItemAnswers>> groups;
  for (const ItemAnswers& item : items) groups[item.group].push_back(item);
  if (groups.size() < 2 || out.metrics.front().name == "macro_f1") return;
  for (const auto& [name, members] : groups) {
    const MetricScore score =
        score_metric(out.metrics.front().name, members, Resampler(members, false), options,
                     xxh64(out.task + "\n" + name));
    out.groups.push_back({name, std::ssize(members), score.interval});
  }
}

}  // namespace

double pass_at(int64_t n, int64_t c, int64_t k) {
  DURE_CHECK(0 <= c && c <= n && 1 <= k && k <= n, "pass@{} of {} right in {}", k, c, n);
  double none = 1;  // Source: the product form of Chen et al., whose factors stay in [0, 1].
  for (int64_t i = n - c + 1; i <= n; ++i)
    none *= std::max(0.0, 1.0 - static_cast<double>(k) / static_cast<double>(i));
  return 1 - none;
}

double all_at(int64_t n, int64_t c, int64_t k) {
  DURE_CHECK(0 <= c && c <= n && 1 <= k && k <= n, "all@{} of {} right in {}", k, c, n);
  double out = 1;
  for (int64_t i = 0; i < k; ++i)
    out *= static_cast<double>(std::max<int64_t>(0, c - i)) / static_cast<double>(n - i);
  return out;
}

Interval resampled_interval(double value, std::vector<double> resamples) {
  if (resamples.empty()) return {value, value, value};
  std::sort(resamples.begin(), resamples.end());
  const double last = static_cast<double>(resamples.size() - 1);
  const auto at = [&](double share) {
    return resamples[static_cast<size_t>(std::lround(share * last))];
  };
  return {value, std::min(value, at(0.025)), std::max(value, at(0.975))};
}

void check_metrics(const TaskSpec& task, int64_t samples, const std::string& where) {
  std::vector<std::string> all = task.metrics;
  all.insert(all.begin(), task.metric);
  for (const std::string& metric : all) {
    for (const char* prefix : {"pass@", "all@"}) {
      const int64_t k = count_behind(metric, prefix);
      if (k < 0)
        fail(ErrorCode::kInvalidArgument, "{}: metric '{}': a count stands behind the @", where,
             metric);
      if (k > samples) {
        fail(ErrorCode::kInvalidArgument,
             "{}: metric {} needs at least {} samples, and {} are asked for", where, metric, k,
             samples);
      }
    }
  }
}

TaskScore score_task(const MeasureRow& measure, const std::vector<AnswerRow>& answers,
                     const ScoreOptions& options) {
  TaskScore out{
      .task = measure.task, .items = std::ssize(measure.items), .samples = measure.samples};
  const std::vector<ItemAnswers> items = by_item(measure, answers);
  std::vector<const AnswerRow*> rows;
  for (const ItemAnswers& item : items)
    rows.insert(rows.end(), item.samples.begin(), item.samples.end());
  count_answers(rows, out);
  out.missing = out.items * out.samples - out.answers;
  if (!out.whole()) return out;
  const Resampler resampler(items, measure.about.at("mean") == Json("groups"));
  for (const std::string& metric : metrics_of(measure))
    out.metrics.push_back(score_metric(metric, items, resampler, options, xxh64(measure.task)));
  score_groups(items, options, out);
  return out;
}

MetricScore mean_of_tasks(const std::vector<const TaskScore*>& tasks) {
  MetricScore out{.name = "mean of tasks"};
  double sum = 0;
  size_t count = 0;
  for (const TaskScore* task : tasks) {
    DURE_CHECK(task->whole(), "task {} has no score", task->task);
    sum += task->metrics.front().interval.value;
    count = task->metrics.front().resamples.size();
  }
  const double n = static_cast<double>(tasks.size());
  for (size_t r = 0; r < count; ++r) {
    double one = 0;
    for (const TaskScore* task : tasks) one += task->metrics.front().resamples[r];
    out.resamples.push_back(one / n);
  }
  out.interval = resampled_interval(sum / n, out.resamples);
  return out;
}

}  // namespace dure
