// Each side against the first; three or more are a curve too.
#include "cli/eval_compare.h"

#include <algorithm>
#include <cstdio>
#include <memory>

#include "base/error.h"
#include "base/html.h"
#include "base/output_folder.h"
#include "chat/open_model.h"
#include "eval/chart.h"
#include "eval/compare.h"
#include "eval/divergence.h"
#include "eval/report_style.h"
#include "tensor/cpu_stream.h"

namespace dure {
namespace {

constexpr size_t kTexts = 64;        // that distributions are compared on
constexpr int64_t kTokensMax = 256;  // of each

struct Side {
  std::shared_ptr<AnswerStore> store;
  SubjectRow subject;
  std::string label;
};

std::shared_ptr<AnswerStore> open_store(const std::string& folder) {
  return std::make_shared<AnswerStore>(AnswerStore::open_existing(Path(folder) / "answers.sqlite"));
}

// FOLDER or FOLDER:NAME; a folder's own name may hold a colon.
std::vector<Side> sides_of(const std::string& given, bool all) {
  std::string folder = given, name;
  // Names hold colons too (127.0.0.1:8000): the longest folder of answers that is there counts.
  size_t colon = path_exists(given) ? std::string::npos : given.rfind(':');
  for (; colon != std::string::npos && colon > 0; colon = given.rfind(':', colon - 1)) {
    folder = given.substr(0, colon);
    name = given.substr(colon + 1);
    if (path_exists(Path(folder) / "answers.sqlite")) break;
  }
  const std::shared_ptr<AnswerStore> store = open_store(folder);
  std::vector<Side> out;
  std::string names;
  for (SubjectRow& subject : store->subjects()) {
    names += (names.empty() ? "" : ", ") + subject.name;
    if (!name.empty() && subject.name != name) continue;
    out.push_back({store, std::move(subject), given});
  }
  if (out.empty())
    fail(ErrorCode::kNotFound, "{}: no answers of '{}'; there are those of: {}", folder, name,
         names);
  if (!all && out.size() > 1)
    fail(ErrorCode::kInvalidArgument, "{} holds several models ({}): name one, as {}:NAME", folder,
         names, folder);
  return out;
}

// Where both names are the same, the folders tell them apart.
void label(std::vector<Side>& sides) {
  for (Side& side : sides) {
    const auto same = std::count_if(sides.begin(), sides.end(), [&](const Side& other) {
      return other.subject.name == side.subject.name;
    });
    side.label = same > 1 ? side.label : side.subject.name;
  }
}

std::vector<Side> open_sides(const EvalCompareCall& call) {
  std::vector<Side> out;
  for (const std::string& given : call.sides) {
    std::vector<Side> more = sides_of(given, call.sides.size() == 1);
    std::move(more.begin(), more.end(), std::back_inserter(out));
  }
  if (out.size() < 2)
    fail(ErrorCode::kInvalidArgument,
         "--compare takes two folders of answers, FOLDER:NAME where one holds several models, or "
         "one folder with several");
  label(out);
  return out;
}

// Questions with their answers, evenly over all.
std::vector<std::string> texts_of(const Side& side) {
  std::vector<std::string> all;
  for (const MeasureRow& measure : side.store->measures(side.subject.name)) {
    for (const AnswerRow& row : side.store->answers(side.subject.name, measure.task)) {
      std::string text;
      for (const Json& message : row.messages.as_array()) {
        if (const Json* content = message.find("content"); content && content->is_string())
          text += content->as_string() + "\n";
      }
      all.push_back(text + row.answer.reasoning + row.answer.content);
    }
  }
  std::vector<std::string> out;
  for (size_t i = 0; i < std::min(kTexts, all.size()); ++i)
    out.push_back(all[i * all.size() / std::min(kTexts, all.size())]);
  return out;
}

// As it was measured, with its adapter where it had one.
OpenModel model_of(const Side& side) {
  const Json* path = side.subject.facts.find("model");
  if (path == nullptr || !side.subject.identity.contains("files"))
    fail(ErrorCode::kInvalidArgument, "{} is no model of this machine: --kl needs two of them",
         side.label);
  OpenModel out = open_model_to_read(path->as_string());
  if (const Json* adapter = side.subject.facts.find("adapter"))
    add_adapter(out, adapter->as_string());
  return out;
}

std::string kl_text(const Side& first, const Side& second, Json& json) {
  CpuStream stream;
  const OpenModel left = model_of(first);
  const OpenModel right = model_of(second);
  const Divergence found =
      divergence(left, right, texts_of(first), {.tokens_max = kTokensMax}, stream);
  Json out = Json::object();
  out["tokens"] = found.tokens;
  out["mean_nats"] = found.mean_nats;
  out["most_nats"] = found.most_nats;
  out["same_top_share"] = found.same_top_share;
  json["kl"] = std::move(out);
  return fmt::format(
      "KL({} || {}): {:.5f} nats a token, at most {:.3f}; the same likeliest token in {:.1f} % of "
      "{} tokens of {} texts\n",
      first.label, second.label, found.mean_nats, found.most_nats, 100 * found.same_top_share,
      found.tokens, found.texts);
}

// A curve a task over the sides, in their order.
std::string curve_html(const std::vector<Comparison>& comparisons, const std::vector<Side>& sides) {
  Chart chart{.options = {.description = "scores by model",
                          .x_label = "model, in the order they were named",
                          .x_counts = true,
                          .from_zero = true}};
  std::string legend, names;
  for (const ComparedTask& task : comparisons.front().tasks) {
    ChartSeries line{.name = task.title, .x = {1}, .y = {task.first}, .mark = ChartMark::kPoints};
    for (size_t i = 0; i < comparisons.size(); ++i) {
      for (const ComparedTask& one : comparisons[i].tasks) {
        if (one.task != task.task) continue;
        line.x.push_back(static_cast<double>(i + 2));
        line.y.push_back(one.second);
      }
    }
    legend += "<span>" + series_key_svg(chart.series.size(), true, ChartMark::kPoints) +
              shown_html(task.title) + "</span>";
    chart.series.push_back(std::move(line));
  }
  for (size_t i = 0; i < sides.size(); ++i)
    names += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", i + 1, shown_html(sides[i].label));
  return "<figure><figcaption>Scores by model</figcaption>" + chart_svg(std::move(chart)) +
         "<div class='legend'>" + legend + "</div></figure><div class='facts'><dl>" + names +
         "</dl></div>";
}

std::string tests_html(const std::vector<Comparison>& comparisons) {
  std::string rows;
  for (const Comparison& one : comparisons) {
    for (const ComparedTask& task : one.tasks) {
      rows += fmt::format(
          "<tr><th>{}</th><td>{}</td><td>{:.1f} %</td><td>{:.1f} %</td><td>{:+.1f} <small>{:+.1f} "
          "to {:+.1f}</small></td><td>{}</td><td>{}</td><td>{}</td><td>{:.4f}</td></tr>",
          shown_html(task.title), shown_html(one.first + " → " + one.second), 100 * task.first,
          100 * task.second, 100 * task.difference.value, 100 * task.difference.low,
          100 * task.difference.high, task.items, task.better, task.worse,
          task.mcnemar.value_or(task.bootstrap_p));
    }
  }
  return "<div class='wide'><table><thead><tr><th>task</th><th>models</th><th>first</th><th>second"
         "</th><th>difference</th><th>items</th><th>gained</th><th>lost</th><th>p</th></tr></thead>"
         "<tbody>" +
         rows + "</tbody></table></div>";
}

std::string compare_html(const std::vector<Comparison>& comparisons, const std::vector<Side>& sides,
                         const std::string& text) {
  return std::string(
             "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
             "content='width=device-width,initial-scale=1'><title>Comparison</title><style>") +
         kReportStyle + "</style></head><body><h1>Comparison</h1><main><div class='grid'>" +
         curve_html(comparisons, sides) + "</div><h2>Paired tests</h2>" + tests_html(comparisons) +
         "<h2>What flipped</h2><pre>" + shown_html(text) + "</pre></main></body></html>\n";
}

}  // namespace

int eval_compare(const EvalCompareCall& call) {
  const std::vector<Side> sides = open_sides(call);
  std::vector<Comparison> comparisons;
  Json json = Json::array();
  std::string text, markdown;
  for (size_t i = 1; i < sides.size(); ++i) {
    Comparison one =
        compare({*sides[0].store, sides[0].subject.name}, {*sides[i].store, sides[i].subject.name});
    one.first = sides[0].label;
    one.second = sides[i].label;
    Json result = comparison_json(one);
    text += (i > 1 ? "\n" : "") + comparison_text(one);
    markdown += comparison_markdown(one);
    if (call.kl) {
      const std::string kl = kl_text(sides[0], sides[i], result);
      text += kl;
      markdown += kl;
    }
    json.push_back(std::move(result));
    comparisons.push_back(std::move(one));
  }
  std::fputs(text.c_str(), stdout);
  if (call.out.empty()) return 0;
  const OutputFolder folder(call.out);
  write_file(Path(call.out) / "compare.json", json.dump(1) + "\n");
  write_file(Path(call.out) / "compare.md", markdown);
  write_file(Path(call.out) / "compare.html", compare_html(comparisons, sides, text));
  return 0;
}

}  // namespace dure
