// Tables as rows of text with three writers: plain, Markdown, HTML. The HTML alone has charts,
// drawn by chart.cc, and its styles, which stand here.
#include "eval/report.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/html.h"
#include "eval/chart.h"
#include "eval/statistics.h"

namespace dure {
namespace {

using Row = std::vector<std::string>;

struct Table {
  Row head;
  std::vector<Row> rows;
};

std::string text_of(const Json& json, std::string_view key) {
  const Json* found = json.find(key);
  return found != nullptr && found->is_string() ? found->as_string() : "";
}

const Json::Array& list_of(const Json& json, std::string_view key) {
  static const Json::Array none;
  const Json* found = json.find(key);
  return found != nullptr && found->is_array() ? found->as_array() : none;
}

// Tasks or languages in the order of their first cell.
std::vector<std::string> names_in(const ReportInput& input, std::string_view list,
                                  std::string_view key) {
  std::vector<std::string> names;
  for (const Json& result : input.results) {
    for (const Json& cell : list_of(result, list)) {
      const std::string name = text_of(cell, key);
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

struct Tally {
  int64_t right = 0, total = 0;
};

// Of the headline: the setting (turns, thinking) of the first cell.
bool is_headline(const Json& result, const Json& cell) {
  const Json& first = list_of(result, "exact_match").front();
  const auto same = [&](const char* key) {
    const Json *a = first.find(key), *b = cell.find(key);
    return a == nullptr || b == nullptr || *a == *b;
  };
  return same("turns") && same("thinking");
}

// Cells of the headline that match; an empty name matches all.
Tally tally(const Json& result, const std::string& task, const std::string& language) {
  Tally sum;
  for (const Json& cell : list_of(result, "exact_match")) {
    if (!is_headline(result, cell)) continue;
    if (!task.empty() && text_of(cell, "task") != task) continue;
    if (!language.empty() && text_of(cell, "language") != language) continue;
    sum.right += cell.at("right").as_int();
    sum.total += cell.at("total").as_int();
  }
  return sum;
}

std::string percent(const Tally& t) {
  if (t.total == 0) return "";
  const Interval i = wilson_interval(t.right, t.total);
  return fmt::format("{:.1f} % ({:.1f} to {:.1f})", 100 * i.value, 100 * i.low, 100 * i.high);
}

std::string short_percent(const Tally& t) {
  return t.total == 0 ? ""
                      : fmt::format("{:.0f}", 100 * static_cast<double>(t.right) /
                                                  static_cast<double>(t.total));
}

// Single and several turns, thinking on and off; no rows where one setting alone was measured.
Table settings_table(const ReportInput& input) {
  Table table{{"all tasks"}, {}};
  std::vector<std::string> labels;
  const auto label_of = [](const Json& setting) {
    const int64_t turns = setting.at("turns").as_int();
    return fmt::format("{}, thinking {}",
                       turns == 1 ? "single question" : fmt::format("question {} of a chat", turns),
                       setting.at("thinking").as_bool() ? "on" : "off");
  };
  for (const Json& result : input.results) {
    table.head.push_back(text_of(result, "name"));
    for (const Json& setting : list_of(result, "settings")) {
      if (std::find(labels.begin(), labels.end(), label_of(setting)) == labels.end())
        labels.push_back(label_of(setting));
    }
  }
  if (labels.size() < 2) return table;
  for (const std::string& label : labels) {
    Row row{label};
    for (const Json& result : input.results) {
      row.emplace_back();
      for (const Json& setting : list_of(result, "settings")) {
        if (label_of(setting) == label)
          row.back() = percent({setting.at("right").as_int(), setting.at("total").as_int()});
      }
    }
    table.rows.push_back(row);
  }
  return table;
}

Table summary(const ReportInput& input) {
  Table table{{"measure"}, {}};
  for (const Json& result : input.results) table.head.push_back(text_of(result, "name"));
  const auto add = [&](const std::string& label, const auto& cell) {
    Row row{label};
    for (const Json& result : input.results) row.push_back(cell(result));
    if (std::any_of(row.begin() + 1, row.end(), [](const std::string& s) { return !s.empty(); }))
      table.rows.push_back(row);
  };
  add("exact match, all", [](const Json& r) { return percent(tally(r, "", "")); });
  for (const std::string& task : names_in(input, "exact_match", "task")) {
    add("exact match, " + task, [&](const Json& r) { return percent(tally(r, task, "")); });
  }
  for (const std::string& language : names_in(input, "exact_match", "language")) {
    add("exact match, " + language, [&](const Json& r) { return percent(tally(r, "", language)); });
  }
  for (const char* key : {"greedy_exact_match", "mean_answer_tokens", "unfinished_share"}) {
    add(std::string(key) == "greedy_exact_match"   ? "exact match, greedy"
        : std::string(key) == "mean_answer_tokens" ? "mean answer, tokens"
                                                   : "cut off at the limit",
        [&](const Json& r) {
          const Json* value = r.find(key);
          if (value == nullptr || !value->is_number()) return std::string();
          return std::string(key) == "mean_answer_tokens"
                     ? fmt::format("{:.1f}", value->as_double())
                     : fmt::format("{:.1f} %", 100 * value->as_double());
        });
  }
  for (const std::string& language : names_in(input, "bits_per_byte", "language")) {
    double xz = 0;
    add("bits per byte, " + language, [&](const Json& r) {
      for (const Json& row : list_of(r, "bits_per_byte")) {
        if (text_of(row, "language") != language) continue;
        if (const Json* x = row.find("xz_bits_per_byte")) xz = x->as_double();
        return fmt::format("{:.3f}", row.at("bits_per_byte").as_double());
      }
      return std::string();
    });
    if (xz > 0 && !table.rows.empty()) table.rows.back()[0] += fmt::format(" (xz -9e: {:.3f})", xz);
  }
  return table;
}

// Tasks down, languages across, percent right.
Table grid(const ReportInput& input, const Json& result) {
  Table table{{"task"}, {}};
  const auto languages = names_in(input, "exact_match", "language");
  for (const std::string& language : languages) table.head.push_back(language);
  table.head.push_back("all");
  for (const std::string& task : names_in(input, "exact_match", "task")) {
    Row row{task};
    for (const std::string& language : languages)
      row.push_back(short_percent(tally(result, task, language)));
    row.push_back(short_percent(tally(result, task, "")));
    table.rows.push_back(row);
  }
  return table;
}

std::string markdown_table(const Table& table) {
  const auto line = [](const Row& row) {
    std::string out = "|";
    for (const std::string& cell : row) out += " " + cell + " |";
    return out + "\n";
  };
  std::string out = line(table.head) + "|";
  for (size_t i = 0; i < table.head.size(); ++i) out += i == 0 ? "---|" : "--:|";
  out += "\n";
  for (const Row& row : table.rows) out += line(row);
  return out;
}

std::string html_table(const Table& table, bool heat) {
  std::string out = "<table><tr>";
  for (const std::string& cell : table.head) out += "<th>" + escape_html(cell) + "</th>";
  out += "</tr>";
  for (const Row& row : table.rows) {
    out += "<tr><th>" + escape_html(row[0]) + "</th>";
    for (size_t i = 1; i < row.size(); ++i) {
      const std::string shade =
          heat && !row[i].empty()
              ? fmt::format(" style='background:color-mix(in srgb,var(--good) {}%,transparent)'",
                            row[i])
              : "";
      out += "<td" + shade + ">" + escape_html(row[i]) + "</td>";
    }
    out += "</tr>";
  }
  return out + "</table>";
}

ChartSeries series_of(const RunLog& log, const std::string& key, const std::string& name,
                      const char* x_key = "step") {
  ChartSeries series{name, {}, {}};
  for (const Json& row : log.rows) {
    const Json *x = row.find(x_key), *y = row.find(key);
    if (x == nullptr || y == nullptr || !y->is_number()) continue;
    series.x.push_back(x->as_double());
    series.y.push_back(y->as_double());
  }
  return series;
}

// Every "router/load_cv/LAYER" of the log as a series.
std::vector<ChartSeries> router_series(const RunLog& log) {
  std::vector<ChartSeries> all;
  if (log.rows.empty()) return all;
  const std::string prefix = "router/load_cv/";
  for (const auto& [key, value] : log.rows.back().as_object()) {
    if (key.rfind(prefix, 0) == 0)
      all.push_back(series_of(log, key, "layer " + key.substr(prefix.size())));
  }
  return all;
}

// "" where fewer than `count_min` of the series hold anything.
std::string figure(const ChartOptions& options, std::vector<ChartSeries> series,
                   size_t count_min = 1) {
  std::erase_if(series, [](const ChartSeries& s) { return s.x.empty(); });
  if (series.size() < count_min) return "";
  return "<figure>" + line_chart_svg(options, std::move(series)) + "</figure>";
}

std::string chart(const RunLog& log, const std::string& title, const std::string& y_label,
                  std::vector<ChartSeries> series, bool from_zero) {
  return figure({.title = log.name + ": " + title,
                 .x_label = "step",
                 .y_label = y_label,
                 .from_zero = from_zero},
                std::move(series));
}

std::string charts(const RunLog& log) {
  std::string out;
  out += chart(log, "loss", "nats a token",
               {series_of(log, "loss", "next token"), series_of(log, "mtp_loss", "two ahead (MTP)"),
                series_of(log, "eval_loss", "held out")},
               false);
  out += chart(log, "reward", "share right", {series_of(log, "reward", "reward")}, true);
  out += chart(log, "length of answers", "tokens",
               {series_of(log, "completions/mean_length", "mean length")}, true);
  out += chart(log, "entropy", "nats a token", {series_of(log, "entropy", "entropy")}, true);
  out += chart(log, "groups without variance", "share",
               {series_of(log, "frac_reward_zero_std", "dropped")}, true);
  out += chart(log, "gradient norm", "norm", {series_of(log, "grad_norm", "gradient norm")}, true);
  out += chart(log, "router load", "coefficient of variation", router_series(log), true);
  return out;
}

struct Comparison {
  const char *title, *key, *x_key, *x_label, *y_label;
  bool from_zero;
};

// What several runs measured, in one picture each: "" where no two of them measured the same.
std::string comparison_charts(const std::vector<RunLog>& logs) {
  constexpr Comparison kComparisons[] = {
      {"held-out bits per byte", "eval_bits_per_byte", "num_tokens", "tokens", "bits per byte",
       false},
      {"held-out loss", "eval_loss", "num_tokens", "tokens", "nats a token", false},
      {"reward", "reward", "step", "step", "share right", true},
      {"length of answers", "completions/mean_length", "step", "step", "tokens", true},
      {"entropy", "entropy", "step", "step", "nats a token", true},
  };
  std::string out;
  for (const Comparison& c : kComparisons) {
    std::vector<ChartSeries> series;
    for (const RunLog& log : logs) series.push_back(series_of(log, c.key, log.name, c.x_key));
    out += figure(
        {.title = c.title, .x_label = c.x_label, .y_label = c.y_label, .from_zero = c.from_zero},
        std::move(series), 2);
  }
  return out;
}

std::string sample_html(const Json& sample) {
  const bool right = sample.find("right") != nullptr && sample.at("right").as_bool();
  std::string out =
      fmt::format("<div class='sample {}'><div class='q'>{} · {}</div><pre>{}</pre>",
                  right ? "right" : "wrong", escape_html(text_of(sample, "task")),
                  escape_html(text_of(sample, "language")), escape_html(text_of(sample, "prompt")));
  if (const std::string thinking = text_of(sample, "thinking"); !thinking.empty())
    out += "<pre class='think'>" + escape_html(thinking) + "</pre>";
  out += "<pre class='a'>" + escape_html(text_of(sample, "content")) + "</pre>";
  if (!right)
    out += "<div class='q'>expected " + escape_html(text_of(sample, "expected")) + "</div>";
  return out + "</div>";
}

constexpr const char* kStyle = R"(<style>
:root{color-scheme:light dark;--ink:#1c1e21;--soft:#667;--paper:#fbfbf9;--card:#fff;--grid:#e4e4de;--good:#4c9a6a;--bad:#c8553d;
--series-0:#2f6db3;--series-1:#c8553d;--series-2:#4c9a6a;--series-3:#8a5fb0;--series-4:#c9952b;--series-5:#3a9aa6;--series-6:#b0567d;--series-7:#77736a}
@media(prefers-color-scheme:dark){:root{--ink:#e8e8e4;--soft:#9a9aa4;--paper:#16181b;--card:#1e2125;--grid:#33373d;--series-0:#6ea8e6;--series-1:#e9826b;--series-2:#79c598}}
body{font:15px/1.5 system-ui,"Noto Sans CJK KR",sans-serif;color:var(--ink);background:var(--paper);max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .6rem}p{color:var(--soft);margin:.2rem 0 1rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;background:var(--card)}th,td{border:1px solid var(--grid);padding:.25rem .6rem;text-align:right;white-space:nowrap}
th:first-child{text-align:left;font-weight:500}.wide{overflow-x:auto}.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(430px,1fr));gap:1rem}
figure{margin:0;background:var(--card);border:1px solid var(--grid);border-radius:6px;padding:.4rem}svg{width:100%;height:auto;font-size:11px}svg text{fill:var(--soft)}svg .title{fill:var(--ink);font-size:13px;font-weight:600}
.sample{background:var(--card);border:1px solid var(--grid);border-left:4px solid var(--good);border-radius:6px;padding:.5rem .8rem}.sample.wrong{border-left-color:var(--bad)}
.q{font-size:12px;color:var(--soft)}pre{white-space:pre-wrap;margin:.2rem 0;font:13px/1.45 ui-monospace,monospace}.think{color:var(--soft);border-left:2px solid var(--grid);padding-left:.6rem}.a{font-weight:600}
</style>)";

}  // namespace

std::vector<Json> read_json_lines(const Path& path) {
  const std::string text = read_file(path);
  std::vector<Json> rows;
  size_t line_number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (end == std::string::npos) break;  // A line without its newline was still being written.
    ++line_number;
    if (end > at)
      rows.push_back(parse_json(std::string_view(text).substr(at, end - at),
                                fmt::format("{}: line {}", path.string(), line_number)));
    at = end + 1;
  }
  return rows;
}

std::string report_table(const ReportInput& input) {
  Table table = summary(input);
  const Table settings = settings_table(input);
  table.rows.insert(table.rows.begin() + (table.rows.empty() ? 0 : 1), settings.rows.begin(),
                    settings.rows.end());
  std::vector<size_t> widths(table.head.size());
  table.rows.insert(table.rows.begin(), table.head);
  for (const Row& row : table.rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const Row& row : table.rows) {
    out += row[0] + std::string(widths[0] - row[0].size(), ' ');
    for (size_t i = 1; i < row.size(); ++i)
      out += "  " + std::string(widths[i] - row[i].size(), ' ') + row[i];
    out += "\n";
  }
  return out;
}

std::string report_markdown(const ReportInput& input) {
  std::string out = "# " + input.title +
                    "\n\nExact match on held-out problems with 95 % Wilson intervals; bits per "
                    "byte on held-out chapters.\n\n";
  if (const Table settings = settings_table(input); !settings.rows.empty())
    out += markdown_table(settings) + "\n";
  out += markdown_table(summary(input));
  for (const Json& result : input.results) {
    if (list_of(result, "exact_match").empty()) continue;
    out += "\n## " + text_of(result, "name") + ": percent right by task and language\n\n" +
           markdown_table(grid(input, result));
  }
  for (const Json& result : input.results) {
    out += "\n## " + text_of(result, "name") + ": sample answers\n";
    for (const Json& sample : list_of(result, "samples")) {
      const bool right = sample.at("right").as_bool();
      out += fmt::format("\n**{} ({}), {}**\n\n```text\n{}\n---\n{}\n---\n{}\n```\n",
                         text_of(sample, "task"), text_of(sample, "language"),
                         right ? "right" : "wrong", text_of(sample, "prompt"),
                         text_of(sample, "thinking"), text_of(sample, "content"));
    }
  }
  return out;
}

std::string report_html(const ReportInput& input) {
  std::string out =
      "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' "
      "content='width=device-width'><title>" +
      escape_html(input.title) + "</title>" + kStyle;
  out += "<h1>" + escape_html(input.title) +
         "</h1><p>Exact match on held-out problems with 95 % Wilson intervals; bits per byte on "
         "held-out chapters.</p>";
  if (const Table settings = settings_table(input); !settings.rows.empty())
    out += "<div class='wide'>" + html_table(settings, false) + "</div><br>";
  out += "<div class='wide'>" + html_table(summary(input), false) + "</div>";
  if (const std::string compared = comparison_charts(input.logs); !compared.empty())
    out += "<h2>Runs compared</h2><div class='grid'>" + compared + "</div>";
  for (const RunLog& log : input.logs)
    out += "<h2>" + escape_html(log.name) + "</h2><div class='grid'>" + charts(log) + "</div>";
  out += "<h2>Percent right by task and language</h2><div class='grid'>";
  for (const Json& result : input.results) {
    if (!list_of(result, "exact_match").empty())
      out += "<div class='wide'><p>" + escape_html(text_of(result, "name")) + "</p>" +
             html_table(grid(input, result), true) + "</div>";
  }
  out += "</div>";
  for (const Json& result : input.results) {
    if (list_of(result, "samples").empty()) continue;
    out +=
        "<h2>Sample answers: " + escape_html(text_of(result, "name")) + "</h2><div class='grid'>";
    for (const Json& sample : list_of(result, "samples")) out += sample_html(sample);
    out += "</div>";
  }
  return out + "</html>\n";
}

}  // namespace dure
