// One figure is a picture with text of the page around it; each run gets those that it logged
// something for.
#include "eval/report_figures.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "base/html.h"
#include "eval/chart.h"
#include "eval/interval_chart.h"
#include "eval/report_data.h"

namespace dure {
namespace {

struct Figure {
  std::string title, unit, note;
  Chart chart;
};

ChartSeries series_of(const RunLog& log, const std::string& key, const std::string& name,
                      const char* x_key = "step") {
  ChartSeries series{name, {}, {}};
  for (const Json& row : log.rows) {
    const Json *x = row.find(x_key), *y = row.find(key);
    if (x == nullptr || y == nullptr || !x->is_number() || !y->is_number()) continue;
    series.x.push_back(x->as_double());
    series.y.push_back(y->as_double());
  }
  return series;
}

std::string figure_html(const std::string& title, const std::string& unit,
                        const std::string& legend, const std::string& svg,
                        const std::string& note) {
  std::string out = "<figure><figcaption>" + escape_html(title);
  if (!unit.empty()) out += " <span class='unit'>" + escape_html(unit) + "</span>";
  out += "</figcaption>";
  if (!legend.empty()) out += "<div class='legend'>" + legend + "</div>";
  out += svg;
  if (!note.empty()) out += "<p class='note'>" + escape_html(note) + "</p>";
  return out + "</figure>";
}

std::string key_html(const std::string& key, const std::string& name) {
  return "<span>" + key + escape_html(name) + "</span>";
}

std::string legend_of(const Chart& chart) {
  std::string out;
  const bool several = chart.series.size() > 1;
  for (size_t i = 0; i < chart.bands.size(); ++i)
    out += key_html(band_key_svg(i), chart.bands[i].name);
  if (!several && chart.bands.empty()) return "";
  for (size_t i = 0; i < chart.series.size(); ++i)
    out += key_html(series_key_svg(i, several, chart.series[i].mark), chart.series[i].name);
  return out;
}

std::string range_text(const ChartSeries& s) {
  const auto [low, high] = std::minmax_element(s.y.begin(), s.y.end());
  return fmt::format("{}: first {:.3g}, last {:.3g}, lowest {:.3g}, highest {:.3g}", s.name,
                     s.y.front(), s.y.back(), *low, *high);
}

std::string draw(Figure figure) {
  Chart& chart = figure.chart;
  std::erase_if(chart.series, [](const ChartSeries& s) { return s.x.empty(); });
  if (chart.series.empty()) return "";
  chart.options.description = figure.title;
  if (!figure.unit.empty()) chart.options.description += " (" + figure.unit + ")";
  for (const ChartSeries& s : chart.series) chart.options.description += "; " + range_text(s);
  if (chart.options.x_label.empty()) chart.options.x_label = "step";
  const std::string legend = legend_of(chart);
  return figure_html(figure.title, figure.unit, legend, chart_svg(std::move(chart)), figure.note);
}

int64_t window_of(const RunLog& log) { return smoothing_window(std::ssize(log.rows)); }

// A single curve of a log.
std::string curve(const RunLog& log, const char* key, Figure figure) {
  figure.chart.options.smoothing_window = window_of(log);
  figure.chart.series = {series_of(log, key, figure.title)};
  return draw(std::move(figure));
}

// What the loss of fine-tuning is over.
std::string tuning_note(const RunLog& log) {
  if (text_of(log.config, "stage") != "sft") return "";
  const bool text = number_of(log.config, "data.text_weight").value_or(0) > 0;
  return text ? "On what the assistant says, and on the share of plain text that is mixed in."
              : "On what the assistant says alone.";
}

std::string loss_figure(const RunLog& log) {
  if (find_path(log.config, "objective") != nullptr || !series_of(log, "reward", "").x.empty())
    return "";  // the loss of a policy is no measure of it
  ChartSeries heldout = series_of(log, "eval_loss", "held out");
  heldout.mark = ChartMark::kPoints;
  const bool both = !heldout.x.empty();
  return draw({.title = "next-token loss",
               .unit = "nats a token",
               .note = both ? heldout_note(log) : tuning_note(log),
               .chart = {.options = {.smoothing_window = window_of(log)},
                         .series = {series_of(log, "loss", "training"), std::move(heldout)}}});
}

// Of a run that learns from preferences: "NAME" of the steps, "eval_NAME" of held-out prompts.
std::string preference_figure(const RunLog& log, const std::string& name, Figure figure) {
  ChartSeries heldout = series_of(log, "eval_" + name, "held out");
  heldout.mark = ChartMark::kPoints;
  figure.chart.series = {series_of(log, name, "training"), std::move(heldout)};
  return draw(std::move(figure));
}

std::string preference_figures(const RunLog& log) {
  std::string out;
  out += preference_figure(log, "rewards/accuracies",
                           {.title = "preference accuracy",
                            .unit = "share",
                            .chart = {.options = {.from_zero = true, .to_one = true}}});
  out += preference_figure(log, "rewards/margins", {.title = "reward margin"});
  out += preference_figure(log, "logps/chosen",
                           {.title = "log-probability of chosen responses", .unit = "nats"});
  out += preference_figure(log, "lengths/chosen",
                           {.title = "length of chosen responses",
                            .unit = "tokens",
                            .chart = {.options = {.from_zero = true}}});
  return out;
}

std::string bits_figure(const RunLog& log) {
  ChartSeries series = series_of(log, "eval_bits_per_byte", "held out");
  series.mark = ChartMark::kPoints;
  return draw({.title = "held-out bits per byte",
               .unit = "bits",
               .chart = {.options = {}, .series = {std::move(series)}}});
}

struct Router {
  ChartSeries low, mean, high;
  size_t layers = 0;
};

Router router_of(const RunLog& log) {
  constexpr std::string_view kPrefix = "router/load_cv/";
  Router out;
  for (const Json& row : log.rows) {
    const auto step = number_of(row, "step");
    double low = INFINITY, high = -INFINITY, sum = 0;
    size_t layers = 0;
    if (!row.is_object()) continue;
    for (const auto& [key, value] : row.as_object()) {
      if (!key.starts_with(kPrefix) || !value.is_number()) continue;
      low = std::min(low, value.as_double());
      high = std::max(high, value.as_double());
      sum += value.as_double();
      ++layers;
    }
    if (layers == 0 || !step) continue;
    for (ChartSeries* s : {&out.low, &out.mean, &out.high}) s->x.push_back(*step);
    out.low.y.push_back(low);
    out.mean.y.push_back(sum / static_cast<double>(layers));
    out.high.y.push_back(high);
    out.layers = std::max(out.layers, layers);
  }
  return out;
}

std::string router_figure(const RunLog& log) {
  Router router = router_of(log);
  if (router.layers == 0) return "";
  router.mean.mark = ChartMark::kMean;
  router.mean.name = fmt::format("mean of {} layers", router.layers);
  return draw({.title = "load of the experts",
               .unit = "coefficient of variation",
               .note = "0: every expert of a layer gets the same number of tokens. Smoothed like "
                       "the other curves.",
               .chart = {.options = {.from_zero = true, .smoothing_window = window_of(log)},
                         .bands = {{"from the most even layer to the least", router.low.x,
                                    router.low.y, router.high.y}},
                         .series = {std::move(router.mean)}}});
}

double mean_of(const std::vector<double>& values, size_t begin, size_t end) {
  double sum = 0;
  for (size_t i = begin; i < end; ++i) sum += values[i];
  return end > begin ? sum / static_cast<double>(end - begin) : 0;
}

// "rewards/TASK/mean" of a log: a small picture each, all on the same scale.
std::string task_rewards(const RunLog& log) {
  constexpr std::string_view kPrefix = "rewards/", kEnd = "/mean";
  std::vector<std::string> tasks;
  for (const Json& row : log.rows) {
    if (!row.is_object()) continue;
    for (const auto& [key, value] : row.as_object()) {
      if (!key.starts_with(kPrefix) || !key.ends_with(kEnd)) continue;
      const std::string task =
          key.substr(kPrefix.size(), key.size() - kPrefix.size() - kEnd.size());
      if (std::find(tasks.begin(), tasks.end(), task) == tasks.end()) tasks.push_back(task);
    }
  }
  std::string out;
  for (const std::string& task : tasks) {
    ChartSeries series = series_of(log, "rewards/" + task + "/mean", task);
    if (series.y.empty()) continue;
    const size_t count = series.y.size(), part = std::max<size_t>(1, count / 10);
    out += draw({.title = task,
                 .unit = fmt::format("{:.2f} to {:.2f}", mean_of(series.y, 0, part),
                                     mean_of(series.y, count - part, count)),
                 .chart = {.options = {.width_px = 250,
                                       .height_px = 150,
                                       .from_zero = true,
                                       .to_one = true,
                                       .smoothing_window = smoothing_window(std::ssize(series.y))},
                           .series = {std::move(series)}}});
  }
  if (out.empty()) return "";
  return "<h3>Reward by task</h3><p>Share of sampled answers that were right, each task on the "
         "same "
         "scale; beside its name the mean of the first and of the last tenth of the steps.</p>"
         "<div class='grid small'>" +
         out + "</div>";
}

std::string mismatch_note(const RunLog& log) {
  const ChartSeries series = series_of(log, "sampler_mismatch_max", "");
  if (series.y.empty() || *std::max_element(series.y.begin(), series.y.end()) > 0) return "";
  return fmt::format(
      "<p>Sampler and trainer agreed on every log-probability to the last bit: mismatch 0 at all "
      "{} "
      "steps.</p>",
      grouped(std::ssize(series.y)));
}

std::string mismatch_figure(const RunLog& log) {
  if (!mismatch_note(log).empty()) return "";
  return curve(log, "sampler_mismatch_max",
               {.title = "sampler mismatch",
                .unit = "largest difference of log-probabilities",
                .chart = {.options = {.from_zero = true}}});
}

std::string smoothing_text(const RunLog& log) {
  const int64_t window = window_of(log);
  if (window <= 1) return "Curves are drawn as they were logged, step by step.";
  const int64_t most = ChartOptions().points_max, bucket = (std::ssize(log.rows) + most - 1) / most;
  return fmt::format("Faint: {}. Strong: the mean of the {} steps around each (fewer at the ends).",
                     bucket > 1 ? fmt::format("what was logged, {} steps a point", bucket)
                                : std::string("what was logged, step by step"),
                     window);
}

struct Comparison {
  const char *title, *key, *x_key, *x_label, *unit;
  bool from_zero;
};

const std::vector<Comparison>& comparisons() {
  static const std::vector<Comparison> all = {
      {"held-out bits per byte", "eval_bits_per_byte", "num_tokens", "tokens", "bits", false},
      {"held-out loss", "eval_loss", "num_tokens", "tokens", "nats a token", false},
      {"reward", "reward", "step", "step", "share right", true},
      {"length of answers", "completions/mean_length", "step", "step", "tokens", true},
      {"entropy", "entropy", "step", "step", "nats a token", true},
      {"held-out accuracy of preferences", "eval_rewards/accuracies", "step", "step", "share",
       true},
  };
  return all;
}

std::vector<const Json*> with_problems(const std::vector<Json>& results, const Mode& mode) {
  std::vector<const Json*> out;
  for (const Json& result : results) {
    if (tally(result, {mode}).total > 0) out.push_back(&result);
  }
  return out;
}

std::string groups_figure(const std::vector<Json>& results, const std::string& key) {
  const Mode mode = headline_mode(results);
  const auto models = with_problems(results, mode);
  std::vector<IntervalGroup> groups;
  std::string description = "Exact match by " + key + " in percent, with 95 % intervals";
  for (const std::string& name : names_in(results, "exact_match", key)) {
    IntervalGroup group{name, {}};
    description += "; " + name + ":";
    for (const Json* model : models) {
      const Tally t = tally(*model, {mode, key == "task" ? name : "", key == "task" ? "" : name});
      group.shares.push_back(t.total > 0 ? std::optional(t.share()) : std::nullopt);
      if (t.total > 0)
        description += fmt::format(" {} {:.0f}", text_of(*model, "name"), 100 * t.share().value);
    }
    groups.push_back(std::move(group));
  }
  if (models.empty() || groups.empty()) return "";
  std::string legend;
  for (size_t i = 0; i < models.size(); ++i)
    legend += key_html(
        "<svg class='dot' viewBox='0 0 14 14' aria-hidden='true'>" + shape_svg(i, 7, 7) + "</svg>",
        text_of(*models[i], "name"));
  return figure_html("Exact match by " + key, "", legend, interval_groups_svg(groups, description),
                     "");
}

}  // namespace

std::string overall_figure(const std::vector<Json>& results) {
  const Mode mode = headline_mode(results);
  std::vector<IntervalBar> bars;
  std::string description = "Exact match in percent, with 95 % intervals";
  for (const Json* model : with_problems(results, mode)) {
    bars.push_back({text_of(*model, "name"), tally(*model, {mode}).share()});
    description += fmt::format("; {}: {}", bars.back().label, percent_text(bars.back().share));
  }
  if (bars.empty()) return "";
  return figure_html("Exact match on held-out problems", "", "",
                     interval_bars_svg(bars, description),
                     "Lines and brackets: 95 % Wilson intervals. Asked: " + mode_text(mode) + ".");
}

std::string by_task_figure(const std::vector<Json>& results) {
  return groups_figure(results, "task");
}

std::string by_language_figure(const std::vector<Json>& results) {
  return groups_figure(results, "language");
}

std::string heldout_note(const RunLog& log) {
  const auto problems = number_of(log.corpus, "options.tasks.document_count");
  const auto drawn = number_of(log.config, "data.tasks_weight");
  if (problems.value_or(0) > 0 || drawn.value_or(0) > 0) {
    return "Training loss is the mean over text and generated problems" +
           (problems.value_or(0) > 0
                ? fmt::format(" ({} in the corpus)", grouped(static_cast<int64_t>(*problems)))
                : std::string()) +
           ", whose steps are soon predicted; held-out loss is over held-out text alone, which is "
           "harder. That is why it lies above, and no sign of memorising: compare it with itself.";
  }
  return "Training loss is over what is trained on, held-out loss over the corpus's held-out text "
         "alone: where the two are different kinds of text, only the shape of each says something.";
}

std::string run_figures(const RunLog& log) {
  std::string out;
  out += curve(log, "reward",
               {.title = "reward",
                .unit = "share right",
                .chart = {.options = {.from_zero = true, .to_one = true}}});
  out += loss_figure(log);
  out += curve(log, "mtp_loss",
               {.title = "MTP loss",
                .unit = "nats a token",
                .note = "Of the head that predicts the token after the next one."});
  out += bits_figure(log);
  out += curve(
      log, "completions/mean_length",
      {.title = "length of answers", .unit = "tokens", .chart = {.options = {.from_zero = true}}});
  out += curve(
      log, "entropy",
      {.title = "entropy", .unit = "nats a token", .chart = {.options = {.from_zero = true}}});
  out += preference_figures(log);
  out += mismatch_figure(log);
  out += curve(log, "frac_reward_zero_std",
               {.title = "groups without variance",
                .unit = "share",
                .note = "Groups whose answers are all right or all wrong teach nothing.",
                .chart = {.options = {.from_zero = true}}});
  out += curve(log, "grad_norm",
               {.title = "gradient norm", .chart = {.options = {.from_zero = true}}});
  out += router_figure(log);
  if (out.empty()) return "";
  return "<p>" + smoothing_text(log) + "</p><div class='grid'>" + out + "</div>" +
         mismatch_note(log) + task_rewards(log);
}

std::string comparison_figures(const std::vector<RunLog>& logs) {
  std::string out;
  for (const Comparison& c : comparisons()) {
    Figure figure{.title = c.title, .unit = c.unit};
    figure.chart.options = {.x_label = c.x_label, .from_zero = c.from_zero};
    size_t longest = 0;
    for (const RunLog& log : logs) {
      ChartSeries series = series_of(log, c.key, log.name, c.x_key);
      longest = std::max(longest, series.x.size());
      if (!series.x.empty()) figure.chart.series.push_back(std::move(series));
    }
    if (figure.chart.series.size() < 2) continue;
    figure.chart.options.smoothing_window = smoothing_window(static_cast<int64_t>(longest));
    out += draw(std::move(figure));
  }
  return out;
}

}  // namespace dure
